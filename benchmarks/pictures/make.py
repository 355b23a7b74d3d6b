# ruff: noqa: E501 (pages are easier to read as long lines)
"""Makes the pictures of screens and drawings that the benchmark uses, with Chromium, from pages written here.

    python benchmarks/pictures/make.py FONTS

FONTS is a folder in which the TrueType files of FACES are, at any depth (Debian: fonts-liberation, fonts-roboto-unhinted,
fonts-noto-core, fonts-dejavu-core and -extra, unpacked anywhere). The pictures are committed, because another version of
Chromium draws letters differently. Pages and fonts are none that make training pictures (aecodec/training).
"""

from __future__ import annotations

import io
import math
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
PHOTO = HERE.parents[1] / "examples" / "coffee.png"  # shown in pages that hold a photograph
WIDTH, HEIGHT = 512, 384  # pixels
FACES = {
    "Serif": ("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf"),
    "Liberation": ("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf"),
    "Mono": ("LiberationMono-Regular.ttf", "LiberationMono-Bold.ttf"),
    "Noto": ("NotoSerif-Regular.ttf", "NotoSerif-Bold.ttf"),
    "Roboto": ("Roboto-Regular.ttf", "Roboto-Bold.ttf"),
}
SENTENCES = (
    "The ferry left the harbour before the fog had lifted, and nobody on the pier waved.",
    "A second reading of the ledger showed that the missing barrels had never been bought.",
    "She kept the seeds in paper envelopes, each with the year and the name of a field.",
    "What the surveyors took for a ridge was the wall of an older town.",
    "Glass expands less than copper, so the seam has to be soft.",
    "In March the river carries ice again, thin plates that ring against the piles.",
    "He counted the steps from the gate to the well: 214, and 9 more to the door.",
    "The committee met on Tuesday, postponed item 7 and adjourned at half past four.",
    "Most of the letters were written in pencil and have faded to a silver grey.",
    "Between two stations the line climbs 62 metres, which no engine of that time could do with ten wagons.",
    "An orchard needs bees more than it needs rain.",
    "They mixed lime with sand, one part to three, and left it under wet sacks.",
)
NAMES = ("Mara Lindqvist", "Tomas Oyelaran", "Ines Carvalho", "Yuki Brandt", "Paul Achterberg", "Zeynep Moser")
PAGES: dict[str, Callable[[random.Random], str]] = {}


def page(function: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
    """Registers a function that makes the body of a page; its name, kind_name, becomes kind/name.png."""
    PAGES[function.__name__] = function
    return function


def prose(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(SENTENCES) for _ in range(count))


def svg(content: str, background: str = "#fff", width: int = WIDTH, height: int = HEIGHT) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" style="display:block;'
        f'background:{background}">{content}</svg>'
    )


def polyline(points: list[tuple[float, float]], style: str) -> str:
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" {style}/>'


