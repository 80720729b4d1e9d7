"""Lets the same people come to the adapter and to both rivals, and compares what the ledgers say."""

import csv
import json
import pathlib
import random
import sys
import threading
import time

from common import PER, REQUESTS, Daemon, Person, Site, Table
from common import arrivals, create, latencies, options, percentile, say, spawn, wait

SCALE = 60
INTERVAL = 1
FIELDS = ["people", "day_s", "who", "mobile_identities_calls", "refused", "p50_s", "p99_s"]

asked = options(
    __doc__, people=(1000, 20), day=(8 * 3600 // SCALE, 8), requests=REQUESTS, per=PER // SCALE, csv=None
)
folder = pathlib.Path(asked.scratch)
people = [Person(number) for number in range(asked.people)]
moments = list(zip(arrivals(len(people), asked.day, INTERVAL), random.sample(people, len(people))))


class Contestant:
    def __init__(self, name, site):
        self.name, self.site, self.control = name, Site(asked, site), Site(asked, site).control()
        self.control.window(asked.requests, asked.per)
        # A redeemed code is an ACTIVE phone in the same moment, so that nothing of HID's is measured.
        self.control.call("settings", {"container_ready_ms": 0})
        self.failure = None

    def redeem(self, begun):
        """Everybody's phone registers at its moment, or as soon after it as there is an invitation."""
        control, late = self.site.control(), []
        coming = list(moments)
        while coming or late:
            now = time.monotonic() - begun
            while coming and coming[0][0] <= now:
                late.append(coming.pop(0)[1].email)
            invited = {item["email"]: item["code"] for item in control.call("invitations")} if late else {}
            for email in [email for email in late if email in invited]:
                control.call("redeem", {"code": invited[email]})
                late.remove(email)
            time.sleep(0.25 if late else 0.02)

    def begin(self, begun):
        def run():
            try:
                self.redeem(begun)
            except Exception as error:  # Told by the main thread.
                self.failure = error

        threading.Thread(target=run, daemon=True).start()

    def is_done(self):
        if self.failure:
            raise self.failure
        return self.control.issues() >= asked.people

    def result(self):
        found = latencies(self.control.ledger())
        assert len(found) == asked.people, f"{self.name}: {len(found)} phones have a key"
        figures = [self.control.calls(), self.control.refusals(), percentile(found, 50), percentile(found, 99)]
        return dict(zip(FIELDS, [asked.people, asked.day, self.name, *figures]))


def rival(script, site, *more):
    file = pathlib.Path(__file__).with_name(script)
    return spawn([sys.executable, "-B", str(file), site.hid, str(folder / "people.json"), str(INTERVAL), *more])


(folder / "people.json").write_text(json.dumps([vars(person) for person in people]))
contestants = [Contestant("adapter", "adapter"), Contestant("A", "cron"), Contestant("B", "integrator")]
ours, a, b = contestants
processes = []
with Daemon(ours.site, requests=asked.requests, per=asked.per) as daemon:
    try:
        processes.append(rival("rival_cron.py", a.site))
        processes.append(rival("rival_integrator.py", b.site, str(asked.per)))
        begun = time.monotonic()
        for contestant in contestants:
            contestant.begin(begun)
        create(daemon, asked.people, Person.launch, Person.grant)
        say(f"{asked.people} people, {asked.day} s")

        def all_done():
            assert all(process.poll() is None for process in processes), "a rival ended by itself"
            return all(contestant.is_done() for contestant in contestants)

        wait("everybody has a key", all_done, 2 * asked.day + asked.people + 60, every=2)
        ours.control.quiet(3)
        b.control.quiet(3)
    finally:
        for process in processes:
            process.terminate()
            process.wait()

results = [contestant.result() for contestant in contestants]
if asked.csv:
    is_new = not pathlib.Path(asked.csv).exists()
    with open(asked.csv, "a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if is_new:
            writer.writeheader()
        writer.writerows(results)

print("| who | MI calls | a phone | refused by the window | p50, s | p99, s |\n| --- | --- | --- | --- | --- | --- |")
for one in results:
    calls = one["mobile_identities_calls"]
    print(f"| {one['who']} | {calls} | {calls / asked.people:.2f} | {one['refused']} ", end="")
    print(f"| {one['p50_s']:.2f} | {one['p99_s']:.2f} |")

table, mine = Table(), results[0]
name = f"{asked.people:,} people"
for one, fewer in [(results[1], 10), (results[2], 1.8)]:
    calls = one["mobile_identities_calls"] / mine["mobile_identities_calls"]
    table.add(f"{name}: calls of {one['who']} / ours", calls, at_least=fewer)
    table.add(f"{name}: our median latency / that of {one['who']}", mine["p50_s"] / one["p50_s"], at_most=1)
table.end()
