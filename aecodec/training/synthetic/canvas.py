"""What synthetic pictures are drawn with: fonts, words, colours, and a canvas."""

from __future__ import annotations

import inspect
import io
import json
import math
import re
import string
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aecodec.training.data import TILE

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts")
KEPT_FOR_TESTS = ("dejavuserif", "liberation", "notoserif", "roboto-", "robotocondensed")  # in names of files
# Letters of each script.
SCRIPTS = {
    "latin": "abcdefghijklmnopqrstuvwxyz",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "greek": "αβγδεζηθικλμνξοπρςστυφχψω",
    "hebrew": "אבגדהוזחטיךכלםמןנסעףפץצקרשת",
    "arabic": "بةتثجحخدذرزسشصضطظعغػؼؽؾؿـفقكلمنهوىي",
    "devanagari": "कखगघङचछजझञटठडढणतथदधनऩपफबभमयरऱलळऴवशषसह",
    "thai": "กขฃคฅฆงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรฤลฦวศษสหฬอฮ",
    "kana": "あいうえおかがきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん",
    "han": "的一是不了人我在有他中大上到子和地出道也年得就那要下以生自去家小心多天而能好都日文手十用主行方",
    "hangul": "가나다라마바사아자차카타파하고노도로모보소오조국한글말이시지기",
}
MONOSPACED = ("mono", "code", "hack", "inconsolata", "fantasque", "cour")

Colour = tuple[int, int, int]


@cache
def fonts(script: str, monospaced: bool = False) -> list[str]:
    """Files of the installed fonts that have the letters of a script, in the order of their names."""
    files = [
        path
        for folder in FONT_FOLDERS
        for path in Path(folder).expanduser().rglob("*")
        if path.suffix.lower() in (".ttf", ".otf", ".ttc")
        and not any(kept in path.name.lower() for kept in KEPT_FOR_TESTS)
        and (not monospaced or any(word in path.name.lower() for word in MONOSPACED))
    ]
    return [str(path) for path in sorted(files, key=lambda path: (path.name, path)) if _has(path, SCRIPTS[script][::5])]


def _has(path: Path, letters: str) -> bool:
    try:
        font = ImageFont.truetype(str(path), 24)
        missing = bytes(font.getmask("\U0010fffe"))
        return all(bytes(font.getmask(letter)) not in (missing, b"") for letter in letters)
    except OSError:  # fonts of bitmaps have no such size
        return False


@cache
def load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@cache
def _prose() -> list[str]:
    """Words of English, with punctuation."""
    modules: list[ModuleType] = [inspect, json, math, re, string, textwrap, io]
    texts = [inspect.getdoc(value) or "" for module in modules for value in vars(module).values() if callable(value)]
    return [word for word in " ".join(texts).split() if word.isascii()]


@cache
def code() -> list[str]:
    return "\n".join(inspect.getsource(module) for module in (inspect, textwrap, string)).splitlines()


def any_script(random: Random, other: float) -> str:
    """Latin, or with this probability one of those for which there are fonts."""
    return random.choice([name for name in SCRIPTS if fonts(name)]) if random.random() < other else "latin"


def words(random: Random, script: str, count: int) -> str:
    """Words of English, or of letters of another script in no order."""
    if script == "latin":
        start = random.randrange(len(_prose()) - count)
        return " ".join(_prose()[start : start + count])
    return " ".join("".join(random.choices(SCRIPTS[script], k=random.randint(2, 9))) for _ in range(count))


def colour(random: Random, saturated: float = 0.5) -> Colour:
    """Any; with this probability one of the corners and edges of the cube of colours."""
    if random.random() < saturated:
        return rgb(random.choice((0, 0, 255, 255, random.randint(0, 255))) for _ in range(3))
    return rgb(random.randint(0, 255) for _ in range(3))


def rgb(levels: Iterable[int]) -> Colour:
    red, green, blue = levels
    return red, green, blue


def paper_and_ink(random: Random) -> tuple[Colour, Colour]:
    """Two colours that can be read on each other: mostly dark on light, sometimes light on dark, sometimes coloured."""
    kind = random.random()
    if kind < 0.35:
        paper, ink = (255, 255, 255), (0, 0, 0)
    elif kind < 0.6:
        paper = rgb(random.randint(225, 255) for _ in range(3))
        ink = rgb(random.randint(0, 90) for _ in range(3))
    elif kind < 0.8:
        grey = random.randint(0, 45)
        paper = rgb(min(max(grey + random.randint(-8, 8), 0), 255) for _ in range(3))
        ink = rgb(random.randint(170, 255) for _ in range(3))
    else:
        paper, ink = colour(random), colour(random)
        while abs(luma(paper) - luma(ink)) < 60:
            ink = colour(random)
    return paper, ink


def luma(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


class Canvas:
    """A picture that is being drawn at `scale` times its size; lengths are given in pixels of the result."""

    def __init__(self, paper: Colour, scale: int = 1):
        self.scale = scale
        self.image = Image.new("RGB", (TILE * scale, TILE * scale), paper)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, font: str, size: float, ink: Colour) -> float:
        """Draws a line of text; returns how wide it is."""
        loaded = load(font, max(round(size * self.scale), 4))
        self.draw.text((x * self.scale, y * self.scale), text, ink, loaded)
        return loaded.getlength(text) / self.scale

    def rectangle(self, x: float, y: float, w: float, h: float, **style: object) -> None:
        s = self.scale
        box = (round(x * s), round(y * s), round((x + max(w, 1)) * s) - 1, round((y + max(h, 1)) * s) - 1)
        self.draw.rounded_rectangle(box, radius=s * int(style.pop("radius", 0)), **style)  # type: ignore[call-overload, arg-type]

    def finished(self, subpixels: bool) -> Image.Image:
        """The picture at its size; with the colours of screens whose subpixels were used for sharper letters."""
        if self.scale == 1:
            return self.image
        if not subpixels:
            return self.image.resize((TILE, TILE), Image.Resampling.BOX)
        wide = np.asarray(self.image.resize((3 * TILE, TILE), Image.Resampling.BOX), np.float32)
        padded = np.pad(wide, ((0, 0), (1, 1), (0, 0)), "edge")
        smooth = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
        own = np.stack([smooth[:, channel::3, channel] for channel in range(3)], 2)
        return Image.fromarray(own.round().astype(np.uint8))


def gradient(random: Random) -> Image.Image:
    """Two colours that run into each other, and waves of them."""
    first, second = np.array([colour(random), colour(random)], np.float32)
    row, column = np.mgrid[:TILE, :TILE] / TILE
    turn = random.uniform(0, 6.3)
    mix = 0.5 + 0.5 * (math.cos(turn) * (row - 0.5) + math.sin(turn) * (column - 0.5))
    if random.random() < 0.5:
        mix = 0.5 + 0.5 * np.sin(random.uniform(2, 25) * mix + 3 * np.hypot(row - random.random(), column))
    levels = first + (second - first) * mix[:, :, None].astype(np.float32)
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))
