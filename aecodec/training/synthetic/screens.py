"""Synthetic pictures of what is on screens and in documents: pages, source code, interfaces, charts."""

from __future__ import annotations

import io
import re
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from aecodec.training.data import TILE
from aecodec.training.synthetic.canvas import (
    Canvas,
    Colour,
    any_script,
    code,
    colour,
    fonts,
    gradient,
    luma,
    paper_and_ink,
    rgb,
    words,
)


def page(random: Random) -> Image.Image:
    """Text in paragraphs and columns, with headings, links, rules and boxes."""
    paper, ink = paper_and_ink(random)
    subpixels = random.random() < 0.25
    canvas = Canvas(paper, 3 if subpixels else 1)
    script = any_script(random, 0.35)
    body, heading = random.choice(fonts(script)), random.choice(fonts(script))
    size = random.choice((9, 10, 11, 12, 12, 13, 13, 14, 15, 16, 18, 22))
    columns = random.choice((1, 1, 1, 2, 2, 3)) if size < 16 else 1
    shift = random.uniform(-20, 20), random.uniform(-size, size)
    for column in range(columns):
        x = shift[0] + column * TILE / columns + 8
        width = TILE / columns - 16 + (40 if columns == 1 else 0)
        y = shift[1]
        while y < TILE:
            kind = random.random()
            if kind < 0.15:
                large = size * random.uniform(1.3, 3)
                title_ink = ink if random.random() < 0.6 else colour(random)
                canvas.text(x, y, words(random, script, random.randint(2, 5)), heading, large, title_ink)
                y += 1.4 * large
            elif kind < 0.2:
                canvas.rectangle(x, y, width, random.choice((1, 1, 2)), fill=colour(random, 0.2))
                y += random.uniform(4, 12)
            elif kind < 0.25:
                h = random.uniform(20, 90)
                canvas.rectangle(x, y, random.uniform(0.3, 1) * width, h, fill=colour(random), outline=ink)
                y += h + random.uniform(2, 10)
            else:
                y = _paragraph(canvas, random, (x, y, width), script, body, size, ink)
    return canvas.finished(subpixels)


def _paragraph(
    canvas: Canvas,
    random: Random,
    place: tuple[float, float, float],
    script: str,
    font: str,
    size: float,
    ink: Colour,
) -> float:
    x, y, width = place
    leading = size * random.uniform(1.15, 1.7)
    link = colour(random)
    for _ in range(random.randint(1, 8)):
        line, text_x = words(random, script, 40).split(), x
        space = size * random.uniform(0.22, 0.35)
        while line and text_x < x + width:
            word = line.pop(0)
            linked = random.random() < 0.02
            advance = canvas.text(text_x, y, word, font, size, link if linked else ink)
            if linked:
                canvas.rectangle(text_x, y + 1.15 * size, advance, 1, fill=link)
            text_x += advance + space
        y += leading
    return y + random.uniform(0, leading)


