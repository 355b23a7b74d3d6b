"""The codecs that are compared, each at its sensible best, with what it is and how it was set."""

from __future__ import annotations

import hashlib
import importlib
import io
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from glob import glob
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

import aecodec
from aecodec.errors import AecodecError
from aecodec.options import DEFAULT_EFFORT

# Parts of the package on which aecodec's files and pixels do not depend; all others do.
NOT_CODING = ("archive", "benchmark", "cli", "training")


@dataclass(frozen=True)
class Peer:
    """A codec with fixed settings. One thread each, so that times can be compared.

    Attributes: name (as in tables and files), title (for people), version, settings (the options that decide the
    result), reason (why these), qualities (the ladder: from about 0.1 to 1.6 bpp on photographs), encode (image of
    mode RGB or L, quality -> bytes of a file), decode (those bytes -> image).
    """

    name: str
    title: str
    version: str
    settings: str
    reason: str
    qualities: Sequence[float]
    encode: Callable[[Image.Image, float], bytes]
    decode: Callable[[bytes], Image.Image]


class MissingCodec(AecodecError):
    """The codec cannot be used here; the message says why."""


def make(name: str, model: str | None = None) -> Peer:
    """The codec called `name`; model: for aecodec, a released model or a weights file where the name has none.

    Raises MissingCodec if it is not installed, AecodecError if there is no codec of that name or its model is unknown.
    """
    if name.startswith("compressai:"):
        return _compressai(name)
    if ours := OURS.fullmatch(name):
        return _aecodec(name, ours["model"] or model, int(ours["effort"] or DEFAULT_EFFORT))
    if name not in MAKERS:
        known = ", ".join([*MAKERS, "aecodec[:MODEL][@EFFORT]", "compressai:ARCHITECTURE:FILES"])
        raise AecodecError(f"no codec is called {name!r}; there are {known}")
    return MAKERS[name]()


AVIF_SPEED = 6  # the default of libavif and Pillow
AVIF_SLOW, AVIF_FAST = 3, 8


def _jpeg(subsampling: str) -> Peer:
    def encode(image: Image.Image, quality: float) -> bytes:
        return _saved(image, "JPEG", quality, subsampling=subsampling, optimize=True)

    return Peer(
        "jpeg" if subsampling == "4:2:0" else "jpeg-444",
        f"JPEG {subsampling}",
        _pillow("libjpeg-turbo", features.version_feature("libjpeg_turbo")),
        f"{subsampling}, optimize=True",
        "optimal Huffman tables cost next to no time and decode everywhere",
        (12, 25, 45, 65, 82, 92),
        encode,
        _opened,
    )


def _webp() -> Peer:
    return Peer(
        "webp",
        "WebP",
        _pillow("libwebp", features.version_module("webp")),
        "lossy, method=6",
        "the slowest and best search; the format has only 4:2:0",
        (1, 10, 30, 55, 75, 88),
        lambda image, quality: _saved(image, "WEBP", quality, method=6),
        _opened,
    )


def _avif(name: str, subsampling: str, tune: str, speed: int, reason: str) -> Peer:
    plugin = _imported("PIL.AvifImagePlugin")  # since Pillow 11.3
    options = {"speed": speed, "subsampling": subsampling, "advanced": {"tune": tune}, "max_threads": 1}

    def encode(image: Image.Image, quality: float) -> bytes:
        return _saved(image, "AVIF", quality, **options)

    plugin.DEFAULT_MAX_THREADS = 1  # of the decoder
    library = _pillow("libavif", features.version_module("avif"))
    try:
        encode(Image.new("RGB", (16, 16)), 50)
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingCodec(f"this libavif does not know tune={tune}, as since 1.4: {error}") from error
    return Peer(
        name,
        f"AVIF {subsampling}, tune={tune}" + (f", speed {speed}" if speed != AVIF_SPEED else ""),
        f"{library}, {plugin._avif.codec_versions()}",
        f"{subsampling}, tune={tune}, speed={speed}",
        reason,
        # The same quality is a finer step with tune=psnr.
        (10, 24, 38, 52, 64, 76) if tune == "iq" else (14, 26, 38, 50, 63, 80),
        encode,
        _opened,
    )


def _aecodec(name: str, model: str | None, effort: int) -> Peer:
    from aecodec.codec import Codec

    codec = Codec(device="cpu", model=model, threads=1)
    return Peer(
        name,
        f"aecodec {codec.model.name}, effort {effort}",
        f"aecodec {aecodec.__version__}, code {code_checksum()}, model {codec.model.name} {codec.model.id.hex()}",
        f"CPU, effort={effort}",
        "the default" if effort == DEFAULT_EFFORT else "the fastest" if effort == 0 else "a longer search",
        (10, 25, 40, 55, 70, 85),
        partial(codec.compress, effort=effort),
        codec.decompress,
    )


