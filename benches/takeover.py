"""Kills a daemon while HID keeps it waiting for answers, and looks when another one asks what became of the calls."""

import time

import postgres
from common import Daemons, Site, Table, each, options, register, say, wait

asked = options(__doc__, phones=(12, 4), store="postgres", daemons=2)
site, table = Site(asked, "site"), Table()
control = site.control()
# Of the stock configuration. A claim's lease is two requests, 5 s and 30 s; another daemon takes over a request and 30 s
# after its end.
REQUEST_TIMEOUT = 20
EARLIEST = (2 * REQUEST_TIMEOUT + 5 + 30) + (REQUEST_TIMEOUT + 30)


def issues(outcome):
    return [one["at"] for one in control.requests() if (one["class"], one["outcome"]) == ("issue", outcome)]


with postgres.store(asked, site) as url:
    persons = register(site, asked.phones, url=url)
    control.call("faults", {"next": [{"class": "issue", "fault": "hang"}] * asked.phones})
    with Daemons(site, asked.daemons, url) as daemons:
        one = daemons.all[0]
        each(persons, lambda api, person: person.grant(api), one.api)
        hung = wait("calls on their way", lambda: issues("hang"), 60)
        one.kill()
        killed, hung = time.time() * 1000, issues("hang")
        say(f"killed with {len(hung)} calls on their way")
        control.call("faults", {"preset": "none"})
        wait("all issues", lambda: control.issues() >= asked.phones, 4 * EARLIEST, every=1)
    requests = control.requests()
    live = control.call("violations")

looked = [one["at"] for one in requests if one["at"] > killed and one["class"] == "container_get"]
say(f"{sorted({one['class'] for one in requests if one['at'] > killed})}")
after = [(at - claimed) / 1000 for at, claimed in zip(sorted(looked), sorted(hung))]
table.add("from a dead daemon's call to another one's read, first", min(after), limit=EARLIEST, unit="s")
table.add("the same, last", max(after), at_most=EARLIEST + 3, limit=EARLIEST, unit="s")
table.add("violations of HID's rules, keys twice", len(live), exactly=0)
table.end()
