"""`aecodec train` and `aecodec export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from aecodec.cli import output
from aecodec.cli.options import DEVICE, THREADS
from aecodec.errors import AecodecError

SAVED = "the run is saved, the same command goes on"


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", "run", required=True, type=click.Path(path_type=Path), metavar="RUN", help="Folder of the run."
)
@click.option("--steps", type=int, help="Stop at this step; default: run until interrupted.")
@click.option("--minutes", type=float, help="Stop after this time.")
@click.option("--decay", type=int, metavar="STEPS", help="Decay the learning rate from the trunk, for a release.")
@click.option(
    "--tune", type=int, metavar="STEPS", help="After a decay, or with --start: tune on the latents that files hold."
)
@click.option("--network", type=click.Choice(["base", "large"]), default="base", help="Of a new run.")
@click.option("--start", metavar="NAME|FILE", help="Of a new run: the model whose training it goes on with.")
@click.option("--batch", type=int, help="Patches per step.")
@click.option("--patch", type=int, help="Side of the patches, a multiple of 128 pixels.")
@click.option("--report-every", default=500, show_default=True, metavar="STEPS")
@DEVICE
@THREADS
def train(
    data: Sequence[Path],
    run: Path,
    network: str,
    batch: int | None,
    patch: int | None,
    threads: int | None,
    device: str,
    **options: Any,
) -> None:
    """Train on folders or tar files of pictures. What RUN holds is resumed exactly."""
    from aecodec.families.aec1.config import NETWORKS
    from aecodec.models import find_device
    from aecodec.pipeline import session
    from aecodec.training import loop

    changes = {name: value for name, value in (("batch", batch), ("patch", patch)) if value is not None}
    config = NETWORKS[network]

    def work() -> None:
        on = find_device(device).partition(":")[0]
        with session(threads):
            loop.train(data, run, device=on, model_config=config, changes=changes, **options)

    output.or_fail(work, SAVED, run)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write."
)
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing file.")
def export(checkpoint: Path, data: Sequence[Path], target: Path, force: bool) -> None:
    """Write the averaged weights of a checkpoint as a weights file; frequency tables are counted on DATA.

    The same checkpoint and DATA give the same file, and files that name it stay readable.
    """
    if target.suffix != ".safetensors":
        raise click.UsageError(f"weights files are called .safetensors; use -o {target.with_suffix('.safetensors')}")
    if target.exists() and not force:
        raise output.Failed(AecodecError("exists; use -f to overwrite it"), target)
    from aecodec.training.export import export as export_weights

    def work() -> None:
        export_weights(checkpoint, data, target, log=click.echo)

    output.or_fail(work, "nothing is half-written", checkpoint)