def _mozjpeg() -> Peer:
    optimize = _imported("mozjpeg_lossless_optimization").optimize

    def encode(image: Image.Image, quality: float) -> bytes:
        return bytes(optimize(_saved(image, "JPEG", quality, subsampling="4:2:0", optimize=True)))

    return Peer(
        "mozjpeg",
        "JPEG 4:2:0 + MozJPEG",
        f"mozjpeg-lossless-optimization {version('mozjpeg-lossless-optimization')} after Pillow {PIL.__version__}",
        "4:2:0, progressive scans chosen by MozJPEG",
        "MozJPEG's search for scans, which changes no pixel; its trellis quantisation has no maintained Python package",
        (12, 25, 45, 65, 82, 92),
        encode,
        _opened,
    )


def _jxl() -> Peer:
    imagecodecs = _imported("imagecodecs")
    if not imagecodecs.JPEGXL.available:
        raise MissingCodec("this imagecodecs was built without libjxl")

    def encode(image: Image.Image, quality: float) -> bytes:
        return bytes(imagecodecs.jpegxl_encode(np.asarray(image), level=int(quality), effort=7, numthreads=1))

    return Peer(
        "jxl",
        "JPEG XL",
        f"{imagecodecs.jpegxl_version()} in imagecodecs {imagecodecs.__version__}",
        "effort=7",
        "libjxl's default; it aims at what people see, not at PSNR",
        (8, 25, 45, 65, 80, 90),
        encode,
        lambda data: Image.fromarray(imagecodecs.jpegxl_decode(data, numthreads=1)),
    )


def _jpegli() -> Peer:
    pyjpegli = _imported("pyjpegli")

    def encode(image: Image.Image, quality: float) -> bytes:
        return bytes(pyjpegli.encode(image.convert("RGB").tobytes(), *image.size, int(quality)))

    return Peer(
        "jpegli",
        "JPEG by jpegli",
        f"jpegli in pyjpegli {version('pyjpegli')}",
        "its defaults: XYB off, adaptive quantisation, progressive",
        "the best encoder of files that every JPEG decoder opens; it aims at what people see",
        (12, 25, 45, 65, 82, 92),
        encode,
        _opened,
    )


def _heic() -> Peer:
    pillow_heif = _imported("pillow_heif")
    pillow_heif.register_heif_opener()
    pillow_heif.options.DECODE_THREADS = 1

    def encode(image: Image.Image, quality: float) -> bytes:
        one_thread = {"x265:pools": "none", "x265:frame-threads": "1"}
        return _saved(image, "HEIF", quality, subsampling="4:2:0", enc_params=one_thread)

    information = pillow_heif.libheif_info()
    return Peer(
        "heic",
        "HEIC 4:2:0",
        f"{information['HEIF']}, libheif {information['libheif']} in pillow-heif {pillow_heif.__version__}",
        "4:2:0, preset slow",
        "libheif's defaults",
        (12, 20, 28, 36, 45, 54),
        encode,
        _opened,
    )


def _jp2() -> Peer:
    def encode(image: Image.Image, quality: float) -> bytes:
        bits = 8 * len(image.getbands())
        options = {"mct": 1} if bits > 8 else {}  # the colour transform; Pillow leaves it out by itself
        buffer = io.BytesIO()
        image.save(
            buffer, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[bits / quality], **options
        )
        return buffer.getvalue()

    return Peer(
        "jp2",
        "JPEG 2000",
        _pillow("OpenJPEG", features.version_codec("jpg_2000")),
        "irreversible 9/7 wavelet, colour transform, one layer",
        "the format's best for photographs by PSNR; the quality is the number of bits per pixel that it is told to use",
        (0.12, 0.25, 0.45, 0.8, 1.3, 2),
        encode,
        _opened,
    )