def editor(random: Random) -> Image.Image:
    """Source code in colours, or a terminal."""
    paper, ink = paper_and_ink(random)
    subpixels = random.random() < 0.25
    canvas = Canvas(paper, 3 if subpixels else 1)
    font = random.choice(fonts("latin", True) or fonts("latin"))
    size = random.choice((10, 11, 12, 13, 14, 16))
    inks = [ink, *(colour(random) for _ in range(5))]
    start = random.randrange(len(code()) - 60)
    leading = round(size * random.uniform(1.2, 1.6))
    for number in range(TILE // leading + 1):
        y = number * leading
        if random.random() < 0.03:
            canvas.rectangle(0, y, TILE, leading, fill=colour(random, 0.1))
        canvas.text(4, y, f"{start + number:4d}", font, size, inks[-1])
        x = 4 + 5.5 * size * 0.6
        for token in re.findall(r"\s+|\w+|[^\w\s]", code()[start + number]):
            x += canvas.text(x, y, token, font, size, inks[sum(token.encode()) % len(inks)])
    return canvas.finished(subpixels)


def interface(random: Random) -> Image.Image:
    """Windows, tool bars, buttons, lists, tables, icons."""
    paper, ink = paper_and_ink(random)
    canvas = Canvas(paper)
    font, size = random.choice(fonts("latin")), random.choice((10, 11, 12, 13, 14))
    saturated = random.choice((0.0, 0.0, 0.5))
    accents = [colour(random, saturated) for _ in range(3)]
    line = rgb((p + q) // 2 for p, q in zip(paper, random.choice([ink, accents[0]]), strict=True))
    if random.random() < 0.4:
        canvas.image.paste(gradient(random))
    for _ in range(random.randint(3, 9)):
        x, y = random.randint(-60, 420), random.randint(-40, 440)
        w, h = random.randint(80, 420), random.randint(50, 330)
        radius = random.choice((0, 0, 3, 6, 10))
        fill = random.choice([paper, paper, rgb(random.randint(200, 255) for _ in range(3)), colour(random, saturated)])
        text_ink = (0, 0, 0) if luma(fill) > 128 else (255, 255, 255)
        canvas.rectangle(x, y, w, h, fill=fill, outline=line, radius=radius, width=random.choice((1, 1, 2)))
        bar = round(size * 1.8)
        canvas.rectangle(x + 1, y + 1, w - 2, bar, fill=random.choice(accents), radius=radius)
        canvas.text(x + 8, y + 4, words(random, "latin", 3), font, size, random.choice([(255, 255, 255), (0, 0, 0)]))
        kind, top = random.choice(("list", "table", "buttons", "icons", "text")), y + bar + 6
        while top < y + h - bar:
            if kind == "table":
                for left in range(x, x + w - 60, 62):
                    canvas.rectangle(left, top, 62, bar, outline=line)
                    canvas.text(left + 4, top + 2, f"{random.uniform(-99, 999):.2f}", font, size, text_ink)
            elif kind == "buttons":
                for left in range(x + 6, x + w - 70, 80):
                    canvas.rectangle(left, top, 70, bar, fill=random.choice(accents), radius=4, outline=line)
                    canvas.text(left + 6, top + 2, words(random, "latin", 1)[:9], font, size, text_ink)
            elif kind == "icons":
                for left in range(x + 4, x + w - 20, 22):
                    _icon(canvas.draw, random, left, top, random.choice([*accents, text_ink]))
            else:
                if kind == "list":
                    canvas.draw.ellipse((x + 6, top + 4, x + 13, top + 11), random.choice(accents), line)
                canvas.text(x + 18, top, words(random, "latin", 20)[: int(w / size * 1.6)], font, size, text_ink)
            top += bar
    return canvas.image


def _icon(draw: ImageDraw.ImageDraw, random: Random, x: int, y: int, ink: Colour) -> None:
    points = [(x + 2 * random.randint(0, 8), y + 2 * random.randint(0, 8)) for _ in range(random.randint(3, 6))]
    kind = random.randrange(4)
    if kind == 0:
        draw.polygon(points, ink)
    elif kind == 1:
        draw.line([*points, points[0]], ink, random.choice((1, 2)))
    elif kind == 2:
        draw.ellipse((x, y, x + 15, y + 15), None, ink)
    else:
        draw.rectangle((x, y, x + 15, y + 15), ink if random.random() < 0.5 else None, ink)


def chart(random: Random) -> Image.Image:
    """Curves, points, bars, cakes and maps of values, by matplotlib."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    numbers = np.random.default_rng(random.getrandbits(32))
    maps = ["viridis", "jet", "coolwarm", "tab10", "Set1", "magma"]
    style = random.choice(("default", "ggplot", "dark_background", "bmh", "classic", "fast"))
    with pyplot.style.context(style), pyplot.rc_context({"font.size": random.choice((6, 8, 9, 10, 12))}):
        rows, columns = random.choice(((1, 1), (1, 1), (2, 1), (2, 2)))
        figure, axes = pyplot.subplots(
            rows, columns, figsize=(5.12, 5.12), dpi=100, layout=random.choice(("tight", "none"))
        )
        for axis in np.ravel(axes):
            x = np.linspace(0, 10, random.choice((12, 40, 300)))
            kind = random.choice(("lines", "lines", "points", "bars", "image", "cake", "contours", "steps"))
            for _ in range(random.randint(1, 5)):
                y = numbers.normal(size=len(x)).cumsum() * random.uniform(0.1, 3)
                ink = np.divide(colour(random), 255) if random.random() < 0.4 else None
                if kind == "lines":
                    axis.plot(
                        x, y, random.choice(("-", "-", "--", ":", "-o", ".-")), color=ink, lw=random.choice((0.7, 1, 2))
                    )
                elif kind == "steps":
                    axis.step(x, y, color=ink, lw=0.7)
                elif kind == "points":
                    axis.scatter(x, y, s=random.choice((4, 15, 40)), color=ink, marker=random.choice("ox+^s."))
                elif kind == "bars":
                    axis.bar(
                        x[:12] + random.random(), abs(y[:12]), 0.25, color=ink, edgecolor=random.choice(("k", None))
                    )
            if kind == "image":
                shape = random.choice(((8, 8), (30, 30), (100, 100)))
                axis.imshow(numbers.normal(size=shape), cmap=random.choice(maps), interpolation="nearest")
            elif kind == "cake":
                axis.pie(numbers.uniform(0.2, 1, 6), labels=list("ABCDEF"), autopct="%.0f%%")
            elif kind == "contours":
                grid = numbers.normal(size=(9, 9))
                random.choice((axis.contour, axis.contourf))(grid, 8, cmap=random.choice(maps))
            else:
                axis.grid(random.random() < 0.5)
            axis.set_title(words(random, "latin", 3).replace("$", ""))
        file = io.BytesIO()
        figure.savefig(file, format="png")
        pyplot.close(figure)
    return Image.open(file).convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
