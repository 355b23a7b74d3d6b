"""The families that have to keep the contract, each with a small model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aecodec.codec import Codec
from aecodec.models import write_weights

PACKAGE = Path(__file__).parent / "package"  # what would be installed: a module, and its announcement


@pytest.fixture(scope="session")
def toy_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model of the family "toy", which only its own package knows; it is as if installed meanwhile."""
    path = tmp_path_factory.mktemp("toy") / "toy.safetensors"
    write_weights(path, "toy", {"coarsest": np.array(60.0)}, {})
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(PACKAGE))
        patched.setenv("PYTHONPATH", str(PACKAGE), prepend=":")
        yield path


@pytest.fixture(scope="session", params=["aec1", "aec2", "compressai", "toy"])
def family_weights(request: pytest.FixtureRequest) -> Path:
    fixtures = {"aec1": "small_weights", "aec2": "small_aec2_weights", "toy": "toy_weights"}
    fixtures["compressai"] = "compressai_weights"
    path: Path = request.getfixturevalue(fixtures[request.param])
    return path


@pytest.fixture(scope="session")
def make(family_weights: Path) -> Callable[..., Codec]:
    """A codec with the family's model, and with these arguments."""
    return lambda **arguments: Codec("cpu", family_weights, **arguments)


@pytest.fixture(scope="session")
def codec(make: Callable[..., Codec]) -> Codec:
    return make()
