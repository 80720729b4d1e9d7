"""The figures of a run, and the survivors that nothing explains.

usage: report.py COPY RESULTS REASONS

REASONS: TOML, one `[[equivalent]]` for each survivor that changes nothing anybody could see: `mutant` (its name without
the line number), `line` (the line of source it is in; all of the function where absent), `reason`.
"""

import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path


def bare(name):
    return re.sub(r":\d+:\d+:", ":", name)


def results(file):
    """The last result of each mutant."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {result["id"]: result for result in map(json.loads, lines)}


class Reasons:
    """Why some mutants change nothing anybody could see."""

    def __init__(self, file):
        self.entries = tomllib.loads(file.read_text()).get("equivalent", [])

    def of(self, mutant):
        """The numbers of the entries that are about it."""
        return [
            n for n, entry in enumerate(self.entries)
            if entry["mutant"] == bare(mutant["name"]) and entry.get("line", mutant["line"]) == mutant["line"]
        ]


def main(copy, found, reasons):
    mutants = json.loads((copy / "mutants.json").read_text())
    last = results(found)
    reasons = Reasons(reasons)
    used = [False] * len(reasons.entries)
    figures, unexplained = Counter(), []
    for mutant in mutants:
        result = last.get(mutant["id"])
        outcome = "does not compile" if mutant["unviable"] else result["outcome"] if result else "not run"
        if outcome == "survived":
            fits = reasons.of(mutant)
            for n in fits:
                used[n] = True
            if fits:
                outcome = "survived, explained"
            else:
                unexplained.append(f"{mutant['name']}    {mutant['line']}    [{result['tests']} tests come past]")
        figures[outcome] += 1
    for line in unexplained:
        print(f"SURVIVED {line}")
    for entry, was_used in zip(reasons.entries, used):
        if not was_used:
            print(f"UNUSED   {entry['mutant']}    {entry.get('line', '')}")
    print(f"{len(mutants)} mutants: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(figures.items())))
    return 1 if unexplained or not all(used) else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
