"""How far a decoded picture is from the original."""

from __future__ import annotations

import importlib
import logging
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from aecodec import metrics
from aecodec.errors import AecodecError

Pixels = npt.NDArray[np.uint8]  # (H, W, 3)

PACKAGES = {"ms_ssim": "pytorch-msssim", "cvvdp": "cvvdp"}  # of the optional metrics
MODULES = {"ms_ssim": "pytorch_msssim", "cvvdp": "pycvvdp"}  # in these
EXTRAS = {"ms_ssim": "bench", "cvvdp": "cvvdp"}
DISPLAY = "standard_4k"  # for CVVDP, its own default: 30 inches of 3840x2160 pixels and 200 cd/m^2, seen from 75 cm
BUTTERAUGLI = "butteraugli_main"  # a program of libjxl's
SMALLEST_SIDES = {"ms_ssim": 161, "ssimulacra2": 225}  # pixels; below, a metric's scales do not fit


def psnr_rgb(original: Pixels, decoded: Pixels) -> float | None:
    """Peak signal-to-noise ratio in dB over all samples. None where nothing differs."""
    return _finite(metrics.psnr(original, decoded))


def psnr_y(original: Pixels, decoded: Pixels) -> float | None:
    """The same of luma. None where nothing differs."""
    return _finite(metrics.psnr_y(original, decoded))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def ms_ssim(original: Pixels, decoded: Pixels) -> float | None:
    """Multi-scale structural similarity. None for pictures on whose shorter side its scales do not fit."""
    if min(original.shape[:2]) < SMALLEST_SIDES["ms_ssim"]:
        return None
    return metrics.ms_ssim(original, decoded)


def ssimulacra2(original: Pixels, decoded: Pixels) -> float | None:
    """SSIMULACRA2 2.1: 100 where nothing differs, 90 is visually lossless, 50 of medium quality, below 0 very bad.
    None for pictures on whose shorter side six scales do not fit: their weights would go to others."""
    import torch

    from aecodec import perceptual

    if min(original.shape[:2]) < SMALLEST_SIDES["ssimulacra2"]:
        return None
    if np.array_equal(original, decoded):
        return 100.0
    x, y = (torch.from_numpy(p.astype(np.float32) / 255).permute(2, 0, 1)[None] for p in (original, decoded))
    with torch.inference_mode():
        return float(perceptual.ssimulacra2(x, y))


def butteraugli(original: Pixels, decoded: Pixels) -> float | None:
    """Butteraugli's distance, 3-norm over the picture, on a screen of 80 nits: 0 where nothing differs, 1 is just
    noticeable. Raises AecodecError if libjxl's program fails."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("original.png", "decoded.png")]
        for file, pixels in zip(files, (original, decoded), strict=True):
            Image.fromarray(pixels).save(file, compress_level=1)
        done = subprocess.run([BUTTERAUGLI, *files, "--pnorm", "3"], capture_output=True, text=True)
    _, found, norm = done.stdout.partition("3-norm:")
    if done.returncode or not found:
        raise AecodecError(f"{BUTTERAUGLI}: {done.stderr.strip() or 'no result'}")
    return float(norm.split()[0])


def cvvdp(original: Pixels, decoded: Pixels) -> float | None:
    """ColorVideoVDP's quality in JOD on DISPLAY: 10 where nobody sees a difference; one less is what three of four
    people see."""
    return float(_cvvdp().predict(decoded, original, dim_order="HWC")[0])


@lru_cache
def _cvvdp() -> Any:
    with _without_news_of_cuda():
        import pycvvdp
        import torch

        return pycvvdp.cvvdp(display_name=DISPLAY, device=torch.device("cpu"))


@contextmanager
def _without_news_of_cuda() -> Iterator[None]:
    """Drops torch's warning that a machine has no CUDA, which importing CVVDP brings up, and nothing else."""
    logger = logging.getLogger("torch.utils.cpp_extension")

    def others(record: logging.LogRecord) -> bool:
        return "CUDA" not in record.getMessage()

    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


# None where a metric says nothing of a picture: it is too small, or came back unchanged.
Metric = Callable[[Pixels, Pixels], "float | None"]
METRICS: Mapping[str, Metric] = {
    "psnr_rgb": psnr_rgb,
    "psnr_y": psnr_y,
    "ms_ssim": ms_ssim,
    "ssimulacra2": ssimulacra2,
    "butteraugli": butteraugli,
    "cvvdp": cvvdp,
}
DEFAULT = ("psnr_rgb", "ms_ssim", "ssimulacra2", "butteraugli")  # measured where nothing else is asked for
DISTANCES = ("butteraugli",)  # metrics that are smaller where pictures are better


def choose(names: str | None) -> tuple[list[str], dict[str, str]]:
    """The metrics that are to be measured, in order, and why others of them cannot be.

    names: with commas, as in `METRICS` or on the command line ("psnr,ms-ssim"); None for `DEFAULT`. Raises
    AecodecError if there is no metric of a name.
    """
    wanted = [_known(name.strip()) for name in names.split(",")] if names else list(DEFAULT)
    absent = {name: reason for name in dict.fromkeys(wanted) if (reason := why_not(name))}
    return [name for name in dict.fromkeys(wanted) if name not in absent], absent


def why_not(name: str) -> str | None:
    """Why a metric of `METRICS` cannot be measured here; None where it can."""
    if name == "butteraugli" and not shutil.which(BUTTERAUGLI):
        return f"{BUTTERAUGLI} is not installed; it is in Debian's libjxl-devtools"
    if name in MODULES:
        try:
            with _without_news_of_cuda():
                importlib.import_module(MODULES[name])
        except ImportError as error:
            if error.name == MODULES[name]:
                return f"{PACKAGES[name]} is not installed; pip install 'aecodec[{EXTRAS[name]}]'"
            return f"{PACKAGES[name]} does not work here: {error}"
        except Exception as error:  # such as a torchvision that is not of this torch
            return f"{PACKAGES[name]} does not work here: {error}"
    return None


def _known(name: str) -> str:
    key = {"psnr": "psnr_rgb"}.get(name, name.replace("-", "_"))
    if key not in METRICS:
        raise AecodecError(f"no metric is called {name!r}; there are psnr, {', '.join(METRICS).replace('_', '-')}")
    return key
