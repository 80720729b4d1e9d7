"""Draws calls and median latency against the number of people, from the lines that benches/rivals wrote.

usage: chart.py CSV SVG
"""

import csv
import math
import pathlib
import sys

WIDTH, HEIGHT = 400, 280
LEFT, TOP, BOTTOM, RIGHT = 62, 56, 46, 18
WHO = {"adapter": "origo-adapter", "A": "A: cron script", "B": "B: integrator"}
# Colours that can be told apart on white and on black, and by whoever sees no red; shapes for whoever sees no colours.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 13px }
.grid { stroke: #1f2328; stroke-opacity: .15 }
.line { fill: none; stroke-width: 2 }
.adapter { stroke: #0a7d4f; fill: #0a7d4f }
.A { stroke: #b4530a; fill: #b4530a }
.B { stroke: #4a63d8; fill: #4a63d8 }
.line { fill: none !important }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .grid { stroke: #e6edf3 }
  .adapter { stroke: #3fca8c; fill: #3fca8c }
  .A { stroke: #f0883e; fill: #f0883e }
  .B { stroke: #8fa4ff; fill: #8fa4ff }
}
"""
MARKS = {
    "adapter": '<circle class="adapter" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
    "A": '<rect class="A" x="{x:.1f}" y="{y:.1f}" width="7" height="7" transform="translate(-3.5 -3.5)"/>',
    "B": '<path class="B" d="M{x:.1f} {y:.1f}m0 -5l5 9h-10z"/>',
}


def short(number):
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


def text(x, y, words, anchor="middle", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{words}</text>'


class Panel:
    """One drawing, both axes logarithmic: what grows with people to the power of something is a straight line."""

    def __init__(self, left, title, unit, series):
        self.left, self.title, self.unit, self.series = left, title, unit, series
        people = sorted({x for points in series.values() for x, _ in points})
        values = [y for points in series.values() for _, y in points]
        self.people = people
        self.low_x, self.high_x = math.log10(people[0]), math.log10(people[-1])
        self.low_y, self.high_y = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self.high_y = max(self.high_y, self.low_y + 1)

    def x(self, people):
        part = (math.log10(people) - self.low_x) / ((self.high_x - self.low_x) or 1)
        return self.left + LEFT + part * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        part = (math.log10(value) - self.low_y) / (self.high_y - self.low_y)
        return HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)

    def draw(self):
        left, right = self.left + LEFT, self.left + WIDTH - RIGHT
        yield text(left, TOP - 14, self.title, "start", "title")
        for power in range(self.low_y, self.high_y + 1):
            y = self.y(10**power)
            yield f'<path class="grid" d="M{left} {y:.1f}H{right}"/>'
            yield text(left - 7, y + 4, short(10**power) + self.unit, "end")
        for people in self.people:
            x = self.x(people)
            yield f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
            yield text(x, HEIGHT - BOTTOM + 17, short(people))
        yield text((left + right) / 2, HEIGHT - 8, "people")
        for who, points in self.series.items():
            path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
            yield f'<polyline class="line {who}" points="{path}"/>'
            for x, y in points:
                yield MARKS[who].format(x=self.x(x), y=self.y(y))


def series(rows, field):
    """{who: [(people, value)]}; a logarithmic scale has no nought."""
    found = {who: [] for who in WHO}
    for row in rows:
        found[row["who"]].append((int(row["people"]), max(float(row[field]), 0.001)))
    return {who: sorted(points) for who, points in found.items()}


def chart(rows):
    panels = [
        Panel(0, "Mobile Identities calls in all", "", series(rows, "mobile_identities_calls")),
        Panel(WIDTH, "registration → key accepted, median", " s", series(rows, "p50_s")),
    ]
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" role="img">'
    yield "<title>Calls and median latency against the number of people, for three ways to issue keys</title>"
    yield f"<style>{STYLE}</style>"
    for number, (who, name) in enumerate(WHO.items()):
        x = LEFT + number * 160
        yield MARKS[who].format(x=x, y=16)
        yield text(x + 12, 20, name, "start")
    for panel in panels:
        yield from panel.draw()
    yield "</svg>"


def main(source, target):
    with open(source, newline="") as file:
        rows = list(csv.DictReader(file))
    pathlib.Path(target).write_text("\n".join(chart(rows)) + "\n")
    print(f"{target} is drawn from {len(rows)} lines of {source}")


if __name__ == "__main__":
    main(*sys.argv[1:])
