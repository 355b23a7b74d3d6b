"""Pictures of an archive that are the same but for an edit, and pictures that are similar in colours and texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec import models
from aecodec.archive.descriptions import Described, Rows
from aecodec.archive.manifest import Record
from aecodec.archive.reader import Archive, Item
from aecodec.codec import Codec
from aecodec.description import BITS, SIDE, Description, expanded
from aecodec.errors import AecodecError
from aecodec.files import native

Floats = npt.NDArray[np.float32]

# Distances of `shapes` below which two pictures count as one: of a million pairs of different photographs one is nearer
# than the former, of a hundred thousand one than the latter (benchmarks/describe.py, docs/archive.md).
STRICT = 0.85
LIMIT = 1.15
FLAT = (
    40.0  # levels that are added to a picture's contrast: what shows nothing is not stretched until it shows something
)
CHROMA = 0.1  # of a level of chroma, against one of luma
BRIGHTNESS = 0.2  # of the mean, against a deviation from it
TEXTURE = 0.5  # of a deviation of the features, against the distance of histograms
FINE = BITS // 3  # groups of channels from which on they are of fine detail
BLOCK = 1000  # pictures that are compared with all at a time
# A copy of another size is cropped if one of these windows (part of each side, place) is nearer by this factor. It
# tells seven to ten of ten crops by 10 %, half of what was turned by two degrees, and none of 60 copies that are whole.
WINDOWS = [(part, x, y) for part in (0.95, 0.9, 0.8) for x in (0, 0.5, 1) for y in (0, 0.5, 1)]
WINDOW = 0.85
APART = 0.25  # distance up to which nothing is to be explained


@dataclass(frozen=True)
class Copy:
    """A picture of a group. distance: to the best of it, see `shapes`. differs: in which ways, in words."""

    record: Record
    distance: float
    differs: Sequence[str]


@dataclass(frozen=True)
class Group:
    """Pictures that are the same but for edits: the best (most pixels, then one that knows when it was taken, then most
    bytes) and the others, by distance."""

    best: Record
    others: Sequence[Copy]


@dataclass(frozen=True)
class Match:
    """A picture that is similar. distance: 0 is the same colours and texture, see docs/archive.md."""

    record: Record
    distance: float


def shapes(rows: Rows, mirrored: bool = False) -> Floats:
    """(N, 193): luma without its mean, chroma with less weight, both divided by the picture's contrast, and a little of
    the mean. Euclidean distances between them tell how different pictures are, whatever their size. mirrored: left for
    right."""
    luma = rows["luma"].astype(np.float32)
    chroma = rows["chroma"].astype(np.float32) - 128
    if mirrored:
        luma, chroma = luma[:, :, ::-1], chroma[:, :, :, ::-1]
    luma, chroma = luma.reshape(-1, 64), chroma.reshape(-1, 128)
    mean, contrast = luma.mean(1, keepdims=True), luma.std(1, keepdims=True) + FLAT
    return np.concatenate([(luma - mean) / contrast, CHROMA * chroma / contrast, BRIGHTNESS * mean / 8], 1)


def distances(a: Floats, b: Floats) -> Floats:
    """(N, M): Euclidean, of rows of (N, K) and (M, K)."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def duplicates(opened: Archive, described: Described, limit: float = LIMIT) -> list[Group]:
    """Groups of pictures that are the same but for edits, larger groups first.

    limit: how far neighbours in a group may be apart. Files with the same bytes belong to their group, too.
    """
    near = _near(described.rows, limit)
    root = np.arange(len(described.items))
    for a, b, _ in near:
        ra, rb = _find(root, a), _find(root, b)
        root[max(ra, rb)] = min(ra, rb)
    members: dict[int, list[int]] = {}
    for number in range(len(root)):
        members.setdefault(_find(root, number), []).append(number)
    same: dict[str, list[Item]] = {}
    for item in opened.values():
        if item.record.same_as:
            same.setdefault(item.record.same_as, []).append(item)
    groups = [
        _group(described, numbers, same)
        for numbers in members.values()
        if len(numbers) > 1 or described.items[numbers[0]].name in same
    ]
    return sorted(groups, key=lambda group: (-len(group.others), group.best.name))


def _near(rows: Rows, limit: float) -> list[tuple[int, int, float]]:
    """Pairs that are near, as they are or mirrored, and how near."""
    own, mirrored = shapes(rows), shapes(rows, mirrored=True)
    found = []
    for start in range(0, len(rows), BLOCK):
        block = own[start : start + BLOCK]
        nearest = np.minimum(distances(block, own), distances(block, mirrored))
        for a, b in zip(*np.nonzero(nearest < limit), strict=True):
            if a + start < b:
                found.append((int(a) + start, int(b), float(nearest[a, b])))
    return found


def _find(root: npt.NDArray[np.intp], number: int) -> int:
    while root[number] != number:
        root[number] = root[root[number]]
        number = int(root[number])
    return number


