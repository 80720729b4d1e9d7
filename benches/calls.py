"""Enrolls people with one phone, then gives each a second one, and counts."""

from common import OPEN, Daemon, Person, Site, Table, create, each, options, redeeming, say, wait

asked = options(__doc__, phones=(1000, 20))
table = Table()


def issued(control):
    return len([1 for one in control.call("state")["live_credentials"] if one["status"] == "ISSUED"])


def enroll(daemon, control):
    """Calls for the first phone of each of so many people, until HID is left alone."""
    with redeeming(daemon.site):
        persons = create(daemon, asked.phones, Person.launch, Person.grant)
        wait_for(control, asked.phones)
    return persons, control.calls()


def wait_for(control, keys):
    # A phone whose event is missing is looked for two minutes later.
    wait(f"{keys} keys", lambda: issued(control) >= keys, 900, every=1)
    control.quiet(5)


def clean():
    site = Site(asked, "clean")
    control = site.control()
    control.window(OPEN, 1)
    with Daemon(site) as daemon:
        persons, first = enroll(daemon, control)
        with redeeming(site):
            each(persons, lambda api, person: person.invite(api), daemon.api)
            wait_for(control, 2 * asked.phones)
        further = control.calls() - first
    say(f"clean: {control.counts()}")
    table.add("MI calls a first phone", first / asked.phones, exactly=2.0, limit=2)
    table.add("MI calls a further phone", further / asked.phones, exactly=2.0, limit=2)


def standard():
    site = Site(asked, "standard")
    control = site.control()
    control.window(OPEN, 1)
    # Late and stale within what the site's configuration waits for, which is short.
    control.call("faults", {"preset": "standard", "late_by_max_ms": 1000, "stale_within_ms": 300})
    with Daemon(site) as daemon:
        _, first = enroll(daemon, control)
    say(f"standard: {control.counts()}")
    table.add("MI calls a first phone, `standard` mix", first / asked.phones, at_most=2.4, limit=2)


clean()
standard()
table.end()
