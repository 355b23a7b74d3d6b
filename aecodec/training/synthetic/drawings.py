"""Synthetic pictures of drawings: curves and areas, halftones, lines of one pixel, letters on tones."""

from __future__ import annotations

import math
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from aecodec.training.data import TILE
from aecodec.training.synthetic.canvas import Canvas, any_script, colour, fonts, gradient, load, paper_and_ink, words


def drawing(random: Random) -> Image.Image:
    """Curves, polygons, hatchings and areas with sharp edges: cartoons, plans, maps."""
    paper, ink = paper_and_ink(random)
    canvas = Canvas(paper, random.choice((1, 3)))
    draw, side = canvas.draw, TILE * canvas.scale
    for _ in range(random.randint(5, 60)):
        x, y, turn = random.uniform(0, side), random.uniform(0, side), random.uniform(0, 6.3)
        points = []
        for _ in range(random.randint(2, 40)):
            turn += random.gauss(0, 0.4)
            x, y = x + math.cos(turn) * side / 40, y + math.sin(turn) * side / 40
            points.append((x, y))
        width = canvas.scale * random.choice((1, 1, 1, 2, 3, 6))
        kind = random.random()
        own = ink if random.random() < 0.5 else colour(random)
        if kind < 0.55:
            draw.line(points, own, width, joint="curve")
        elif kind < 0.8 and len(points) > 2:
            draw.polygon(points, own, ink if random.random() < 0.6 else None, width)
        elif kind < 0.9:
            gap = canvas.scale * random.randint(3, 9)
            for number in range(random.randint(4, 30)):
                draw.line((x + number * gap, y, x + number * gap + side / 9, y + side / 9), own, canvas.scale)
        else:
            draw.ellipse((x, y, x + random.uniform(4, side / 3), y + random.uniform(4, side / 3)), None, own, width)
    for _ in range(random.randint(0, 6)):
        canvas.text(
            random.uniform(0, 400),
            random.uniform(0, 480),
            words(random, "latin", 2),
            random.choice(fonts("latin")),
            random.uniform(9, 30),
            ink,
        )
    return canvas.finished(False)


def halftone(random: Random) -> Image.Image:
    """Tones made of dots or lines, as in print, or of dithered pixels of few colours."""
    tones = gradient(random)
    kind = random.randrange(4)
    if kind == 0:
        return tones.convert("1").convert("RGB")
    if kind == 1:
        return tones.quantize(random.choice((2, 4, 8, 16, 64)), dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")
    row, column = np.mgrid[:TILE, :TILE].astype(np.float32)
    levels = np.asarray(tones, np.float32) / 255
    result = np.empty((TILE, TILE, 3), np.float32)
    pitch = random.uniform(2.5, 10)
    for channel in range(3):
        turn = (0 if kind == 2 else channel) * 0.5 + random.uniform(0, 0.2)
        u = (math.cos(turn) * row + math.sin(turn) * column) * 2 * math.pi / pitch
        v = (math.cos(turn) * column - math.sin(turn) * row) * 2 * math.pi / pitch
        screen = 0.5 + 0.25 * (np.cos(u) + (np.cos(v) if random.random() < 0.7 else np.cos(u)))
        result[:, :, channel] = ((levels[:, :, channel] - screen) * random.choice((4.0, 8.0)) + 0.5).clip(0, 1)
    return Image.fromarray((255 * result).round().astype(np.uint8))


def lines(random: Random) -> Image.Image:
    """Lines of one pixel and edges in saturated colours on coloured grounds; stripes, checkerboards, grids."""
    canvas = Canvas(colour(random, 0.8))
    draw = canvas.draw
    for _ in range(random.randint(1, 7)):
        x, y, w, h = (
            random.randint(-50, 450),
            random.randint(-50, 450),
            random.randint(30, 400),
            random.randint(30, 400),
        )
        ground, ink = colour(random, 0.8), colour(random, 0.8)
        draw.rectangle((x, y, x + w, y + h), ground)
        kind, gap, thick = random.randrange(6), random.randint(2, 14), random.choice((1, 1, 1, 2, 3))
        if kind in (0, 2):
            for left in range(x, x + w, gap + thick):
                draw.rectangle((left, y, left + thick - 1, y + h), ink)
        if kind in (1, 2):
            for top in range(y, y + h, gap + thick):
                draw.rectangle((x, top, x + w, top + thick - 1), ink)
        if kind == 3:
            for left in range(x, x + w, gap + thick):
                draw.line((left, y, left + random.choice((h, -h, h // 2, h // 5)), y + h), ink, thick)
        if kind == 4:
            for _ in range(random.randint(5, 80)):
                ends = [random.randint(x, x + w), random.randint(y, y + h)] * 2
                ends[random.randrange(2)] += random.randint(4, 120)
                draw.line(ends, colour(random, 0.8), thick)
        if kind == 5:
            cell = random.choice((1, 2, 3, 4, 8, 16))
            for top in range(y, y + h, cell):
                for left in range(x + cell * ((top - y) // cell % 2), x + w, 2 * cell):
                    draw.rectangle((left, top, left + cell - 1, top + cell - 1), ink)
    return canvas.image


def caption(random: Random) -> Image.Image:
    """Large letters on tones: slides, posters, subtitles."""
    image = gradient(random)
    if random.random() < 0.4:
        noise = np.random.default_rng(random.getrandbits(32)).normal(0, random.uniform(2, 20), (TILE, TILE, 1))
        image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).round().astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(random.randint(2, 14)):
        script = any_script(random, 0.3)
        font = load(random.choice(fonts(script)), random.choice((14, 18, 24, 32, 48, 72, 110)))
        edge = random.choice((0, 0, 1, 2))
        place = random.randint(-60, 400), random.randint(-20, 480)
        text = words(random, script, random.randint(1, 5))
        draw.text(place, text, colour(random), font, stroke_width=edge, stroke_fill=colour(random))
    return image
