"""Queues issues until our share of the window is used up, deactivates phones, and times the calls that follow."""

import random
import time

from common import PER, REQUESTS, SHARE, Daemon, Person, Site, Table
from common import at_times, each, events_of, options, percentile, register, say, wait

asked = options(__doc__, people=(10_000, 400), lost=(12, 6), seconds=(60, 6))
site, table = Site(asked, "site"), Table()
control = site.control()
places = int(REQUESTS * SHARE)
assert asked.people > places, "the backlog must be longer than the share of a window"

waiting = register(site, asked.people)
holders = register(site, asked.lost, Person.grant, first=asked.people)
say(f"{asked.people} phones without a key and {asked.lost} with one are registered")

answered, before = {}, control.calls()
with Daemon(site, **site.fresh_window(REQUESTS, PER)) as daemon:
    begun = time.monotonic()
    each(waiting, lambda api, person: person.grant(api), daemon.api)
    wait("the share is used up", lambda: control.calls() - before >= places, 60)
    control.quiet(2)
    used = control.calls() - before
    say(f"{asked.people} issues were asked for; {used} calls of {REQUESTS} in the window are used")

    api = daemon.api()
    phones = [person.phones(api)[0] for person in holders]

    def lose(index):
        api.call("/phones/deactivate", device_id=phones[index])
        answered[holders[index].identity] = time.time() * 1000

    at_times(sorted(random.uniform(0, asked.seconds) for _ in phones), lose)
    time.sleep(5)
    assert time.monotonic() - begun < PER, "this machine is too slow: the window is over"

ledger = control.ledger()
owner = {what["user"]: what["external_id"] for _, what in events_of(ledger, "user_created")}
holder = {what["container"]: owner[what["user"]] for _, what in events_of(ledger, "container_created")}
deleted = {holder[what["container"]]: at for at, what in events_of(ledger, "container_delete_initiated")}
delays = [max(0.0, deleted.get(identity, float("inf")) - at) / 1000 for identity, at in answered.items()]
calls = control.calls() - before - used
say(f"{calls} calls for {len(delays)} lost phones; delays {', '.join(f'{delay:.3f}' for delay in sorted(delays))} s")
table.add("lost phone, share used up: API answer → DELETE at HID, p50", percentile(delays, 50), unit="s")
table.add("lost phone, share used up: API answer → DELETE at HID, p99", percentile(delays, 99), at_most=1.0, unit="s")
table.add("lost phone: calls beyond the share that were no withdrawal", used - places, exactly=0, limit=0)
table.add("lost phone: refusals by the window", control.refusals(), exactly=0, limit=0)
table.end()
