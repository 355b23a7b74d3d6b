"""Pictures of what photographs lack, for training: text, interfaces, charts, drawings, halftones, coloured lines.

`python -m aecodec.training.synthetic FOLDER --count 400 --seed 1` writes them; on one machine the same command writes
the same pictures, and picture N does not depend on how many there are. Text is set in whatever fonts are installed, but
for those of the test pictures (`canvas.KEPT_FOR_TESTS`): the more fonts, the better.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from PIL import Image

from aecodec.errors import AecodecError
from aecodec.training.data import TILE
from aecodec.training.synthetic.canvas import FONT_FOLDERS, colour, fonts
from aecodec.training.synthetic.drawings import caption, drawing, halftone, lines
from aecodec.training.synthetic.screens import chart, editor, interface, page

# How often each is drawn.
KINDS: dict[Callable[[Random], Image.Image], int] = {
    page: 8,
    editor: 3,
    interface: 5,
    chart: 4,
    drawing: 4,
    halftone: 2,
    lines: 4,
    caption: 3,
}


def picture(number: int, seed: int) -> Image.Image:
    """The picture of this number: RGB, 512x512. Raises AecodecError if no font is installed."""
    if not fonts("latin"):
        raise AecodecError(f"no fonts in {', '.join(FONT_FOLDERS)}; install some, for example Debian's fonts-lato")
    random = Random(f"{seed} {number}")
    (draw,) = random.choices(list(KINDS), list(KINDS.values()))
    image = draw(random)
    if random.random() < 0.08:  # as screenshots are that were scaled to fit a page
        factor = random.uniform(0.55, 1.8)
        inner = round(TILE / max(factor, 1))
        image = image.crop((0, 0, inner, inner)).resize((round(inner * factor),) * 2, Image.Resampling.BICUBIC)
        whole = Image.new("RGB", (TILE, TILE), colour(random))
        for left in range(0, TILE, image.width):
            for top in range(0, TILE, image.height):
                whole.paste(image, (left, top))
        image = whole
    return image
