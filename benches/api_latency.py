"""Loads identities through the API, then measures one call at a time over a kept connection."""

import json
import time

import postgres
from common import Daemons, Person, Site, Table, each, options, percentile, say

LOADERS = 16

asked = options(__doc__, identities=(20_000, 500), samples=(500, 100), store="sqlite", daemons=1)
site, table = Site(asked, "site"), Table()
control = site.control()


def load(daemon):
    """Every tenth has an ACS user in the access system as well; gives those."""

    def one(api, number):
        person = Person(number)
        return person.create(api) if number % 10 == 0 else person.identify(api)

    begun = time.monotonic()
    persons = each(range(asked.identities), one, daemon.api, LOADERS)[::10]
    took = time.monotonic() - begun
    say(f"loaded {asked.identities} identities and {len(persons)} ACS users in {took:.0f} s, {LOADERS} at a time")
    return persons


def measure(api, name, goal, calls):
    """Milliseconds from the first byte sent to the last one read."""
    times = []
    for path, body in calls:
        text = json.dumps(body)
        begun = time.perf_counter()
        status, answer = api.ask("POST", path, text)
        times.append((time.perf_counter() - begun) * 1000)
        assert status == 200, (path, status, answer[:300])
    name = f"{postgres.who(asked)}, {name}"
    table.add(f"{name}, median", percentile(times, 50), at_most=goal, unit="ms")
    table.add(f"{name}, p99", percentile(times, 99), unit="ms")


control.call("faults", {"hang": 1.0})
with postgres.store(asked, site) as url, Daemons(site, asked.daemons, url) as daemon:
    users, api = load(daemon), daemon.api()
    sample = [users[n * len(users) // asked.samples % len(users)] for n in range(asked.samples)]
    say(f"{asked.samples} calls of each kind")
    for path, body in [
        ("/user_identities/get", lambda one: {"user_identity_id": one.identity}),
        ("/acs/users/get", lambda one: {"acs_user_id": one.user}),
        ("/user_identities/list", lambda _: {"limit": 20}),
        ("/acs/credentials/list", lambda one: {"acs_user_id": one.user}),
    ]:
        measure(api, f"`{path}`", 5, [(path, body(one)) for one in sample])
    new = [Person(asked.identities + number) for number in range(asked.samples)]
    path = "/user_identities/create"
    measure(api, f"`{path}`", 50, [(path, person.identity_asked()) for person in new])
    path = "/acs/credentials/create"
    measure(api, f"`{path}`", 50, [(path, person.credential_asked()) for person in sample])
    # A drain would wait for calls that HID never answers.
    daemon.kill()
hung = [one for one in control.tail("requests")["requests"] if one["outcome"] == "hang"]
say(f"calls that HID left without an answer meanwhile: {len(hung)}")
table.end()
