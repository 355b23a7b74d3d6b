"""Checking archives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aecodec import container, picture
from aecodec.archive import storage
from aecodec.archive.fidelity import colour, psnr, signature
from aecodec.archive.flow import Progress, Report, reason_of
from aecodec.archive.manifest import PICTURE
from aecodec.archive.reader import Archive, Item
from aecodec.archive.walk import Fetched, verified, walk
from aecodec.errors import AecodecError

SIGNATURE_TOLERANCE = 2  # levels; decoders on other machines may differ by one
PSNR_TOLERANCE = 0.1  # dB


def verify(
    archive: str | Path | Archive,
    *,
    deep: bool = False,
    source: str | Path | None = None,
    device: str = "auto",
    model: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Checks an archive: every checksum, and that everything in the manifests is there.

    deep: also decodes every compressed picture and compares it with the signature of what was decoded when the archive
    was made. source: the folder that it was made from; with deep, the PSNR is compared with the recorded one too.
    device, model: as of `Codec`, unless the archive is open already. workers: threads that read.

    What is not as it should be is a problem in the report. Raises AecodecError if there is no archive.
    """
    opened = archive if isinstance(archive, Archive) else Archive(archive, device, model, tolerant=True)
    originals = None if source is None else storage.folder(source)

    def fetch(item: Item) -> Fetched:
        record = item.record
        try:
            if record.kind != PICTURE:
                for _ in verified(item):
                    pass
                return Fetched(item)
            data = item.read()
            header = container.read(data).header
            if (header.width, header.height) != item.size:
                raise AecodecError(f"is {header.width}x{header.height}, not {record.width}x{record.height}")
            return Fetched(item, data)
        except (AecodecError, OSError) as error:
            return Fetched(item, error=reason_of(error))

    def compare(one: Fetched) -> tuple[Fetched, int]:
        if one.error or one.image is None:
            return one, 0
        record = one.item.record
        try:
            now, then = signature(one.image), bytes.fromhex(record.signature)
            if any(abs(a - b) > SIGNATURE_TOLERANCE for a, b in zip(now, then, strict=True)):
                raise AecodecError("decodes to another picture than when it was archived")
            if originals is not None:
                with originals.open(record.name) as file:
                    found = psnr(picture.load(file).colour, colour(one.image))
                if abs(found - record.psnr) > PSNR_TOLERANCE:
                    raise AecodecError(f"has {found:.2f} dB, not {record.psnr:.2f} dB")
        except (AecodecError, OSError, ValueError) as error:  # a signature of another length, a source of another shape
            return replace(one, error=reason_of(error)), 0
        return one, 0

    report = walk(opened, list(opened.values()), fetch, compare, deep, workers, progress)
    report.problems += opened.damaged
    return report
