"""Writes synthetic training pictures."""

from __future__ import annotations

from pathlib import Path

import click
from tqdm import tqdm

from aecodec.training.synthetic import picture


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(1), default=400, show_default=True, help="How many pictures.")
@click.option("--seed", type=int, default=1, show_default=True)
def main(folder: Path, count: int, seed: int) -> None:
    """Writes synthetic training pictures, 512x512 PNG files, to FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(count), unit="picture", disable=None):
        path = folder / f"synthetic-{seed}-{number:05d}.png"
        temporary = path.with_suffix(".tmp")
        picture(number, seed).save(temporary, "PNG")
        temporary.replace(path)


if __name__ == "__main__":
    main()
