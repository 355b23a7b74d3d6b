"""Options that several commands have. Nothing here imports torch: `aecodec --help` stays fast."""

from __future__ import annotations

import click

from aecodec.options import DEFAULT_EFFORT

DEVICE = click.option("--device", default="auto", metavar="auto|cpu|cuda", show_default=True)
MODEL = click.option("--model", metavar="NAME|FILE", help="A released model or a weights file.")
EFFORT = click.option(
    "--effort",
    type=click.IntRange(0, 100),
    default=DEFAULT_EFFORT,
    show_default=True,
    help="Steps of a search for smaller files; 0 is fastest.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
