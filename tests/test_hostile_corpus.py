"""The promise: files that were made to mislead decoders, kept for ever, mislead neither; both say the same of each.

tests/hostile holds one for each way in which a file was found to be wrong, and each on which decoders disagreed once.
Their model is NO_MODEL: they are decoded with the small models of both families.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from both_decoders import Both, with_model

from aecodec.errors import AecodecError
from aecodec.native import available

FILES = sorted((Path(__file__).parent / "hostile").glob("*.aec"))
pytestmark = pytest.mark.skipif(not available(), reason="libaec is not built")


@pytest.fixture(scope="module", params=["small_weights", "small_aec2_weights"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.getfixturevalue(request.param), pixel_limit=2**14)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_decoders_agree(both: Both, path: Path) -> None:
    data = with_model(path.read_bytes(), both.torch.model.id)
    apart = both.levels_apart(data)
    assert apart is None or apart <= both.far
    both.check_salvage(data)
    with suppress(AecodecError):
        both.torch.salvage(data)
