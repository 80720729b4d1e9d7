"""Lets phones register at random moments, and takes the time until each issue call from the simulator's ledger."""

import bisect
import random

from common import OPEN, STOCK_OVERLAP, Daemon, Person, Site, Table
from common import arrivals, at_times, create, latencies, options, percentile, say, wait

asked = options(__doc__, phones=(300, 20), gap=(0.7, 0.3), interval=1.0)
site, table = Site(asked, "site"), Table()
control = site.control()
control.window(OPEN, 1)
# A redeemed code is an ACTIVE phone in the same moment, so that nothing of HID's is measured.
control.call("settings", {"container_ready_ms": 0})

interval = f"{asked.interval * 1000:.0f}ms"
with Daemon(site, polling__interval=interval, polling__overlap=STOCK_OVERLAP) as daemon:
    create(daemon, asked.phones, Person.launch, Person.grant)
    wait("invitations", lambda: len(control.call("invitations")) == asked.phones, 600, every=1)
    control.quiet(3)
    codes = [item["code"] for item in control.call("invitations")]
    random.shuffle(codes)
    say(f"{len(codes)} people are invited; their phones come one by one")
    moments = arrivals(len(codes), asked.gap * len(codes), asked.interval)
    at_times(moments, lambda index: control.call("redeem", {"code": codes[index]}))
    wait("issues", lambda: control.issues() >= asked.phones, 60 + 10 * asked.interval, every=1)

# Where the time goes, for whoever wants to shorten it: waiting for a poll, or from there to the call.
polls = [one["at"] for one in control.requests("events")]
gaps = [(later - sooner) / 1000 for sooner, later in zip(polls, polls[1:])]
issues = [one["at"] for one in control.requests() if one["class"] == "issue"]
after = [(at - polls[bisect.bisect(polls, at) - 1]) / 1000 for at in issues]
say(f"between polls {percentile(gaps, 50):.3f} s, p99 {percentile(gaps, 99):.3f} s")
say(f"from the last poll to the issue call {percentile(after, 50):.3f} s, p99 {percentile(after, 99):.3f} s")
found = [seconds / asked.interval for seconds in latencies(control.ledger())]
assert len(found) == asked.phones
table.add("registration → issue call, idle, p50", percentile(found, 50), at_most=0.6, limit=0.5, unit="intervals")
table.add("registration → issue call, idle, p99", percentile(found, 99), at_most=1.2, limit=1.0, unit="intervals")
table.end()
