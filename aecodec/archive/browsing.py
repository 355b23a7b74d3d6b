"""A page to look at an archive with, of plain files: folders, dates, a map, duplicates, what is unusual."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from aecodec.archive import alike, descriptions, outlying
from aecodec.archive.descriptions import Described, Rows
from aecodec.archive.flow import PRESENT, Progress, Report, reason_of
from aecodec.archive.reader import Archive, Item
from aecodec.description import SIDE
from aecodec.errors import AecodecError
from aecodec.files import write_atomically

THUMBNAIL = 240  # pixels of the shorter side, at most
SHOWN = 2048  # pixels of the longer side of what a click shows, at most
QUALITIES = {"thumbnails": 70, "pictures": 82}  # of WebP
UNUSUAL = 60  # pictures that are listed, at most, and of each so many one
USUAL = 5
MAPPED = 10  # pictures, at least

Places = npt.NDArray[np.float32]


def browse(
    archive: str | Path | Archive,
    target: str | Path,
    *,
    device: str = "auto",
    model: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Writes a page about the pictures of an archive to a folder: index.html, which any browser opens from there.

    Goes on where an earlier run has ended; pictures that are there already are not decoded again. device, model: as of
    `Codec`, unless the archive is open already.
    Counts pictures "shown" and "present"; those that cannot be decoded are problems in the report. Raises AecodecError
    without scikit-learn, OSError if the folder cannot be written to.
    """
    started = time.monotonic()
    opened = archive if isinstance(archive, Archive) else Archive(archive, device, model)
    folder = Path(target)
    report = Report()
    items = sorted(_pictures(opened), key=lambda item: item.name)
    report.files_total = len(items)
    report.bytes_total = sum(item.record.bytes for item in items)
    shown = []
    for item in items:
        paths = {kind: folder / kind / f"{_id(item)}.webp" for kind in QUALITIES}
        there = all(path.exists() for path in paths.values())
        try:
            if not there:
                _write_pictures(item, paths)
        except (AecodecError, MemoryError) as error:
            report.problems.append((item.name, reason_of(error)))
        else:
            shown.append(item)
            report.counts[PRESENT if there else "shown"] += 1
        report.bytes_in += item.record.bytes
        report.seconds = time.monotonic() - started
        if progress is not None:
            progress(report)
    described = descriptions.load(opened)
    if described.missing:
        report.notes.append(
            f"{len(described.missing):,} pictures are not described, and are missing on the map and in the lists; "
            "aecodec archive describe describes them"
        )
    data, atlas = _data(opened, described, shown)
    write_atomically(folder / "map.png", lambda file: atlas.save(file, "PNG"))
    text = "const DATA = " + json.dumps(data, ensure_ascii=False, separators=(",", ":")) + ";\n"
    write_atomically(folder / "data.js", lambda file: file.write(text.encode("utf-8", "backslashreplace")))
    page = files("aecodec.archive").joinpath("page/index.html").read_bytes()
    write_atomically(folder / "index.html", lambda file: file.write(page))
    report.seconds = time.monotonic() - started
    return report


def _pictures(opened: Archive) -> list[Item]:
    return [item for item in opened.values() if item.record.kind in descriptions.PICTURES]


def _write_pictures(item: Item, paths: dict[str, Path]) -> None:
    """What a click shows, and the thumbnail of that."""
    image = ImageOps.exif_transpose(item.image())
    image = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    image.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
    small = image.copy()
    side = THUMBNAIL * max(image.size) / min(image.size)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    for kind, picture in (("pictures", image), ("thumbnails", small)):
        options = {"quality": QUALITIES[kind], "method": 2}
        write_atomically(paths[kind], lambda file, p=picture, o=options: p.save(file, "WEBP", **o))  # type: ignore[misc]


def _data(opened: Archive, described: Described, shown: Sequence[Item]) -> tuple[dict[str, Any], Image.Image]:
    """What the page knows, and the small pictures of its map."""
    number = {item.name: k for k, item in enumerate(shown)}
    known = described[np.array([k for k, item in enumerate(described.items) if item.name in number], np.intp)]
    groups = [
        [
            [number[group.best.name], "the best"],
            *(
                [number[copy.record.name], ", ".join(copy.differs)]
                for copy in group.others
                if copy.record.name in number
            ),
        ]
        for group in alike.duplicates(opened, known)
    ]
    unusual = outlying.outliers(known, min(UNUSUAL, len(known.items) // USUAL)) if _enough(known) else []
    data = {
        "pictures": [_facts(item) for item in shown],
        "duplicates": [group for group in groups if len(group) > 1],
        "outliers": [[number[one.record.name], "; ".join(one.reasons)] for one in unusual],
        "places": [],
        "cell": SIDE,
        "columns": max(1, math.isqrt(max(0, len(known.items) - 1)) + 1),
    }
    if len(known.items) >= MAPPED:
        places = _places(known.rows).round(4).tolist()
        data["places"] = [[number[item.name], *place] for item, place in zip(known.items, places, strict=True)]
    return data, _atlas(known.rows, int(data["columns"]))  # type: ignore[call-overload]


def _enough(known: Described) -> bool:
    return len(known.of_same_coding().items) >= outlying.LEAST


def _facts(item: Item) -> dict[str, Any]:
    record = item.record
    return {
        "id": _id(item),
        "name": record.name,
        "folder": record.name.rpartition("/")[0],
        "taken": record.taken,
        "width": record.width,
        "height": record.height,
    }


def _id(item: Item) -> str:
    """What its files are called: two pictures with the same bytes share them."""
    return (item.record.digest or item.record.sha256)[:24]


def _places(rows: Rows) -> Places:
    """(N, 2), 0..1: where pictures lie on the map, by t-SNE of colours and textures."""
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise AecodecError(f"the map {outlying.WITHOUT}") from error
    values = np.concatenate([alike.colours(rows), alike.TEXTURE * alike.textures(rows)], 1)
    values += (
        np.random.default_rng(0).normal(0, 1e-4, values.shape).astype(np.float32)
    )  # equal ones would be divided by 0
    found = TSNE(perplexity=min(30, (len(rows) - 1) / 3), init="pca", random_state=0).fit_transform(values)
    low, high = np.quantile(found, 0.005, 0), np.quantile(found, 0.995, 0)
    placed: Places = ((found - low) / np.maximum(high - low, 1e-9)).clip(-0.05, 1.05).astype(np.float32)
    return placed


def _atlas(rows: Rows, columns: int) -> Image.Image:
    """The pictures in 8x8 pixels of their descriptions, side by side."""
    count = max(1, -(-len(rows) // columns))
    whole = np.zeros((count * columns, SIDE, SIDE, 3), np.uint8)
    whole[: len(rows), ..., 0] = rows["luma"]
    whole[: len(rows), ..., 1:] = rows["chroma"].transpose(0, 2, 3, 1)
    pixels = (
        whole.reshape(count, columns, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(count * SIDE, columns * SIDE, 3)
    )
    return Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(pixels[..., k])) for k in range(3)]).convert(
        "RGB"
    )
