"""Enrolls people with one phone, then gives each a second one, and counts."""

from common import OPEN, STOCK_OVERLAP, Daemon, Person, Site, Table
from common import create, each, options, redeeming, say, wait

BATCH = 100

asked = options(__doc__, phones=(500, 20))
table = Table()


class Story:
    """A site on which phones come in batches, so that the feed is not busier than its overlap can be in life."""

    def __init__(self, name, faults=None):
        self.site = Site(asked, name)
        self.control = self.site.control()
        self.control.window(OPEN, 1)
        if faults:
            self.control.call("faults", faults)

    def daemon(self):
        return Daemon(self.site, polling__overlap=STOCK_OVERLAP)

    def issued(self, keys):
        """Waits until so many keys are on phones."""
        live = lambda: self.control.call("state")["live_credentials"]
        # A phone whose event is missing is looked for two minutes later.
        wait(f"{keys} keys", lambda: sum(one["status"] == "ISSUED" for one in live()) >= keys, 900, every=0.5)

    def first_phones(self, daemon):
        """Everybody with a first phone, and the calls made by then."""
        persons = []
        with redeeming(self.site):
            for first in range(0, asked.phones, BATCH):
                count = min(BATCH, asked.phones - first)
                persons += create(daemon, count, Person.launch, Person.grant, first=first)
                # Not all of them: whose event is missing holds up nobody else.
                self.issued(len(persons) * 9 // 10)
            self.issued(len(persons))
            self.control.quiet(5)
        return persons, self.control.phone_calls()

    def further_phones(self, daemon, persons):
        """One more for everybody; gives the calls made by then."""
        with redeeming(self.site):
            for first in range(0, len(persons), BATCH):
                each(persons[first : first + BATCH], lambda api, person: person.invite(api), daemon.api)
                self.issued(len(persons) + (first + len(persons[first : first + BATCH])))
            self.control.quiet(5)
        return self.control.phone_calls()


def clean():
    story = Story("clean")
    with story.daemon() as daemon:
        persons, first = story.first_phones(daemon)
        further = story.further_phones(daemon, persons) - first
    say(f"clean: {story.control.counts()}")
    table.add("MI calls a first phone", first / asked.phones, exactly=2.0, limit=2)
    table.add("MI calls a further phone", further / asked.phones, exactly=2.0, limit=2)


def standard():
    # Late and stale within what the site's configuration waits for, which is short.
    story = Story("standard", {"preset": "standard", "late_by_max_ms": 1000, "stale_within_ms": 300})
    with story.daemon() as daemon:
        _, first = story.first_phones(daemon)
    say(f"standard: {story.control.counts()}")
    table.add("MI calls a first phone, `standard` mix", first / asked.phones, at_most=2.4, limit=2)


clean()
standard()
table.end()
