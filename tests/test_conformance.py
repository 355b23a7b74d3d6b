"""The promise: files of released models decode forever, to the same integers, and to pixels within one level."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance.make import digest_of_integers
from PIL import Image
from reference_decoder import ReferenceModel

from aecodec import container
from aecodec.codec import Codec, _tiles, _z_indices
from aecodec.weights import DEFAULT, RELEASED, weights_folder

HERE = Path(__file__).parent / "conformance"
CASES = [(name, path.stem) for name in RELEASED for path in sorted((HERE / name).glob("*.aec"))]


def integers(codec: Codec, data: bytes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What the package decodes before any floating point: z, scale indices and symbols of every tile."""
    file = container.read(data)
    result = []
    for payload, (rows, columns) in zip(file.tiles, _tiles(file.header), strict=True):
        decoder = codec.model.tables.decoder(payload)
        shape = (codec.model.network.config.hyper_channels, *((s.stop - s.start) // 64 for s in (rows, columns)))
        z = decoder.take(_z_indices(codec.model, shape, file.header.quality))
        _, index = codec.model.scale_model(torch.from_numpy(z[None]).float(), file.header.quality - 100)
        indices = index[0].to(torch.uint8).contiguous().numpy()
        result.append((z, indices, decoder.take(indices)))
        decoder.finish()
    return result


def test_every_released_model_has_golden_files() -> None:
    assert DEFAULT in RELEASED
    for name, digest in RELEASED.items():
        weights = weights_folder() / f"{name}.safetensors"
        assert hashlib.sha256(weights.read_bytes()).hexdigest() == digest
        assert weights.stat().st_size < 20e6
        assert weights.with_suffix(".md").is_file()
        assert len([case for case in CASES if case[0] == name]) == len(
            json.loads((HERE / name / "expected.json").read_text())
        )


@pytest.mark.parametrize(("name", "title"), CASES)
def test_golden_file(name: str, title: str) -> None:
    data = (HERE / name / f"{title}.aec").read_bytes()
    expected = json.loads((HERE / name / "expected.json").read_text())[title]
    assert hashlib.sha256(data).hexdigest() == expected["file_sha256"]
    codec = Codec("cpu", name)
    before = torch.get_num_threads()
    try:
        for threads, mkldnn in ((1, True), (2, True), (2, False)):
            torch.set_num_threads(threads)
            with torch.backends.mkldnn.flags(enabled=mkldnn):
                assert digest_of_integers(integers(codec, data)) == expected["integers_sha256"]
                image = codec.decompress(data)
            with Image.open(HERE / name / f"{title}.png") as golden:
                assert image.mode == golden.mode
                assert np.abs(np.asarray(image).astype(int) - np.asarray(golden)).max() <= 1
    finally:
        torch.set_num_threads(before)


def test_the_reference_decoder_reads_a_golden_file() -> None:
    name, title = DEFAULT, "tiled-q40"
    reference = ReferenceModel(weights_folder() / f"{name}.safetensors")
    tiles = reference.decode((HERE / name / f"{title}.aec").read_bytes())
    expected = json.loads((HERE / name / "expected.json").read_text())[title]
    assert digest_of_integers(tiles) == expected["integers_sha256"]
