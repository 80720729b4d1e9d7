"""Enrolls people with one phone each, then looks at the daemon from outside while nothing happens, and kills it."""

import os
import pathlib
import shutil
import time

from common import OPEN, Daemon, Person, Site, Table, create, options, redeeming, say, wait

DATABASE = "state.db*"
BATCH = 500

asked = options(
    __doc__, people=(100_000, 100), seconds=(180, 10), settle=(60, 3), sweep_share=0.0, keep=None, **{"from": None}
)
site, table = Site(asked, "site"), Table()
control = site.control()
control.window(OPEN, 1)
# 1 or 0.0001, but never 1e-4.
settings = {"polling__interval": "5s", "polling__sweep_share": f"{asked.sweep_share:.6f}"}


def copy(origin, target):
    target.mkdir(parents=True, exist_ok=True)
    # The log of another database would be read as this one's.
    for file in target.glob(DATABASE):
        file.unlink()
    for file in origin.glob(DATABASE):
        shutil.copy2(file, target)


def load(daemon):
    """In batches, so that codes are redeemed while people are still created."""
    begun = time.monotonic()
    with redeeming(site, every=1) as redeemed:
        for first in range(0, asked.people, BATCH):
            count = min(BATCH, asked.people - first)
            create(daemon, count, Person.launch, Person.grant, first=first)
            wait("phones", lambda: len(redeemed) >= first, 600, every=1)
            if first % 5000 == 0:
                say(f"{first + count} people created, {len(redeemed)} phones, {time.monotonic() - begun:.0f} s")
        wait("the last phones", lambda: len(redeemed) >= asked.people, 600, every=1)
        # Seldom: the ledger is long.
        pause = 1 + asked.people / 5000
        wait("the last issues", lambda: control.issues() >= asked.people, 1200, pause)
    control.quiet(3 + pause, every=pause)
    say(f"{asked.people} people with a phone and a key were loaded in {time.monotonic() - begun:.0f} s")


class Watched:
    """What the kernel counts for a process."""

    def __init__(self, process):
        self.folder = pathlib.Path(f"/proc/{process}")

    def memory(self):
        """Resident, MiB."""
        return self.field(self.folder / "status", "VmRSS") / 1024

    def ticks(self):
        """Seconds of processor so far, as far as a tick saw them."""
        # Behind the command's name, which may hold anything; user and system time are fields 14 and 15 of all.
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tasks(self):
        """Of each thread that lives: seconds of processor, and how often it went to sleep by itself."""
        found = {}
        for task in (self.folder / "task").iterdir():
            seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
            found[task.name] = (seconds, self.field(task / "status", "voluntary_ctxt_switches"))
        return found

    @staticmethod
    def field(file, name):
        return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(name + ":"))


def watch(daemon):
    say(f"watching for {asked.seconds} s, after {asked.settle} s of rest")
    time.sleep(asked.settle)
    watched, calls = Watched(daemon.process.pid), control.calls()
    begun, ticks, tasks = time.monotonic(), watched.ticks(), watched.tasks()
    memory = [watched.memory()]
    while time.monotonic() - begun < asked.seconds:
        time.sleep(min(5, asked.seconds))
        memory.append(watched.memory())
    took = time.monotonic() - begun
    passed = [
        (seconds - tasks.get(task, (0, 0))[0], wakes - tasks.get(task, (0, 0))[1])
        for task, (seconds, wakes) in watched.tasks().items()
    ]
    # What runs for less than a tick is seen by the scheduler alone, threads that ended by the ticks alone.
    share = max(watched.ticks() - ticks, sum(seconds for seconds, _ in passed)) / took
    woken = sum(wakes for _, wakes in passed)
    calls = control.calls() - calls
    people = f"{asked.people:,} people"
    table.add(f"{people}, idle: MI calls in {took:.0f} s, sweep off", calls, exactly=0, limit=0)
    table.add(f"{people}, idle: resident memory, most", max(memory), at_most=48, unit="MiB")
    table.add(f"{people}, idle, interval 5 s: processor", 100 * share, at_most=0.5, unit="% of a core")
    table.add(f"{people}, idle, interval 5 s: wake-ups", woken / took, at_most=2, limit=0.2, unit="/s")


def kill(daemon):
    daemon.kill()
    killed = time.time() * 1000
    daemon.start()
    calls = [one for one in control.requests() if killed < one["at"] <= daemon.ready_at]
    people = f"{asked.people:,} people"
    table.add(f"{people}: ready after kill -9", daemon.ready_in, at_most=0.5, unit="s")
    table.add(f"{people}: MI calls by then", len(calls), exactly=0, limit=0)
    time.sleep(asked.settle)
    memory = Watched(daemon.process.pid).memory()
    table.add(f"{people}: resident memory after that", memory, at_most=48, unit="MiB")


origin = getattr(asked, "from") and pathlib.Path(getattr(asked, "from"))
if origin:
    copy(origin, site.folder)
    asked.people = int((origin / "people").read_text())
try:
    with Daemon(site, **settings) as daemon:
        if not origin:
            load(daemon)
        watch(daemon)
        kill(daemon)
finally:
    if asked.keep:
        copy(site.folder, pathlib.Path(asked.keep))
        (pathlib.Path(asked.keep) / "people").write_text(f"{asked.people}\n")
        say(f"the database is kept in {asked.keep}")
table.end()
