"""Makes the golden files of a released model, once: python tests/conformance/make.py MODEL

For each picture: NAME.aec, NAME.png with the pixels that torch decodes, and in expected.json the SHA-256 of its
integers and bytes; in tests/native/pixels.json that of the pixels that libaec decodes. What is there is never replaced:
a released model's files must decode forever.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from reference_decoder import ReferenceModel  # noqa: E402

from aecodec.codec import Codec  # noqa: E402
from aecodec.models import weights_folder  # noqa: E402
from aecodec.native import Decoder  # noqa: E402

PIXELS = HERE.parent / "native" / "pixels.json"


def digest_of_integers(tiles: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> str:
    """SHA-256 over hyper latents, scale indices and symbols of all tiles, as little-endian int32."""
    digest = hashlib.sha256()
    for tile in tiles:
        for array in tile:
            digest.update(np.ascontiguousarray(array, "<i4").tobytes())
    return digest.hexdigest()


def pictures() -> dict[str, tuple[Image.Image, float]]:
    """Name: (picture, quality). Cuttings of the example photograph, in every kind that a file can be."""
    photo = Image.open(HERE.parent.parent / "examples" / "coffee.png").convert("RGB")
    cutting = photo.crop((200, 100, 330, 190))
    alpha = cutting.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(cutting.size))
    exif = Image.Exif()
    exif[0x0112] = 8
    tagged = cutting.copy()
    tagged.info["exif"] = exif.tobytes()
    flat = Image.new("RGB", (64, 64), (200, 30, 60))
    return {
        "plain-q10": (cutting, 10),
        "plain-q50": (cutting, 50),
        "plain-q73.21": (cutting, 73.21),
        "plain-q100": (cutting, 100),
        "tiled-q40": (photo.crop((100, 60, 260, 200)), 40),
        "grey-q60": (cutting.convert("L"), 60),
        "grey-alpha-q60": (alpha.convert("LA"), 60),
        "alpha-q60": (alpha, 60),
        "exif-q30": (tagged, 30),
        "one-pixel-q50": (cutting.crop((0, 0, 1, 1)), 50),
        "flat-q1": (flat, 1),
    }


def main(name: str) -> None:
    folder = HERE / name
    folder.mkdir()  # fails if the model has its golden files already
    codec = Codec("cpu", name, precision="float32")  # by docs/format/aec1.md; bfloat16 has to come near to it
    reference = ReferenceModel(weights_folder() / f"{name}.safetensors")
    expected, pixels = {}, {}
    for title, (picture, quality) in pictures().items():
        data = codec.compress(picture, quality, tile=64 if title.startswith("tiled") else 0)
        (folder / f"{title}.aec").write_bytes(data)
        codec.decompress(data).save(folder / f"{title}.png")
        expected[title] = {
            "file_sha256": hashlib.sha256(data).hexdigest(),
            "integers_sha256": digest_of_integers(reference.decode(data)),
        }
        by_libaec = np.asarray(Decoder().decompress(data, as_array=True))
        pixels[title] = hashlib.sha256(by_libaec.tobytes()).hexdigest()
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    PIXELS.write_text(json.dumps({**json.loads(PIXELS.read_text()), name: pixels}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
