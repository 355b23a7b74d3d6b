"""Which models are released, and where their files are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aecodec.container import MODEL_ID_BYTES
from aecodec.errors import ModelError

# Never change an entry: files that name the model must decode forever. The first bytes of the hash are its id.
RELEASED: Mapping[str, str] = {
    "aec1-11": "f1542434c9241191e68824f0e2767c3f2f7d1498051e6d8e43c002ac9bf1a8cc",
    "aec1-visual-1": "9633ff9aee4b244b1d9b691d9b4ca05855b32f7dcc77f49ba7f8a4bccba43786",
    "aec1-visual-2": "e1466c14b1ede4d069e304b5b53b4aee77181b87ce8e794815460f00e7a79691",
    "aec1-visual-3": "831eb3d84038981eddf012eae77b3676a2909e5fb935c80bc713bc8dc762072e",
}
# Those that are used where no other is asked for, by what they are tuned for, see `EncodeOptions.tuned_for`.
DEFAULTS: Mapping[str, str] = {"visual": "aec1-visual-3", "psnr": "aec1-11"}
DEFAULT = DEFAULTS["visual"]
CHECKPOINT = ".pt"  # suffix of what training saves


def weights_folder() -> Path:
    """Where the released models are: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "released_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def locate(model: str | Path) -> tuple[Path, str | None]:
    """File and, of a released model, SHA-256 of a model: a released one by name, or the path of a weights file.

    Raises ModelError if no released model has the name, or if it is a checkpoint.
    """
    if model in RELEASED:
        return weights_folder() / f"{model}.safetensors", RELEASED[str(model)]
    if not isinstance(model, (str, Path)):
        raise ModelError(f"model {model!r}; expected a name or the path of a weights file")
    path = Path(model)
    if path.suffix == CHECKPOINT or path.is_dir():
        export = f"aecodec export {_checkpoint(path)} DATA -o mine.safetensors"
        raise ModelError(f"{model} is of a training run, which has to be exported first: {export}")
    if isinstance(model, Path) or path.suffix == ".safetensors" or path.is_file():
        return path, None
    raise ModelError(
        f"no released model is called {model!r}; there are {', '.join(RELEASED)}, and weights files (.safetensors)"
    )


def _checkpoint(path: Path) -> Path:
    """That of a run which is meant to be exported, if the path is its folder."""
    if not path.is_dir():
        return path
    found = [path / f"{name}{CHECKPOINT}" for name in ("tune", "decay", "trunk")]
    return next((each for each in found if each.is_file()), path / f"decay{CHECKPOINT}")


def released_name(model_id: bytes) -> str:
    """The name of the released model with this id. Raises ModelError if it is not known."""
    for name, digest in RELEASED.items():
        if bytes.fromhex(digest)[:MODEL_ID_BYTES] == model_id:
            return name
    raise ModelError(
        f"written with model {model_id.hex()}, which this aecodec does not have; "
        "a newer version may have it, or give the weights file"
    )


def tune_of(name: str) -> str:
    """What a released model is tuned for, see `EncodeOptions.tune`: its name tells."""
    return "visual" if "-visual-" in name else "psnr"
