"""How an archive stores what it is made of: checked once, recorded in every shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecodec.archive import jpegs
from aecodec.archive.flow import DEFAULT_WORKERS
from aecodec.archive.manifest import FAILED, OTHER, SKIPPED
from aecodec.errors import AecodecError
from aecodec.models import tune_of
from aecodec.options import EncodeOptions

if TYPE_CHECKING:
    from aecodec.codec import Codec

# SSIMULACRA2 of about 87 and of 85 on photographs: what is stored is to last. By what the default models are made for.
DEFAULT_QUALITIES = {"visual": 85.0, "psnr": 98.0}
DEFAULT_FLOOR = 30.0  # dB
SCORE_FLOOR = 50.0  # SSIMULACRA2, fair; of stars and hot pixels in the dark it is far below while the PSNR is above
DEFAULT_SAVING = 0.1
OTHERS = {"keep": OTHER, "skip": SKIPPED, "fail": FAILED}  # what becomes of files that are not pictures
JPEGS = ("lossy", "lossless", "keep")  # what becomes of JPEG files
UNRECORDED = ("tune",)  # the model tells


@dataclass(frozen=True)
class Settings:
    """How sources are stored; see `create`."""

    options: EncodeOptions
    min_saving: float
    jpeg: str
    others: str
    device: str
    model: str | Path | None
    workers: int

    @classmethod
    def parse(
        cls,
        options: Mapping[str, Any],
        min_saving: float,
        jpeg: str,
        others: str,
        device: str,
        model: str | Path | None,
        workers: int | None,
    ) -> Settings:
        """From what people ask for. options: as `EncodeOptions.parse` takes them.

        Raises AecodecError about what cannot be.
        """
        if not 0 <= min_saving < 1:
            raise AecodecError(f"min_saving {min_saving}; expected 0 to less than 1")
        if others not in OTHERS:
            raise AecodecError(f"others {others!r}; expected {', '.join(OTHERS)}")
        if jpeg not in JPEGS:
            raise AecodecError(f"jpeg {jpeg!r}; expected {', '.join(JPEGS)}")
        if jpeg == "lossless" and not jpegs.available():
            raise AecodecError(f"jpeg lossless {jpegs.WITHOUT}")
        if isinstance(model, Path) or (model or "").endswith(".safetensors"):
            model = Path(str(model)).absolute()  # a worker of Ray has another working directory
        return cls(_with_defaults(options, model), min_saving, jpeg, others, device, model, workers or DEFAULT_WORKERS)

    @property
    def min_score(self) -> float | None:
        """SSIMULACRA2 below which no picture falls, where there is a floor at all and nobody asks for less."""
        score = self.options.score
        return None if self.options.min_psnr is None or (score or SCORE_FLOOR) < SCORE_FLOOR else SCORE_FLOOR

    def recorded(self, codec: Codec) -> dict[str, Any]:
        """What the manifest tells of them: all that the content depends on."""
        told = {
            "quality": self.options.quality,
            "bpp": self.options.bpp,
            "psnr": self.options.psnr,
            "min_psnr": self.options.min_psnr,
            "min_saving": self.min_saving,
            "jpeg": self.jpeg,
            "others": self.others,
            "model": codec.model_for(self.options).id.hex(),
            "effort": self.options.effort,
        }
        if self.min_score is not None:
            told["min_score"] = self.min_score
        for field in fields(EncodeOptions):
            value = getattr(self.options, field.name)
            if field.name not in told and field.name not in UNRECORDED and value != field.default:
                told[field.name] = value
        return told


def _with_defaults(asked: Mapping[str, Any], model: str | Path | None) -> EncodeOptions:
    """What is asked for, with the defaults of archives."""
    floor = {} if asked.get("denoise") is not None else {"min_psnr": DEFAULT_FLOOR}
    options = EncodeOptions.parse({**floor, **asked})
    if not options.has_target:
        tune = tune_of(model) if isinstance(model, str) else options.tuned_for
        options = replace(options, quality=DEFAULT_QUALITIES[tune])
    if options.psnr is not None and options.min_psnr is not None and options.min_psnr > options.psnr:
        options = replace(options, min_psnr=None)  # who asks for less than the floor wants it
    return options
