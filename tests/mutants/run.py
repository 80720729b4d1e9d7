"""Runs the tests against each mutant of a copy that rewrite.py has made, cheapest first, until one fails.

usage: run.py COPY EARLIER RESULTS REASONS [--jobs N] [--again] [--only WORD]    default: 2 jobs
  --again    survivors once more: with as many seeds and cases as CI has, and with the tests of whole processes
  --only     mutants whose name contains the word

RESULTS has one line of JSON for each mutant, the last one counts; EARLIER is that of a run on older sources. What REASONS
explains gets the cheap tests only. COPY/tests.json keeps which test comes past which mutant, from one run without any: no
other test can fail by it.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from report import Reasons, results

LIGHT = {"SIMULATION_SEEDS": "60", "CRASH_SEEDS": "1", "CRASH_EVERY": "40", "PROPTEST_CASES": "64", "ROUNDS": "1"}
ALWAYS = {"PROPTEST_MAX_SHRINK_ITERS": "0", "INSTA_UPDATE": "no", "RUST_BACKTRACE": "0"}
# Upper ends, in seconds, of a test's usual time: the cheaper ones go first, and together.
CLASSES = [0.3, 3]
SLACK = 15
# Their time is a wall clock's.
PROCESSES = (
    "process::", "demo::", "lifecycle::", "cli::", "discreet::", "kills::", "several::", "sick_disk::", "on_postgres::",
)
# So many of the tests that caught a mutant's neighbours are run before all others.
HINTS = 6


class Stage:
    """Which tests are run: the cheap ones, then cheap ones of whole processes, then the light ones of what is left, then
    all with all their seeds."""

    def __init__(self, name, above, below, kinds, environment, longer):
        self.name, self.above, self.below, self.kinds = name, above, below, kinds
        self.environment, self.longer = environment, longer

    def takes(self, test):
        of_process = test["test"].startswith(PROCESSES)
        return self.above <= test["seconds"] < self.below and of_process in self.kinds


CHEAP = Stage("cheap", 0, 3, {False}, LIGHT, 1)
WHOLE = Stage("whole processes", 0, 5, {True}, LIGHT, 2)
DEAR = Stage("dear", 3, 60, {False}, LIGHT, 1)
ALL = Stage("all", 0, float("inf"), {False, True}, {}, 10)
# They show that the simulation finds deliberate bugs; that it finds another one instead says nothing.
NO_EVIDENCE = "_is_caught"


def binaries(copy):
    """The test binaries, built once, and put aside: what is built of the sources themselves lies in the same place."""
    cache = copy / "binaries.json"
    if cache.exists():
        return json.loads(cache.read_text())
    run = subprocess.run(
        ["cargo", "test", "--locked", "--no-run", "--message-format=json", "-j2"],
        cwd=copy, stdout=subprocess.PIPE, text=True, check=True,
    )
    artifacts = [json.loads(line) for line in run.stdout.splitlines()]
    tests = [a for a in artifacts if a.get("executable") and a["profile"]["test"]]
    known = {}
    for a in tests:
        kind = a["target"]["kind"][0]
        aside = copy / f"{a['target']['name']}-{kind}"
        shutil.copy2(a["executable"], aside)
        known[f"{a['target']['name']}/{kind}"] = str(aside)
    cache.write_text(json.dumps(known))
    return known


def run(copy, binary, tests, extra, limit):
    """`None` where all tests pass; else the first that fails, or "time-out"."""
    # Short, and open to whoever a throw-away PostgreSQL runs as.
    scratch = tempfile.mkdtemp(prefix="m")
    os.chmod(scratch, 0o755)
    environment = os.environ | ALWAYS | extra | {"TMPDIR": scratch, "CARGO_MANIFEST_DIR": str(copy)}
    child = subprocess.Popen(
        [binary, *(["--exact"] if tests else []), "--test-threads=1", *tests],
        cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )
    late = threading.Event()

    def stop():
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def too_late():
        late.set()
        stop()

    timer = threading.Timer(limit, too_late)
    timer.start()
    failed, running = None, None
    for line in child.stdout:
        # "test NAME ... " and the verdict, which output of the test may part from it.
        if line.startswith("test ") and " ... " in line:
            running = line.split()[1]
        if line.rstrip().endswith("FAILED") and not line.startswith("test result"):
            failed = running or line.split()[0]
            break
    stop()
    child.wait()
    timer.cancel()
    shutil.rmtree(scratch, ignore_errors=True)
    if failed is None and late.is_set():
        return "time-out"
    if failed is None and child.returncode != 0 and child.returncode != -signal.SIGKILL:
        return "abort"
    return failed


def survey(copy, known, jobs):
    """Each test alone, without a mutant: how long it takes and which mutants it comes past."""
    cache = copy / "tests.json"
    if cache.exists():
        return json.loads(cache.read_text())
    shutil.copy(copy / "tests/core_props.seeds", copy / "seeds")
    listed = []
    for name, binary in known.items():
        listing = subprocess.run([binary, "--list", "--format", "terse"], cwd=copy, stdout=subprocess.PIPE, text=True, check=True)
        listed += [(name, *line.rsplit(": ", 1)) for line in listing.stdout.splitlines()]
    chosen = [(name, test) for name, test, kind in listed if kind == "test" and not test.endswith(NO_EVIDENCE)]

    def one(number):
        name, test = chosen[number]
        trace = copy / f"scratch/trace{number}"
        trace.unlink(missing_ok=True)
        began = time.monotonic()
        failed = run(copy, known[name], [test], LIGHT | {"MUTANT_TRACE": str(trace)}, 1200)
        passed = sorted({int(n) for n in trace.read_text().split()}) if trace.exists() else []
        entry = {"binary": name, "test": test, "seconds": time.monotonic() - began, "passes": passed}
        print(f"{entry['seconds']:7.2f} s {len(passed):5} {test}{' FAILS' if failed else ''}", flush=True)
        return None if failed else entry

    with ThreadPoolExecutor(jobs) as pool:
        tests = [entry for entry in pool.map(one, range(len(chosen))) if entry]
    cache.write_text(json.dumps(tests))
    return tests


class Hints:
    """The tests that caught other mutants of a function are likely to catch its next one."""

    def __init__(self):
        self.by_function, self.by_file = {}, {}

    @staticmethod
    def places(mutant):
        file = mutant["name"].split(":", 1)[0]
        change = mutant["name"].split(": ", 1)[1]
        function = change.rsplit(" in ", 1)[-1].removeprefix("replace ").split(" -> ")[0].split(" with ")[0]
        return file, f"{file} {function}"

    def learn(self, result):
        if not result["by"] or result["by"] in ("time-out", "abort"):
            return
        file, function = self.places(result)
        for known, key in ((self.by_file, file), (self.by_function, function)):
            known[key] = [result["by"], *(test for test in known.get(key, []) if test != result["by"])][:HINTS]

    def of(self, mutant):
        file, function = self.places(mutant)
        return {*self.by_function.get(function, []), *self.by_file.get(file, [])[: HINTS // 2]}


def told_once(tests):
    """A story that the contract suite tells on several stores is told on the quickest of those that come past."""
    quickest = {}
    for test in tests:
        name = test["test"]
        story = name.rsplit("::", 1)[1] if name.startswith("store_contract::") else name
        if story not in quickest or test["seconds"] < quickest[story]["seconds"]:
            quickest[story] = test
    return list(quickest.values())


def verdict(copy, known, tests, mutant, stage, hints):
    """Runs the tests of one stage that come past the mutant: the likely ones first, then the cheaper ones."""
    began = time.monotonic()
    passing = told_once(test for test in tests if mutant["id"] in test["passes"] and stage.takes(test))
    outcome, by = "survived", None
    extra = {"MUTANT": str(mutant["id"])} | stage.environment
    likely = [test for test in passing if test["test"] in hints and test["seconds"] < CLASSES[1]]
    classes = [likely]
    below = 0.0
    for end in CLASSES:
        classes.append([test for test in passing if below <= test["seconds"] < end and test not in likely])
        below = end
    # Each by itself; the one that comes past few mutants is about this one.
    dear = [test for test in passing if test["seconds"] >= below]
    classes += [[test] for test in sorted(dear, key=lambda test: len(test["passes"]))]
    for of_class in classes:
        for name, binary in known.items():
            chosen = [test for test in of_class if test["binary"] == name]
            if not chosen or by:
                continue
            shutil.copy(copy / "seeds", copy / "tests/core_props.seeds")
            usual = sum(test["seconds"] for test in chosen) * stage.longer
            by = run(copy, binary, [test["test"] for test in chosen], extra, SLACK + 4 * usual)
    if by:
        outcome = "timed out" if by == "time-out" else "caught"
    return {
        "id": mutant["id"], "name": mutant["name"], "line": mutant["line"], "stage": stage.name, "outcome": outcome,
        "by": by, "tests": len(passing), "seconds": round(time.monotonic() - began, 1),
    }


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    arguments.add_argument("copy", type=Path)
    arguments.add_argument("earlier", type=Path)
    arguments.add_argument("results", type=Path)
    arguments.add_argument("reasons", type=Path)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--again", action="store_true")
    arguments.add_argument("--only", default="")
    asked = arguments.parse_args()
    copy = asked.copy.resolve()
    (copy / "scratch").mkdir(exist_ok=True)
    known = binaries(copy)
    tests = survey(copy, known, asked.jobs)
    for test in tests:
        test["passes"] = set(test["passes"])
    mutants = [m for m in json.loads((copy / "mutants.json").read_text()) if not m["unviable"]]
    mutants = [m for m in mutants if asked.only in m["name"]]
    lock = threading.Lock()
    hints = Hints()

    for result in results(asked.earlier).values():
        hints.learn(result)

    def pass_over(stage, due):
        last = results(asked.results)
        for result in last.values():
            hints.learn(result)

        def one(mutant):
            with lock:
                likely = hints.of(mutant)
            result = verdict(copy, known, tests, mutant, stage, likely)
            with lock, asked.results.open("a") as out:
                out.write(json.dumps(result) + "\n")
                hints.learn(result)
                print(f"{result['outcome']:9} {result['seconds']:6} s {result['name']}  [{result['by']}]", flush=True)

        with ThreadPoolExecutor(asked.jobs) as pool:
            list(pool.map(one, [m for m in mutants if due(last.get(m["id"]))]))

    pass_over(CHEAP, lambda last: last is None)
    reasons = Reasons(asked.reasons)
    mutants = [mutant for mutant in mutants if not reasons.of(mutant)]
    for stage, before in ((WHOLE, CHEAP), (DEAR, WHOLE)):
        pass_over(stage, lambda last: last and last["outcome"] == "survived" and last["stage"] == before.name)
    if asked.again:
        pass_over(ALL, lambda last: last["outcome"] == "survived")


if __name__ == "__main__":
    sys.exit(main())
