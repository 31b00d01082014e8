"""Draws the pool's plot: `cargo bench -p procession-benches -- plot > pool.tsv; python3 plot.py pool.tsv pool.svg`.

Both axes are logarithmic. The picture brings its colours for light and for dark surroundings.
"""

import math
import sys

WIDTH, HEIGHT = 760, 470
LEFT, RIGHT, TOP, BOTTOM = 74, 176, 64, 58
LABELS = {"two cores": "two busy cores", "procession": "Procession, map", "Pool": "Pool.map", "ProcessPoolExecutor": "ProcessPool-\nExecutor.map"}
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #59636e }
  .title { font-size: 17px; font-weight: 600; fill: #1f2328 }
  .background { fill: #ffffff }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  path { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round }
  .s0 { stroke: #818b98; stroke-dasharray: 2 6; stroke-width: 2 } .l0 { fill: #59636e }
  .s1 { stroke: #0969da; stroke-width: 3.5 } .d1 { fill: #0969da } .l1 { fill: #0969da; font-weight: 600 }
  .s2 { stroke: #bc4c00 } .d2 { fill: #bc4c00 } .l2 { fill: #bc4c00 }
  .s3 { stroke: #8250df } .d3 { fill: #8250df } .l3 { fill: #8250df }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .title { fill: #f0f6fc } .background { fill: #0d1117 } .grid { stroke: #30363d }
    .s0 { stroke: #656c76 } .l0 { fill: #9198a1 }
    .s1 { stroke: #4493f8 } .d1 { fill: #4493f8 } .l1 { fill: #4493f8 }
    .s2 { stroke: #f0883e } .d2 { fill: #f0883e } .l2 { fill: #f0883e }
    .s3 { stroke: #ab7df8 } .d3 { fill: #ab7df8 } .l3 { fill: #ab7df8 }
  }
"""


def read(path):
    """The columns' names, and the points of each: (microseconds, tasks in a second)."""
    with open(path) as file:
        lines = [line.rstrip("\n").split("\t") for line in file if "\t" in line]
    names = lines[0][1:]
    points = {name: [] for name in names}
    for micros, *cells in lines[1:]:
        for name, cell in zip(names, cells):
            if cell != "-":
                points[name].append((float(micros), float(cell)))
    return {name: points for name, points in points.items() if points}


def ticks(least, most):
    return [10.0**power for power in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)]


def scale(least, most, begin, end):
    low, high = math.log10(least), math.log10(most)
    return lambda value: begin + (math.log10(value) - low) / (high - low) * (end - begin)


def length(micros):
    return f"{micros / 1000:g} ms" if micros >= 1000 else f"{micros:g} µs"


def rate(value):
    return f"{value / 1e6:g} million" if value >= 1e6 else f"{value:,.0f}"


def draw(columns):
    everything = [point for points in columns.values() for point in points]
    micros, rates = ([point[axis] for point in everything] for axis in (0, 1))
    across = scale(min(micros), max(micros), LEFT, WIDTH - RIGHT)
    least, most = 10 ** math.floor(math.log10(min(rates))), max(rates) * 1.3
    up = scale(least, most, HEIGHT - BOTTOM, TOP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Tasks in a second by their length">',
        f"<style>{STYLE}</style>",
        f'<rect class="background" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        f'<text class="title" x="{LEFT}" y="30">Tasks in a second, by how long a task takes</text>',
        f'<text x="{LEFT}" y="49">two workers on two cores; Python with the best of some chunk sizes</text>',
    ]
    for tick in ticks(min(micros), max(micros)):
        if min(micros) <= tick <= max(micros):
            x = across(tick)
            out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 21}" text-anchor="middle">{length(tick)}</text>')
    for tick in ticks(least, most):
        if least <= tick <= most:
            y = up(tick)
            out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            out.append(f'<text x="{LEFT - 9}" y="{y + 4:.1f}" text-anchor="end">{rate(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle:.1f}" y="{HEIGHT - 14}" text-anchor="middle">length of one task</text>')
    names = list(columns)
    for place in sorted(range(len(names)), key=lambda place: place == 1):
        points = [(across(x), up(y)) for x, y in columns[names[place]]]
        out.append(f'<path class="s{place}" d="M' + " L".join(f"{x:.1f} {y:.1f}" for x, y in points) + '"/>')
        if place > 0:
            out += [f'<circle class="d{place}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if place == 1 else 3.2}"/>' for x, y in points]
    # The lines meet where tasks are long; they are told apart where they are short, and the key stands in that order.
    order = sorted(range(len(names)), key=lambda place: -columns[names[place]][0][1])
    for line, place in enumerate(order):
        x, y = WIDTH - RIGHT + 18, TOP + 16 + line * 44
        out.append(f'<path class="s{place}" d="M{x} {y - 4} h24"/>')
        for row, words in enumerate(LABELS.get(names[place], names[place]).split("\n")):
            out.append(f'<text class="l{place}" x="{x + 32}" y="{y + row * 16}">{words}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    source, target = sys.argv[1:]
    with open(target, "w") as file:
        file.write(draw(read(source)))