def _compressai(name: str) -> Peer:
    """name: compressai:ARCHITECTURE:FILES, where FILES is the path of weights or a pattern (*.pth) of several."""
    architecture, _, pattern = name.removeprefix("compressai:").partition(":")
    release = _imported("compressai", "compressai").__version__
    zoo = importlib.import_module("compressai.zoo")
    architectures = importlib.import_module("compressai.zoo.image").model_architectures
    if architecture not in architectures:
        raise AecodecError(f"CompressAI has no architecture {architecture!r}; there are {', '.join(architectures)}")
    files = [Path(path) for path in sorted(glob(pattern))]
    if not files:
        raise AecodecError(f"{name}: there are no weights {pattern!r}")
    import torch

    torch.set_num_threads(1)
    models, digest = [], hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        digest.update(data)
        try:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            state = zoo.load_state_dict(state.get("state_dict", state))
            models.append(architectures[architecture].from_state_dict(state).eval())
            models[-1].update()
        except Exception as error:  # whatever torch and CompressAI raise
            reason = str(error).partition("\n")[0]
            raise AecodecError(f"{file}: not weights of {architecture}: {type(error).__name__}: {reason}") from error

    def encode(image: Image.Image, quality: float) -> bytes:
        index = int(quality) - 1
        if not 0 <= index < len(models):
            raise ValueError(f"there are weights for the qualities 1 to {len(models)}")
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
        padding = (0, -image.width % 64, 0, -image.height % 64)  # on the right and below
        with torch.inference_mode():
            coded = models[index].compress(torch.nn.functional.pad(pixels, padding, mode="replicate"))
        strings = [of_one_picture for (of_one_picture,) in coded["strings"]]
        numbers = (index, len(strings), *image.size, *coded["shape"], *map(len, strings))
        return struct.pack(f">2B4H{len(strings)}I", *numbers) + b"".join(strings)

    def decode(data: bytes) -> Image.Image:
        layout = f">2B4H{data[1]}I"
        index, _, width, height, *shape_and_lengths = struct.unpack_from(layout, data)
        start, strings = struct.calcsize(layout), []
        for length in shape_and_lengths[2:]:
            strings.append([data[start : start + length]])
            start += length
        with torch.inference_mode():
            decoded = models[index].decompress(strings, shape_and_lengths[:2])["x_hat"][0, :, :height, :width]
        return Image.fromarray(decoded.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy())

    return Peer(
        name,
        f"CompressAI {architecture}",
        f"compressai {release}, torch {torch.__version__}, weights {digest.hexdigest()[:8]}",
        "CPU",
        "one file of weights for each quality, in the order of their names",
        tuple(range(1, len(models) + 1)),
        encode,
        decode,
    )


DEFAULTS = "what Pillow and libavif do when nothing is asked for: tuned for SSIMULACRA2"
MAKERS: dict[str, Callable[..., Peer]] = {
    "jpeg": lambda: _jpeg("4:2:0"),
    "jpeg-444": lambda: _jpeg("4:4:4"),
    "mozjpeg": _mozjpeg,
    "jpegli": _jpegli,
    "jp2": _jp2,
    "webp": _webp,
    "heic": _heic,
    "jxl": _jxl,
    "avif": lambda: _avif("avif", "4:2:0", "iq", AVIF_SPEED, DEFAULTS),
    "avif-psnr": lambda: _avif("avif-psnr", "4:2:0", "psnr", AVIF_SPEED, "judged by PSNR, AVIF has to be asked for it"),
    "avif-444": lambda: _avif("avif-444", "4:4:4", "iq", AVIF_SPEED, "colour at full resolution, tuned for the eye"),
    "avif-444-psnr": lambda: _avif("avif-444-psnr", "4:4:4", "psnr", AVIF_SPEED, "the best of AVIF by PSNR-RGB"),
    "avif-fast": lambda: _avif("avif-fast", "4:2:0", "iq", AVIF_FAST, "what cameras and servers can afford"),
    "avif-slow": lambda: _avif("avif-slow", "4:4:4", "iq", AVIF_SLOW, "what patience brings"),
}
OURS = re.compile(r"aecodec(:(?P<model>[^@]+))?(@(?P<effort>\d+))?")
DEFAULT = (
    "jpeg",
    "jpegli",
    "webp",
    "heic",
    "jxl",
    "avif",
    "avif-psnr",
    "avif-444",
    "avif-444-psnr",
    "aecodec",
    "aecodec@0",
)


def _saved(image: Image.Image, kind: str, quality: float, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=int(quality), **options)
    return buffer.getvalue()


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _pillow(library: str, version: str | None) -> str:
    if version is None:
        raise MissingCodec(f"this Pillow was built without {library}")
    return f"{library} {version} in Pillow {PIL.__version__}"


def _imported(module: str, install: str = "'aecodec[bench]'") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingCodec(f"{error}; pip install {install}") from error


def code_checksum() -> str:
    """Of all modules but `NOT_CODING`: results of other code are not this codec's results."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in coding_files())).hexdigest()[:8]


def coding_files() -> list[Path]:
    """The modules on which aecodec's files and pixels may depend."""
    folder = Path(aecodec.__file__).parent
    files = {path.relative_to(folder): path for path in folder.rglob("*.py")}
    return [files[path] for path in sorted(files) if path.with_suffix("").parts[0] not in NOT_CODING]