def _group(described: Described, numbers: Sequence[int], same: dict[str, list[Item]]) -> Group:
    records = [described.items[k].record for k in numbers]
    best = max(range(len(numbers)), key=lambda k: _worth(records[k]))
    rows = described.rows[list(numbers)]
    plain = distances(shapes(rows), shapes(rows[best : best + 1]))[:, 0]
    mirrored = distances(shapes(rows, mirrored=True), shapes(rows[best : best + 1]))[:, 0]
    others = [
        Copy(
            records[k],
            round(float(min(plain[k], mirrored[k])), 3),
            _differences(rows[k : k + 1], rows[best : best + 1], bool(mirrored[k] < plain[k])),
        )
        for k in range(len(numbers))
        if k != best
    ]
    identical = [Copy(item.record, 0.0, ["the same bytes"]) for record in records for item in same.get(record.name, ())]
    return Group(records[best], sorted([*identical, *others], key=lambda copy: copy.distance))


def _worth(record: Record) -> tuple[int, bool, int]:
    """The more, the better; copies have often lost when they were taken."""
    return record.width * record.height, bool(record.taken), record.stored


def _differences(one: Rows, best: Rows, mirrored: bool) -> list[str]:
    """In which ways a picture, a row, is another than the best of its group."""
    (own,), (other,) = one, best
    size, largest = (int(own["width"]), int(own["height"])), (int(other["width"]), int(other["height"]))
    luma = float(own["luma"].mean()) - float(other["luma"].mean())
    colours, more = (np.abs(row["chroma"].astype(float) - 128).mean() for row in (own, other))
    found = ["mirrored"] if mirrored else []
    if size != largest:
        ratio = size[0] * largest[1] / (size[1] * largest[0])
        if not 0.98 < ratio < 1.02 or _is_window(one, best, mirrored):
            found.append("cropped")
        found.append(f"{size[0]}x{size[1]} instead of {largest[0]}x{largest[1]}")
    if own["quality"] != other["quality"]:
        found.append(f"quality {own['quality'] / 100:g} instead of {other['quality'] / 100:g}")
    if abs(luma) > 4:
        found.append("brighter" if luma > 0 else "darker")
    fine, usual = (float(expanded(row["bits"])[FINE:].sum()) + 0.1 for row in (own, other))
    if own["quality"] == other["quality"] and size == largest and not 0.8 < fine / usual < 1.25:
        found.append("noisier or sharper" if fine > usual else "smoother")
    if colours < 2 < more:
        found.append("grey")
    return found or ["other details"]


def _is_window(one: Rows, best: Rows, mirrored: bool) -> bool:
    """Whether a picture is more like a part of the best than like all of it."""
    parts = np.concatenate([best, *(_window(best, *each) for each in WINDOWS)])
    apart = distances(shapes(one, mirrored), shapes(parts))[0]
    return bool(apart[0] > APART and apart[1:].min() < WINDOW * apart[0])


def _window(row: Rows, part: float, x: float, y: float) -> Rows:
    """The small pictures of a row as they are of a part of the picture. part: of each side; x, y: where, 0..1."""
    found, side = row.copy(), SIDE * part
    left, top = x * (SIDE - side), y * (SIDE - side)
    for plane in (found["luma"][0], *found["chroma"][0]):
        box = left, top, left + side, top + side
        plane[:] = Image.fromarray(plane).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    return found


def textures(rows: Rows, like: Rows | None = None) -> Floats:
    """(N, 128): features in deviations of those of all pictures, or of others that they are `like`, so that the
    distance of two pictures is about 1."""
    values = rows["features"].astype(np.float32)
    reference = values if like is None else like["features"].astype(np.float32)
    scale = reference.std(0) + 1
    return (values - reference.mean(0)) / scale / np.float32(np.sqrt(2 * values.shape[1]))


def colours(rows: Rows) -> Floats:
    """(N, 72): square roots of shares, whose distance is 0 for equal colours and 1.4 for none in common."""
    return rows["histogram"].astype(np.float32) / np.float32(255)


def similar(described: Described, picture: Description, count: int = 10) -> list[Match]:
    """The pictures that are most similar to a picture in colours and texture, the most similar first.

    Of pictures that another model or quality has coded only the colours are compared, at the distance that textures of
    different pictures have.
    """
    if not described.items:
        return []
    row = picture.record()
    apart = distances(colours(row), colours(described.rows))[0]
    comparable = (described.rows["model"] == row["model"]).all(1) & (described.rows["quality"] == row["quality"])
    texture = np.ones(len(apart), np.float32)
    if comparable.any():
        like = described.rows[comparable]
        texture[comparable] = distances(textures(row, like), textures(like))[0]
    apart = apart + TEXTURE * texture
    order = np.argsort(apart, kind="stable")[:count]
    return [Match(described.items[k].record, round(float(apart[k]), 3)) for k in order]


def described_as(described: Described, picture: str, device: str = "auto", model: str | None = None) -> Description:
    """The description of a picture: of a name in an archive, or of a file, coded as most of the archive are.

    device, model: as of `Codec`; the model need not be given if it is a released one. Raises AecodecError if it is
    neither, or no picture.
    """
    for number, item in enumerate(described.items):
        if item.name == picture:
            return Description.of_record(described.rows[number : number + 1])
    path = native(picture)
    if not Path(path).exists():
        raise AecodecError("neither a file nor the name of a picture that the archive describes")
    usual = described.of_same_coding()
    if not usual.items:
        raise AecodecError("no picture of this archive is described")
    like = Description.of_record(usual.rows[:1])
    return Codec(device, model or models.released_name(bytes.fromhex(like.model))).describe(path, like.quality)
