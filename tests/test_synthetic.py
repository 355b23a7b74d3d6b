"""Synthetic training pictures."""

import numpy as np
import pytest

from aecodec.training import synthetic
from aecodec.training.synthetic import canvas

pytestmark = pytest.mark.skipif(not canvas.fonts("latin"), reason="no fonts are installed")


def test_a_picture_depends_on_its_number_and_the_seed_alone():
    first = np.asarray(synthetic.picture(3, seed=1))
    assert first.shape == (512, 512, 3)
    synthetic.picture(4, seed=1)
    np.testing.assert_array_equal(synthetic.picture(3, seed=1), first)
    assert (np.asarray(synthetic.picture(3, seed=2)) != first).any()


@pytest.mark.parametrize("draw", synthetic.KINDS, ids=lambda draw: draw.__name__)
def test_every_kind_fills_a_tile_with_something(draw):
    pixels = np.asarray(draw(synthetic.Random("test")))
    assert pixels.shape == (512, 512, 3)
    assert pixels.std() > 1


def test_fonts_of_the_test_pictures_are_never_used():
    names = [font.lower() for script in canvas.SCRIPTS for font in canvas.fonts(script)]
    assert not [n for n in names if "dejavuserif" in n or "liberation" in n or "notoserif" in n or "roboto-" in n]
