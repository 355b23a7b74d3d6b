"""`aecodec import-compressai`."""

from __future__ import annotations

from pathlib import Path

import click

from aecodec.cli import output
from aecodec.cli.options import WithExamples, examples
from aecodec.errors import AecodecError

SUFFIX = ".safetensors"


@click.command(
    "import-compressai",
    cls=WithExamples,
    epilog=examples(
        "aecodec import-compressai bmshj2018-hyperprior checkpoint.pth.tar -o mine.safetensors",
        "aecodec compress photo.png --model mine.safetensors",
    ),
)
@click.argument("architecture")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write."
)
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing file.")
def import_compressai(architecture: str, checkpoint: Path, target: Path, force: bool) -> None:
    """Make a weights file of a CompressAI checkpoint: ARCHITECTURE is a name of its zoo of image models.

    CHECKPOINT is what its examples save, before or after update(). Nothing in it is executed.
    """
    if target.suffix != SUFFIX:
        raise click.UsageError(f"weights files are called {SUFFIX}; use -o {target.with_suffix(SUFFIX)}")
    if target.exists() and not force:
        raise output.Failed(AecodecError("exists; use -f to overwrite it"), target)
    digest = output.or_fail(lambda: _import(architecture, checkpoint, target), "nothing is half-written", checkpoint)
    output.line(f"{target}: {output.size(target.stat().st_size)}, SHA-256 {digest}")


def _import(architecture: str, checkpoint: Path, target: Path) -> str:
    try:
        from aecodec.families.compressai import checkpoints
    except ImportError as error:
        raise AecodecError(f"this needs CompressAI: pip install 'aecodec[compressai]' ({error})") from error
    from aecodec.models import write_weights

    return write_weights(target, "compressai", *checkpoints.read(architecture, checkpoint))
