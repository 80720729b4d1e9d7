"""Registers phones, lets all their issues wait at once, and watches how the window is used."""

from collections import Counter

from common import SHARE, Daemon, Site, Table, each, options, register, say, wait

asked = options(__doc__, phones=(2000, 120), requests=(300, 60), per=(10, 2))
site, table = Site(asked, "site"), Table()
control = site.control()
places = int(asked.requests * SHARE)


def ideal(calls):
    """Seconds from the first to the last of so many calls, where each goes as soon as the share of the window allows."""
    return (calls - 1) // places * asked.per


persons = register(site, asked.phones)
say(f"{len(persons)} phones are registered, no key is wanted yet")

# Nobody can log in while the keys are asked for, so that the first issue finds all others waiting.
control.call("faults", {"token_refused": 1.0})
with Daemon(site, **site.fresh_window(asked.requests, asked.per)) as daemon:
    each(persons, lambda api, person: person.grant(api), daemon.api)
    say("all issues wait")
    control.call("faults", {"preset": "none"})
    # A minute is the longest pause between two tries to log in.
    wait("all issues", lambda: control.issues() >= asked.phones, 120 + 3 * ideal(asked.phones), every=1)

requests = control.requests()
issued = [one["at"] for one in requests if one["class"] == "issue"]
first, last = min(issued), max(issued)
used = [one for one in requests if first <= one["at"] <= last]
took = (last - first) / 1000
say(f"{dict(Counter(one['class'] for one in used))}")
say(f"{len(used)} calls in {took:.1f} s; no schedule takes less than {ideal(len(used))} s")
table.add("backlog: use of share × limit", ideal(len(used)) / took, at_least=0.97, limit=1)
table.add("backlog: MI calls an issue", len(used) / len(issued), limit=1)
table.add("backlog: refusals by the window", control.refusals(), exactly=0, limit=0)
table.end()
