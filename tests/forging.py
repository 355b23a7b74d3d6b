"""Archives as someone who knows the format could falsify them: every checksum and seal is right again."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path

from aecodec.archive import ziplayout
from aecodec.archive.manifest import MANIFEST, STORED, Record
from aecodec.archive.shards import ShardWriter, find_seal, open_shard, seal


def forge(path: Path, change: Callable[[Record, bytes], tuple[Record, bytes]]) -> None:
    """Writes a shard anew with other records, and other bytes of members."""
    data = path.read_bytes()
    contents = open_shard(io.BytesIO(data))
    with path.open("w+b", buffering=0) as file:
        writer = ShardWriter(file, contents.settings)
        writer.begin()
        written = []
        for record in contents.records:
            if record.kind in STORED:
                record = writer.add(*change(record, data[record.offset : record.offset + record.stored]))
            written.append(record)
        writer.finish(written)


def with_manifest(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A shard whose manifest says whatever it is made to say, with the checksums that it should have."""
    found = find_seal(data)
    assert found is not None
    _, offset, size, _, _ = found
    listing = change(data[offset : offset + size])
    name = MANIFEST.encode()
    header = ziplayout.Member(MANIFEST, len(listing), zlib.crc32(listing), 0o100644, None, 0)
    start = data.rindex(ziplayout.LOCAL, 0, offset)
    body = data[:start] + ziplayout.local_header(header) + listing
    directory = data[data.index(ziplayout.ENTRY, offset + size) : data.rindex(ziplayout.END)]
    last = directory.rindex(ziplayout.ENTRY)
    assert name in directory[last:]
    directory = directory[:last] + ziplayout.directory_entry(
        ziplayout.Member(MANIFEST, len(listing), zlib.crc32(listing), 0o100644, None, start)
    )
    place = start + len(ziplayout.local_header(header))
    whole = hashlib.sha256(body + directory)
    comment = seal(place, len(listing), hashlib.sha256(listing).hexdigest(), whole)
    count = directory.count(ziplayout.ENTRY)
    return body + directory + ziplayout.end_record(count, len(directory), len(body), comment)
