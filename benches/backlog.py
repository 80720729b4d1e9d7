"""Registers phones, lets all their issues wait at once, and watches how the window is used."""

import signal
import time
from collections import Counter

import postgres
from common import SHARE, Daemons, Site, Table, each, options, register, say, wait

asked = options(__doc__, phones=(2000, 120), requests=(300, 60), per=(10, 2), store="sqlite", daemons=1, deaths=0.0)
site, table = Site(asked, "site"), Table()
control = site.control()
places = int(asked.requests * SHARE)
# What a dead daemon had begun waits for its lease to end, longer than a window: the last window's worth counts only
# where none dies.
enough = asked.phones - places if asked.deaths else asked.phones
# Several daemons count windows 0.4 s longer, which matters where a window is short of what it is in life.
goal = 0.9 if asked.store == "postgres" else 0.97


def ideal(calls):
    """Seconds from the first to the last of so many calls, where each goes as soon as the share of the window allows."""
    return (calls - 1) // places * asked.per


class Blows:
    """The first daemon dies every few seconds; the last stands still from the first death on."""

    def __init__(self, daemons):
        self.dying, self.still, self.deaths = daemons.all[0], daemons.all[-1], 0
        self.at = time.monotonic() + asked.deaths

    def fall(self):
        if not asked.deaths or time.monotonic() < self.at:
            return
        if not self.deaths and self.still is not self.dying:
            self.still.process.send_signal(signal.SIGSTOP)
        self.dying.kill()
        self.dying.start()
        self.deaths += 1
        self.at = time.monotonic() + asked.deaths

    def end(self):
        self.still.process.send_signal(signal.SIGCONT)
        if self.deaths:
            say(f"one daemon died {self.deaths} times")


with postgres.store(asked, site) as url:
    persons = register(site, asked.phones, url=url)
    say(f"{len(persons)} phones are registered, no key is wanted yet")

    # Nobody can log in while the keys are asked for, so that the first issue finds all others waiting.
    control.call("faults", {"token_refused": 1.0})
    with Daemons(site, asked.daemons, url, **site.fresh_window(asked.requests, asked.per)) as daemons:
        each(persons, lambda api, person: person.grant(api), daemons.api)
        say("all issues wait")
        control.call("faults", {"preset": "none"})
        blows = Blows(daemons)

        def are_enough():
            blows.fall()
            return control.issues() >= enough

        # A minute is the longest pause between two tries to log in.
        wait("all issues", are_enough, 120 + 3 * ideal(asked.phones), every=0.5)
        blows.end()

requests = control.requests()
issued = [one["at"] for one in requests if one["class"] == "issue"]
first, last = min(issued), sorted(issued)[enough - 1]
used = [one for one in requests if first <= one["at"] <= last]
took = (last - first) / 1000
say(f"{dict(Counter(one['class'] for one in used))}")
say(f"{len(used)} calls in {took:.1f} s; no schedule takes less than {ideal(len(used))} s")
who = postgres.who(asked)
table.add(f"{who}, backlog: use of share × limit", ideal(len(used)) / took, at_least=goal, limit=1)
table.add(f"{who}, backlog: MI calls an issue", len(used) / enough, limit=1)
table.add(f"{who}, backlog: refusals by the window", control.refusals(), exactly=0, limit=0)
table.end()
