"""`aecodec train` and `aecodec export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from aecodec.cli import output
from aecodec.cli.options import THREADS
from aecodec.errors import AecodecError

SAVED = "what was trained is saved, the same command goes on"


DATA = click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
MIX = click.option(
    "--mix",
    type=(click.Path(exists=True, path_type=Path), click.FloatRange(0, 1, min_open=True, max_open=True)),
    multiple=True,
    metavar="PATH SHARE",
    help="Other pictures, and their share of the patches; repeatable.",
)


class _Setting(click.ParamType):
    """NAME=VALUE."""

    name = "setting"

    def convert(self, value: str, param: click.Parameter | None, context: click.Context | None) -> tuple[str, Any]:
        from dataclasses import asdict

        from aecodec.training.phases import Settings

        defaults, (name, _, text) = asdict(Settings()), value.partition("=")
        if name not in defaults:
            self.fail(f"no setting is called {name!r}; there are {', '.join(defaults)}", param, context)
        try:
            kind = type(defaults[name])
            return name, kind(int(text)) if kind is bool else kind(text)
        except ValueError:
            self.fail(f"{name}={text!r} is no {kind.__name__}", param, context)


@click.command()
@DATA
@click.option(
    "-o", "--output", "run", required=True, type=click.Path(path_type=Path), metavar="RUN", help="Folder of the run."
)
@MIX
@click.option("--steps", type=int, metavar="N", help="Stop at this step; default: run until interrupted.")
@click.option("--minutes", type=float, metavar="N", help="Stop after this time.")
@click.option(
    "--decay",
    type=int,
    metavar="STEPS",
    help="From what is trained so far, with a learning rate that falls to 0, for a release.",
)
@click.option(
    "--tune", type=int, metavar="STEPS", help="After a decay, or with --start: tune on the latents that files hold."
)
@click.option("--family", default="aec1", show_default=True, metavar="NAME", help="Of a new run: aec1 or aec2.")
@click.option("--network", default="base", show_default=True, metavar="NAME", help="Of a new run: its size.")
@click.option(
    "--objective",
    type=click.Choice(["psnr", "visual"]),
    help="Of a new run: what is lowered beside the bits; default: that of --start, or psnr.",
)
@click.option("--start", metavar="NAME|FILE", help="Of a new run: the model whose training it goes on with.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Patches a step, of all processes together.")
@click.option(
    "--patch", type=click.IntRange(1), metavar="PIXELS", help="Side of the patches, a multiple of 128 pixels."
)
@click.option("--set", "settings", multiple=True, type=_Setting(), metavar="NAME=VALUE", help="Any other setting.")
@click.option("--accumulate", type=click.IntRange(1), default=1, metavar="N", help="Divide a step, to save memory.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="That read pictures; default: 0, on a GPU many.")
@click.option("--compile/--no-compile", "compiled", default=None, help="With torch.compile; default: on a GPU.")
@click.option("--report-every", default=500, show_default=True, metavar="STEPS")
@click.option("--device", default="auto", metavar="auto|cpu|cuda|cuda:N|mps", show_default=True)
@THREADS
def train(
    data: Sequence[Path],
    run: Path,
    batch: int | None,
    patch: int | None,
    settings: Sequence[tuple[str, Any]],
    threads: int | None,
    **options: Any,
) -> None:
    """Train on folders, tar files or archives of pictures. What RUN holds is resumed exactly.

    On several GPUs: torchrun --nproc-per-node N -m aecodec train ...
    """
    from aecodec.pipeline import session
    from aecodec.training import loop

    changes = {name: value for name, value in (("batch", batch), ("patch", patch), *settings) if value is not None}

    def work() -> None:
        with session(threads):
            loop.train(data, run, changes=changes, **options)

    output.or_fail(work, SAVED, run)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@DATA
@MIX
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write."
)
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing file.")
def export(
    checkpoint: Path, data: Sequence[Path], mix: Sequence[tuple[Path, float]], target: Path, force: bool
) -> None:
    """Write the averaged weights of a checkpoint as a weights file; frequency tables are counted on DATA.

    The same checkpoint and DATA give the same file, and files that name it stay readable.
    """
    if target.suffix != ".safetensors":
        raise click.UsageError(f"weights files are called .safetensors; use -o {target.with_suffix('.safetensors')}")
    if target.exists() and not force:
        raise output.Failed(AecodecError("exists; use -f to overwrite it"), target)
    from aecodec.training.export import export as export_weights

    def work() -> None:
        export_weights(checkpoint, data, target, mix=mix, log=click.echo)

    output.or_fail(work, "nothing is half-written", checkpoint)
