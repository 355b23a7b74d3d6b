"""Coverage-guided fuzzing of everything from a file to a picture: python tests/fuzz/fuzz_decoder.py CORPUS [options]

As fuzz_container.py, with the tests' small model, which every file is taken to name.
"""

from __future__ import annotations

import io
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["aecodec"]):
    import aecodec.codec  # with all that it imports
    from aecodec import container, picture
    from aecodec.errors import AecodecError

from fuzz_container import skip_checksum
from seeds import PIXEL_LIMIT, make_weights

with tempfile.TemporaryDirectory() as folder:
    codec = aecodec.codec.Codec("cpu", make_weights("aec1", Path(folder) / "aec1.safetensors"), PIXEL_LIMIT)
codec.model_of = lambda header: codec.model  # type: ignore[method-assign]


def one_input(data: bytes) -> None:
    for decode in (codec.decompress, lambda data: codec.salvage(data)[0]):
        try:
            image = decode(data)
            for suffix in (".png", ".jpg", ".webp", ".tif"):
                picture.save(image, io.BytesIO(), suffix)
        except AecodecError:
            pass


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of Pillow, about metadata
    container.Cursor.check = skip_checksum  # type: ignore[method-assign]
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
