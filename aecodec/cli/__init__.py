"""The command line: translates arguments into calls of the library and results into lines of text."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

import aecodec
from aecodec.cli.options import Group, examples
from aecodec.cli.output import ending

# Where each command is, and what it does; a module is imported when its command is named.
COMMANDS = {
    "compress": ("aecodec.cli.coding:compress", "Compress photographs to .aec files."),
    "decompress": ("aecodec.cli.coding:decompress", "Decompress .aec files."),
    "thumbnail": ("aecodec.cli.coding:thumbnail", "Write small pictures of .aec files."),
    "info": ("aecodec.cli.inspecting:info", "Show what an .aec file says of itself."),
    "compare": ("aecodec.cli.inspecting:compare", "Show how far picture B is from picture A."),
    "models": ("aecodec.cli.inspecting:models", "List the released models."),
    "archive": ("aecodec.cli.archive:archive", "Archive whole photo collections."),
    "benchmark": ("aecodec.cli.benchmark:benchmark", "Compare codecs on your own photographs."),
    "train": ("aecodec.cli.training:train", "Train on folders, tar files or archives of pictures."),
    "export": ("aecodec.cli.training:export", "Write the averaged weights of a checkpoint as a weights file."),
    "import-compressai": ("aecodec.cli.importing:import_compressai", "Make a weights file of a CompressAI checkpoint."),
    "completion": ("aecodec.cli.shell:completion", "Print what SHELL needs to complete commands and options."),
    "man": ("aecodec.cli.shell:man", "Print the manual page."),
}


class _Commands(Group):
    """The commands of `COMMANDS`, and how they end."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in COMMANDS.items()])

    def main(self, *arguments: Any, **options: Any) -> Any:
        """As click's own, which would end an interruption between what `ending` sees with "Aborted!" and code 1."""
        try:
            code = super().main(*arguments, **{**options, "standalone_mode": False})
        except click.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        raise SystemExit(code or 0)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        return ending(lambda: super(_Commands, self).make_context(*arguments, **options))

    def invoke(self, context: click.Context) -> Any:
        return ending(lambda: super(_Commands, self).invoke(context))


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Which aecodec this is, and what it decodes with where there is no GPU."""
    if wanted:
        from aecodec import native

        by = f"libaec, {native.instructions()}" if native.available() else "torch"
        click.echo(f"aecodec, version {aecodec.__version__} (decodes with {by})")
        context.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "aecodec compress photo.jpg                  photo.aec beside it",
        "aecodec decompress photo.aec -o photo.png   and back",
        "aecodec compress --help                     more about a command",
    ),
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show it and exit.")
def main() -> None:
    """Learned image compression: small files that decode to the same symbols on every machine."""
