"""CompressAI's architectures: which there are, models from their tensors, how far their transforms reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from compressai.entropy_models import EntropyModel
from compressai.zoo.image import model_architectures
from torch import Tensor, nn

from aecodec.errors import ModelError

STRIDE = 16  # pixels for a latent, each way, in all architectures of the zoo
MAX_CHANNELS = 1024  # more than any; a forged file must not make networks of any size
PROBE = 8, 8  # channels of networks of which only the reach is asked


def architectures() -> dict[str, Any]:
    """Classes by name, with hyphens as people know them (CompressAI 1.2.8 has underscores in one)."""
    return {name.replace("_", "-"): made for name, made in model_architectures.items()}


def build(architecture: str, tensors: Mapping[str, Tensor]) -> Any:
    """The model, in evaluation mode. Raises ModelError if the tensors are not of a model of this architecture."""
    known = architectures()
    if architecture not in known:
        raise ModelError(f"CompressAI has no image model {architecture!r}; there are {', '.join(known)}")
    for name, tensor in tensors.items():
        if name.startswith("g_a.") and max(tensor.shape, default=0) > MAX_CHANNELS:
            raise ModelError(f"tensor {name} of {'x'.join(map(str, tensor.shape))}, larger than any of CompressAI's")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"tensor {name} holds numbers that are not finite")
    try:
        return known[architecture].from_state_dict(dict(tensors)).eval()
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = f"there is no tensor {error}" if isinstance(error, KeyError) else str(error).replace("\n", " ")
        raise ModelError(f"not a model of CompressAI's {architecture} ({reason[:300]})") from error


def check_tables(model: nn.Module) -> None:
    """Raises ModelError unless all tables are such that the entropy coder stays inside of them: it checks nothing."""
    for name, module in model.named_modules():
        if not isinstance(module, EntropyModel):
            continue
        cdf, length, offset = module.quantized_cdf, module.cdf_length, module.offset
        rows = len(length) if length.ndim == 1 else -1
        if cdf.ndim != 2 or not rows == len(cdf) == len(offset) > 0 or cdf.dtype != torch.int32:
            raise ModelError(f"{name}: no frequency tables")
        places = torch.arange(cdf.shape[1])
        if int(length.min()) < 3 or int(length.max()) > cdf.shape[1]:
            raise ModelError(f"{name}: frequency tables of impossible lengths")
        rising = (cdf.diff(dim=1) > 0) | (places[1:] >= length[:, None])
        ends = cdf.gather(1, length.long()[:, None] - 1)
        if not (rising.all() and (cdf[:, 0] == 0).all() and (ends == 1 << 16).all()):
            raise ModelError(f"{name}: frequency tables that do not rise from 0 to {1 << 16}")


@lru_cache(maxsize=16)
def halos(architecture: str) -> tuple[int, int]:
    """How far latents look around them, and how far pixels look around the block of their latent, in pixels, as
    multiples of the stride.

    Measured on a row of latents, by a small network of the same architecture: what is not a number goes wherever an
    input has influence.
    """
    kind = architectures()[architecture]
    try:
        small = kind(*PROBE)
    except TypeError:
        small = kind(PROBE[0])
    small = small.double().eval()
    width, middle = 64, 32  # latents; of the architectures there are, none looks further than 11
    with torch.inference_mode():
        pixels = torch.zeros(1, 3, STRIDE, width * STRIDE, dtype=torch.float64)
        pixels[..., middle * STRIDE : (middle + 1) * STRIDE] = math.nan
        latents = torch.zeros(1, small.M, 1, width, dtype=torch.float64)
        latents[..., middle] = math.nan
        seen = small.g_a(pixels).isnan().any(2).any(1)[0].nonzero()
        shown = small.g_s(latents).isnan().any(2).any(1)[0].nonzero() // STRIDE
    reach = (max(middle - int(far.min()), int(far.max()) - middle) for far in (seen, shown))
    analysis, synthesis = (latents * STRIDE for latents in reach)
    return analysis, synthesis