def label(x: float, y: float, text: object, size: float = 11, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" {extra}>{text}</text>'


@page
def screens_text_article(rng: random.Random) -> str:
    return f"""<div style="font:15px/1.45 Serif;padding:18px 34px;color:#222;background:#fffdf8;height:384px">
    <h1 style="font-size:25px;margin:0 0 4px">A wall under the meadow</h1><p style="color:#777;margin:0 0 10px;
    font-size:12px">By {NAMES[0]} &middot; 14 March &middot; 6 minutes</p><p style="margin:0 0 9px"><span style="
    float:left;font-size:47px;line-height:.85;padding:4px 6px 0 0;color:#9c2f1f">I</span>{prose(rng, 5)}</p>
    <p>{prose(rng, 2)} <a style="color:#1a5fb4;text-decoration:underline">Read the report.</a> {prose(rng, 4)}</p></div>"""


@page
def screens_text_code(rng: random.Random) -> str:
    words = ["total", "row", "index", "width", "queue", "node", "limit", "offset"]
    lines = []
    for number in range(1, 23):
        a, b, c = (rng.choice(words) for _ in range(3))
        key, name, text = (
            '<b style="color:#{}">{}</b>'.format(*pair)
            for pair in (("c678dd", "for"), ("61afef", a), ("98c379", f'"{b}"'))
        )
        body = rng.choice(
            [
                f"{key} {b} in {name}({c}, {rng.randrange(90)}):",
                f"    {c}[{b}] = {name}.get({text}, {rng.randrange(1000)})",
                f'    <i style="color:#7f848e"># {rng.choice(SENTENCES)[:38]}</i>',
                f"    assert {a} &lt;= {b} + {c}, {text}",
                "",
            ]
        )
        lines.append(f'<span style="color:#5c6370">{number:3}</span>  {body}')
    code = "\n".join(lines)
    return f'<pre style="margin:0;padding:10px;font:13px/16px Mono;background:#282c34;color:#abb2bf;height:384px">{code}</pre>'


@page
def screens_text_paper(rng: random.Random) -> str:
    column = "".join(f"<p style='margin:0 0 5px;text-indent:1em'>{prose(rng, 5)}</p>" for _ in range(5))
    return f"""<div style="font:10px/1.32 Noto;padding:16px 26px;background:#fff;color:#000;height:384px">
    <h2 style="text-align:center;font-size:16px;margin:0 0 3px">On the Settling of Lime in Shallow Basins</h2>
    <p style="text-align:center;margin:0 0 8px">{NAMES[2]}, {NAMES[4]}</p>
    <div style="columns:2;column-gap:18px;text-align:justify"><b>1. Measurements.</b> {column}<p style="text-align:center">
    <i>v</i> = <i>&kappa;</i> &radic;(<i>g h</i> / <i>&rho;</i><sub>0</sub>) &minus; &int; <i>q</i>(<i>t</i>) d<i>t</i>
    &emsp;(3)</p>{column}</div></div>"""


@page
def screens_text_terminal(rng: random.Random) -> str:
    lines = []
    for _ in range(24):
        size, name = rng.randrange(1 << 22), rng.choice(["report", "survey", "map", "notes", "scan"])
        colour = rng.choice(["#0f0", "#5fd7ff", "#ddd", "#ddd", "#ff5f5f", "#ffd75f"])
        mode = "".join(rng.choice(["rw-", "r--", "rwx"]) for _ in range(3))
        lines.append(
            f"-{mode} 1 mara staff {size:8} Mar {rng.randrange(1, 31):2} {rng.randrange(24):02}:{rng.randrange(60):02} "
            f'<span style="color:{colour}">{name}-{rng.randrange(100):02}.tar</span>'
        )
    text = "\n".join(lines)
    return f'<pre style="margin:0;padding:6px;font:12px/15px Mono;background:#000;color:#ccc;height:384px">{text}</pre>'


@page
def screens_interface_mail(rng: random.Random) -> str:
    rows = "".join(
        f"""<div style="display:flex;gap:9px;padding:7px 10px;border-bottom:1px solid #e4e7ec;{
            "background:#e8f0fe" if i == 1 else ""
        }"><div style="width:28px;height:28px;border-radius:50%;background:{
            rng.choice(["#d93025", "#188038", "#1967d2", "#e37400", "#8430ce"])
        };color:#fff;text-align:center;line-height:28px">{NAMES[i % 6][0]}</div><div
        style="width:270px;white-space:nowrap;overflow:hidden"><b>{NAMES[i % 6]}</b><span style="float:right;color:#777;
        font-size:11px">{rng.randrange(8, 19)}:{rng.randrange(60):02}</span><br><span style="color:#555">
        {rng.choice(SENTENCES)}</span></div></div>"""
        for i in range(7)
    )
    menu = "".join(
        f'<div style="padding:6px 12px;border-radius:0 14px 14px 0;{"background:#d3e3fd;font-weight:bold" if not i else ""}">'
        f'{name}<span style="float:right;font-size:11px">{rng.randrange(1, 60)}</span></div>'
        for i, name in enumerate(["Inbox", "Starred", "Sent", "Drafts", "Archive", "Spam", "Bin"])
    )
    return f"""<div style="font:13px/1.3 Roboto;background:#f6f8fc;height:384px"><div style="padding:9px 14px;display:flex;
    gap:16px"><b style="font-size:18px;color:#444">Post</b><div style="flex:1;background:#eaf1fb;border-radius:15px;
    padding:6px 14px;color:#777">Search in mail</div></div><div style="display:flex"><div style="width:140px">{menu}</div>
    <div style="flex:1;background:#fff;border-radius:10px">{rows}</div></div></div>"""


@page
def screens_interface_settings(rng: random.Random) -> str:
    rows = "".join(
        f"""<div style="display:flex;padding:9px 0;border-bottom:1px solid #333a45"><div style="flex:1">{name}<br><span
        style="color:#8b95a5;font-size:11px">{rng.choice(SENTENCES)[:52]}</span></div><div style="width:34px;height:18px;
        border-radius:9px;background:{"#2f81f7" if on else "#4a5260"};margin-top:8px"><div style="width:14px;height:14px;
        border-radius:50%;background:#fff;margin:2px {2 if on else 0}px 2px {18 if on else 2}px"></div></div></div>"""
        for name, on in (
            ("Night light", True),
            ("Notifications on the lock screen", False),
            ("Automatic updates", True),
            ("Share the printer", False),
            ("Energy saver", True),
            ("Large pointer", False),
        )
    )
    return f"""<div style="font:13px/1.35 Liberation;background:#1b2028;color:#dde3ea;height:384px;padding:14px 22px">
    <div style="font-size:20px;margin-bottom:8px">System</div>{rows}<div style="margin-top:12px">
    <span style="background:#2f81f7;color:#fff;padding:7px 16px;border-radius:4px">Apply</span>
    <span style="border:1px solid #59636f;padding:6px 16px;border-radius:4px;margin-left:8px">Cancel</span></div></div>"""


@page
def screens_interface_sheet(rng: random.Random) -> str:
    cell = '<td style="border:1px solid #d0d4da;padding:0 4px;height:17px;{}">{}</td>'
    head = "".join(cell.format("background:#eef0f3;text-align:center;color:#555", c) for c in " ABCDEFG")
    rows = ""
    for number in range(1, 19):
        cells = [cell.format("background:#eef0f3;color:#555;text-align:center", number)]
        cells.append(cell.format("white-space:nowrap", rng.choice(NAMES)))
        for column in range(6):
            value = rng.gauss(0, 400)
            colour = "#c5221f" if value < 0 else "#000"
            back = "#e6f4ea" if (number, column) == (7, 3) else "#fff"
            cells.append(cell.format(f"text-align:right;color:{colour};background:{back}", f"{value:,.2f}"))
        rows += f"<tr>{''.join(cells)}</tr>"
    return f"""<div style="font:11px Liberation;background:#fff;height:384px"><div style="background:#107c41;color:#fff;
    padding:5px 9px;font-size:12px">budget-2.xlsx &nbsp; File &nbsp; Home &nbsp; Insert &nbsp; Data &nbsp; View</div><div
    style="padding:3px 8px;border-bottom:1px solid #ccc"><i>fx</i> &nbsp; =SUM(D2:D6)/COUNT(B:B)</div>
    <table style="border-collapse:collapse;width:100%;font-size:11px"><tr>{head}</tr>{rows}</table></div>"""


@page
def screens_interface_files(rng: random.Random) -> str:
    tiles = ""
    for i in range(15):
        colour = rng.choice(["#f4b400", "#f4b400", "#4285f4", "#0f9d58", "#db4437"])
        name = f"{rng.choice(['Letters', 'Plans', 'Survey', 'Photos', 'Tax'])} {2010 + i}"
        shape = f"""<svg width="48" height="40"><rect x="1" y="6" width="46" height="33" rx="3" fill="{colour}"/><rect x="1"
        y="1" width="20" height="10" rx="3" fill="{colour}"/><rect x="1" y="12" width="46" height="27" rx="3" fill="#fff"
        opacity=".25"/></svg>"""
        tiles += f'<div style="width:84px;text-align:center;padding:9px 0">{shape}<br>{name}</div>'
    return f"""<div style="font:12px Roboto;background:linear-gradient(#fdfdfd,#eceff4);height:384px"><div style="padding:8px 12px;
    background:linear-gradient(#e9ecf1,#d4d9e1);border-bottom:1px solid #b4bac4">&#8592; &#8594; &nbsp; Home / Documents /
    <b>Archive</b></div><div style="display:flex"><div style="width:86px;padding:10px;line-height:23px;color:#345">Home<br>
    Desktop<br>Music<br>Videos<br>Trash</div><div style="display:flex;flex-wrap:wrap;flex:1">{tiles}</div></div></div>"""


@page
def screens_interface_shop(rng: random.Random) -> str:
    cards = "".join(
        f"""<div style="width:148px;background:#fff;border:1px solid #ddd;border-radius:8px;overflow:hidden"><div style="
        height:112px;background:url({PHOTO.as_uri()}) {-90 * i}px {-60 * i}px/330px"></div><div style="padding:7px 9px"><b>{name}
        </b><br><span style="color:#e6a100">&#9733;&#9733;&#9733;&#9733;</span><span style="color:#ccc">&#9733;</span> <span
        style="color:#777;font-size:11px">({rng.randrange(9, 990)})</span><br><b style="color:#b12704;font-size:15px">
        &euro; {rng.randrange(5, 60)}.90</b><div style="background:#ffd814;border-radius:12px;text-align:center;padding:4px;
        margin-top:7px">Add to cart</div></div></div>"""
        for i, name in enumerate(["Cup, stoneware", "Saucer, blue rim", "Spoon, beech"])
    )
    return f"""<div style="font:13px/1.4 Noto;background:#f3f3f3;height:384px"><div style="background:#131921;color:#fff;padding:
    10px 14px;font-size:16px"><b>kiln</b> <span style="font-size:12px;color:#ccd">&nbsp; pots &nbsp; tools &nbsp; clay &nbsp;
    glazes</span></div><div style="background:#c0392b;color:#fff;padding:5px 14px">Free delivery above &euro; 40 until Sunday</div>
    <div style="display:flex;gap:14px;padding:16px">{cards}</div><div style="padding:0 16px;color:#555;font-size:11px">
    {prose(rng, 3)}</div></div>"""


def axes(title: str, ticks: list[tuple[float, str]], rows: list[tuple[float, str]]) -> str:
    out = label(256, 24, title, 15, 'text-anchor="middle" font-weight="bold"')
    for y, text in rows:
        out += f'<path d="M50 {y:.1f}H492" stroke="#dcdcdc"/>' + label(44, y + 4, text, 11, 'text-anchor="end"')
    for x, text in ticks:
        out += f'<path d="M{x:.1f} 340v5" stroke="#000"/>' + label(x, 358, text, 11, 'text-anchor="middle"')
    return out + '<path d="M50 40V340H492" stroke="#000" fill="none"/>'


@page
def screens_chart_bars(rng: random.Random) -> str:
    out = axes(
        "Rainfall, mm",
        [(82 + 56 * i, str(2017 + i)) for i in range(8)],
        [(340 - 60 * i, str(200 * i)) for i in range(5)],
    )
    for i in range(8):
        for j, colour in enumerate(("#4e79a7", "#f28e2b", "#e15759")):
            height = rng.uniform(40, 270)
            out += f'<rect x="{61 + 56 * i + 14 * j}" y="{340 - height:.1f}" width="13" height="{height:.1f}" fill="{colour}"/>'
    for j, (colour, name) in enumerate((("#4e79a7", "coast"), ("#f28e2b", "valley"), ("#e15759", "ridge"))):
        out += f'<rect x="{330 + 56 * j}" y="370" width="9" height="9" fill="{colour}"/>' + label(
            342 + 56 * j, 379, name
        )
    return f'<div style="font-family:Liberation">{svg(out)}</div>'


@page
def screens_chart_lines(rng: random.Random) -> str:
    out = axes(
        "Traffic on the bridge",
        [(50 + 63 * i, f"{3 * i:02}:00") for i in range(8)],
        [(340 - 50 * i, f"{i}k") for i in range(6)],
    )
    for colour in ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff00ff"):
        level, points = rng.uniform(90, 270), []
        for x in range(50, 492, 3):
            level = min(330, max(50, level + rng.gauss(0, 7)))
            points.append((x, level))
        out += polyline(points, f'stroke="{colour}" stroke-width="{rng.choice([1, 1, 2])}"')
    return f'<div style="font-family:Serif">{svg(out)}</div>'


@page
def screens_chart_scatter(rng: random.Random) -> str:
    out = axes(
        "Span against weight",
        [(50 + 88 * i, str(10 * i)) for i in range(6)],
        [(340 - 75 * i, str(i * 5)) for i in range(5)],
    )
    for colour, x0, y0, spread in (("#1b9e77", 160, 240, 34), ("#d95f02", 290, 170, 44), ("#7570b3", 400, 110, 28)):
        for _ in range(170):
            x, y = rng.gauss(x0, spread), rng.gauss(y0, spread * 0.8)
            if 52 < x < 490 and 42 < y < 338:
                out += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" fill-opacity=".65"/>'
    return f'<div style="font-family:Roboto">{svg(out, "#fafafa")}</div>'


@page
def screens_chart_heat(rng: random.Random) -> str:
    out = label(256, 22, "Correlation of stations", 15, 'text-anchor="middle" font-weight="bold"')
    phase = [rng.uniform(0, 6.3) for _ in range(14)]
    for i in range(14):
        out += label(50, 55 + 22 * i, f"st {i + 1}", 10, 'text-anchor="end"') + label(
            69 + 30 * i, 362, i + 1, 10, 'text-anchor="middle"'
        )
        for j in range(14):
            value = math.cos(phase[i] - phase[j])
            red, blue = (255, int(255 * (1 - value))) if value > 0 else (int(255 * (1 + value)), 255)
            green = int(255 * (1 - abs(value)))
            out += (
                f'<rect x="{54 + 30 * j}" y="{40 + 22 * i}" width="30" height="22" fill="rgb({red},{green},{blue})"/>'
            )
            out += label(
                69 + 30 * j,
                55 + 22 * i,
                f"{value:.1f}",
                9,
                f'text-anchor="middle" fill="{"#fff" if abs(value) > 0.7 else "#000"}"',
            )
    return f'<div style="font-family:Liberation">{svg(out)}</div>'


@page
def screens_map_streets(rng: random.Random) -> str:
    out = '<path d="M0 300C90 250 150 330 240 290S420 200 512 240V384H0Z" fill="#aad3df"/>'
    out += '<path d="M300 20h130v90l-60 34-80-30z" fill="#cdebb0"/><path d="M40 60h90v70H40z" fill="#d9d0c9"/>'
    streets = [[(x + rng.uniform(-14, 14), y) for y in range(-10, 300, 30)] for x in range(20, 512, 44)]
    streets += [
        [(x, y + 10 * math.sin(x / 90 + y) + rng.uniform(-3, 3)) for x in range(-10, 530, 30)]
        for y in range(24, 260, 34)
    ]
    for width, colour in ((7, "#bbb"), (5, "#fff")):
        out += "".join(polyline(street, f'stroke="{colour}" stroke-width="{width}"') for street in streets)
    road = [(-10, 180), (120, 150), (260, 176), (400, 120), (530, 130)]
    out += polyline(road, 'stroke="#dc8b2f" stroke-width="12"') + polyline(road, 'stroke="#fcd6a4" stroke-width="9"')
    out += polyline(
        [(60, -9), (180, 130), (300, 250), (330, 390)], 'stroke="#555" stroke-width="2" stroke-dasharray="6 4"'
    )
    for _ in range(90):
        x, y = rng.uniform(0, 500), rng.uniform(0, 240)
        out += f'<rect x="{x:.0f}" y="{y:.0f}" width="{rng.randrange(4, 12)}" height="{rng.randrange(4, 10)}" fill="#c9b9a9"/>'
    for name in ("Mill Lane", "Quay Street", "Orchard Row", "Lime Walk", "Station Road", "Tower Hill", "Salt Market"):
        x, y = rng.uniform(20, 400), rng.uniform(30, 250)
        out += label(
            x,
            y,
            name,
            11,
            f'transform="rotate({rng.choice([0, -12, 78])} {x:.0f} {y:.0f})" stroke="#fff" stroke-width="3" paint-order="stroke"',
        )
    out += label(320, 330, "Harbour", 16, 'font-style="italic" fill="#4a7fa5"') + label(
        330, 70, "Castle Park", 12, 'fill="#2f7d2f"'
    )
    return f'<div style="font-family:Noto">{svg(out, "#f2efe9")}</div>'


@page
def screens_map_contours(rng: random.Random) -> str:
    """Contour lines of a sum of hills, by marching along each row of cells."""
    hills = [(rng.uniform(0, 512), rng.uniform(0, 384), rng.uniform(40, 120), rng.uniform(0.4, 1)) for _ in range(9)]
    step, out = 6, ""
    height = [
        [
            sum(a * math.exp(-((x - p) ** 2 + (y - q) ** 2) / (2 * s * s)) for p, q, s, a in hills)
            for x in range(0, 518, step)
        ]
        for y in range(0, 390, step)
    ]
    for index in range(1, 26):
        level, segments = index * 0.08, []
        for r in range(len(height) - 1):
            for c in range(len(height[0]) - 1):
                corners = [(c, r), (c + 1, r), (c + 1, r + 1), (c, r + 1)]
                cuts = []
                for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
                    a, b = height[y0][x0] - level, height[y1][x1] - level
                    if a * b < 0:
                        t = a / (a - b)
                        cuts.append((step * (x0 + t * (x1 - x0)), step * (y0 + t * (y1 - y0))))
                if len(cuts) == 2:
                    segments.append(f"M{cuts[0][0]:.1f} {cuts[0][1]:.1f}L{cuts[1][0]:.1f} {cuts[1][1]:.1f}")
        out += f'<path d="{"".join(segments)}" stroke="#b5651d" stroke-width="{1.6 if index % 5 == 0 else 0.7}" fill="none"/>'
    for p, q, _, a in hills:
        out += f'<path d="M{p - 4:.0f} {q + 4:.0f}h8l-4-8z"/>' + label(p + 7, q + 4, f"{600 * a + 300:.0f}", 10)
    out += polyline([(0, 90), (110, 150), (210, 190), (300, 300), (330, 384)], 'stroke="#2b7bba" stroke-width="2.5"')
    return f'<div style="font-family:Serif">{svg(out, "#eef5dc")}</div>'


@page
def screens_map_metro(rng: random.Random) -> str:
    out = ""
    lines = {
        "#e32017": [(20, 60), (160, 60), (260, 160), (490, 160)],
        "#0019a8": [(60, 370), (60, 200), (160, 100), (300, 100), (400, 200), (400, 370)],
        "#00782a": [(10, 290), (200, 290), (330, 160), (330, 20)],
        "#ffd300": [(120, 20), (120, 330), (490, 330)],
    }
    for colour, points in lines.items():
        out += polyline(points, f'stroke="{colour}" stroke-width="6" stroke-linejoin="round"')
        for (x0, y0), (x1, y1) in pairwise(points):
            for t in (0.25, 0.6, 0.9):
                x, y = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
                out += f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4" fill="#fff" stroke="#000" stroke-width="2"/>'
                name = rng.choice(
                    ["Aldgrove", "Bellmarsh", "Corn Hill", "Dockside", "Eastfield", "Foundry", "Granary", "Holm"]
                )
                out += label(x + 7, y - 5, name, 9.5, 'fill="#1c3f94"')
    return f'<div style="font-family:Roboto">{svg(out)}</div>'


@page
def drawings_ink(rng: random.Random) -> str:
    out = ""
    for tree in range(5):
        stack = [(60 + 98 * tree, 372.0, -math.pi / 2 + rng.uniform(-0.1, 0.1), rng.uniform(56, 76), 5.0)]
        while stack:
            x, y, angle, length, width = stack.pop()
            x1, y1 = x + length * math.cos(angle), y + length * math.sin(angle)
            out += f'<path d="M{x:.1f} {y:.1f}L{x1:.1f} {y1:.1f}" stroke="#111" stroke-width="{width:.1f}" stroke-linecap="round"/>'
            if length > 7:
                for turn in (-1, 1):
                    stack.append(
                        (x1, y1, angle + turn * rng.uniform(0.2, 0.55), length * rng.uniform(0.66, 0.82), width * 0.68)
                    )
    for _ in range(70):
        x, y = rng.uniform(0, 512), rng.uniform(350, 384)
        out += f'<path d="M{x:.0f} {y:.0f}q{rng.uniform(-6, 6):.0f}-14 {rng.uniform(-9, 9):.0f}-22" stroke="#111" fill="none"/>'
    return svg(out, "#fdfbf5")


@page
def drawings_landscape(rng: random.Random) -> str:
    out = '<defs><linearGradient id="s" x2="0" y2="1"><stop stop-color="#ff9a5a"/><stop offset="1" stop-color="#ffe3b0"/></linearGradient></defs>'
    out += '<rect width="512" height="384" fill="url(#s)"/><circle cx="360" cy="120" r="46" fill="#fff3c9"/>'
    for i, colour in enumerate(("#c96f5b", "#9a4f62", "#663a63", "#3b2a55", "#1f1a3d")):
        base, points = 190 + 42 * i, [(0, 384)]
        for x in range(0, 540, 27):
            points.append((x, base + rng.uniform(-34, 22)))
        points.append((540, 384))
        out += f'<polygon points="{" ".join(f"{x},{y:.0f}" for x, y in points)}" fill="{colour}"/>'
    for _ in range(26):
        x, y, s = rng.uniform(0, 512), rng.uniform(330, 384), rng.uniform(10, 26)
        out += f'<path d="M{x:.0f} {y:.0f}l{s / 2:.0f} {-2 * s:.0f} {s / 2:.0f} {2 * s:.0f}z" fill="#0d0a24"/>'
    return svg(out)


@page
def drawings_comic(rng: random.Random) -> str:
    out = '<defs><pattern id="d" width="8" height="8" patternUnits="userSpaceOnUse"><circle cx="4" cy="4" r="2.3" fill="#e8403a"/></pattern></defs>'
    out += '<rect x="8" y="8" width="300" height="368" fill="#ffe14d" stroke="#000" stroke-width="4"/>'
    out += '<rect x="318" y="8" width="186" height="180" fill="#6cc5f0" stroke="#000" stroke-width="4"/>'
    out += '<rect x="318" y="198" width="186" height="178" fill="url(#d)" stroke="#000" stroke-width="4"/>'
    for i in range(28):
        angle = i * math.pi / 14
        out += f'<path d="M158 220L{158 + 146 * math.cos(angle):.0f} {220 + 146 * math.sin(angle):.0f}" stroke="#f39c12" stroke-width="5"/>'
    out += '<ellipse cx="158" cy="236" rx="74" ry="88" fill="#ffcfa8" stroke="#000" stroke-width="4"/>'
    out += '<path d="M84 220q20-110 148 0q-70-50-148 0" fill="#3a2313" stroke="#000" stroke-width="4"/>'
    out += '<circle cx="132" cy="232" r="10" fill="#fff" stroke="#000" stroke-width="3"/><circle cx="186" cy="232" r="10" fill="#fff" stroke="#000" stroke-width="3"/><circle cx="134" cy="234" r="4"/><circle cx="188" cy="234" r="4"/>'
    out += '<path d="M128 280q30 26 62 0" fill="#a1231f" stroke="#000" stroke-width="4"/>'
    out += '<ellipse cx="160" cy="64" rx="130" ry="42" fill="#fff" stroke="#000" stroke-width="3"/>'
    out += label(160, 60, "NOT ANOTHER", 21, 'text-anchor="middle" font-weight="bold"') + label(
        160, 84, "MEASUREMENT!", 21, 'text-anchor="middle" font-weight="bold"'
    )
    out += '<path d="M330 170l40-70 30 34 36-84 58 120z" fill="#2e8b57" stroke="#000" stroke-width="4"/>'
    out += label(
        411,
        300,
        "WHAM",
        52,
        'text-anchor="middle" font-weight="bold" fill="#fff" stroke="#000" stroke-width="3" transform="rotate(-14 411 290)"',
    )
    return f'<div style="font-family:Liberation">{svg(out)}</div>'


@page
def drawings_diagram(rng: random.Random) -> str:
    out = '<defs><linearGradient id="g" x2="1" y2="1"><stop stop-color="#7b2ff7"/><stop offset="1" stop-color="#f107a3"/></linearGradient><radialGradient id="r"><stop stop-color="#fff"/><stop offset="1" stop-color="#00a8c6"/></radialGradient></defs>'
    out += '<rect x="24" y="24" width="130" height="130" rx="30" fill="url(#g)"/><path d="M56 118l32-64 32 64M68 96h40" stroke="#fff" stroke-width="12" fill="none"/>'
    out += '<circle cx="256" cy="90" r="64" fill="url(#r)"/>'
    for i in range(12):
        out += f'<ellipse cx="420" cy="90" rx="66" ry="22" fill="none" stroke="hsl({30 * i},80%,45%)" stroke-width="2" transform="rotate({15 * i} 420 90)"/>'
    names = ["pump", "valve", "boiler", "filter", "tank", "meter"]
    for i, name in enumerate(names):
        x, y = 26 + 162 * (i % 3), 196 + 96 * (i // 3)
        out += f'<rect x="{x}" y="{y}" width="112" height="54" rx="7" fill="hsl({60 * i},55%,88%)" stroke="#345" stroke-width="1.5"/>'
        out += label(x + 56, y + 24, name, 15, 'text-anchor="middle"') + label(
            x + 56, y + 42, f"{rng.uniform(1, 90):.1f} l/s", 11, 'text-anchor="middle" fill="#567"'
        )
        if i % 3 < 2:
            out += f'<path d="M{x + 112} {y + 27}h42m-9-6 9 6-9 6" stroke="#345" stroke-width="1.5" fill="none"/>'
    return f'<div style="font-family:Serif">{svg(out)}</div>'


def styles(fonts: Path) -> str:
    """Font faces, by the files of a folder. Exits where one is missing."""
    out = "*{box-sizing:border-box}body{margin:0;overflow:hidden}"
    for family, files in FACES.items():
        for weight, file in zip(("normal", "bold"), files, strict=True):
            found = next(iter(sorted(fonts.rglob(file))), None)
            if found is None:
                sys.exit(f"{fonts}: no {file}")
            out += f"@font-face{{font-family:{family};font-weight:{weight};src:url({found.resolve().as_uri()})}}"
    return out


def main() -> None:
    if len(sys.argv) != 2 or not (chromium := shutil.which("chromium")):
        sys.exit(f"{__doc__}\nneeds chromium")
    style = styles(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, make) in enumerate(PAGES.items()):
            source, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
            body = make(random.Random(number))
            source.write_text(f'<!doctype html><meta charset="utf-8"><style>{style}</style>{body}')
            command = [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--allow-file-access-from-files",
            ]
            size = f"--window-size={WIDTH},{HEIGHT}"
            subprocess.run(
                [*command, size, f"--screenshot={shot}", source.as_uri()], check=True, stderr=subprocess.DEVNULL
            )
            with Image.open(shot) as image:
                write(
                    np.asarray(image.convert("RGB"))[:HEIGHT, :WIDTH],
                    HERE / Path(*name.split("_", 1)).with_suffix(".png"),
                )


def write(pixels: np.ndarray, path: Path) -> None:
    """The smallest PNG of the same pixels: with a palette where 256 colours are enough."""
    image = Image.fromarray(pixels)
    kinds = [image]
    if image.getcolors(256):
        palette = image.quantize(256, dither=Image.Dither.NONE)
        if np.array_equal(np.asarray(palette.convert("RGB")), pixels):
            kinds.append(palette)
    files = []
    for kind in kinds:
        buffer = io.BytesIO()
        kind.save(buffer, "PNG", optimize=True)
        files.append(buffer.getvalue())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(min(files, key=len))


if __name__ == "__main__":
    main()
