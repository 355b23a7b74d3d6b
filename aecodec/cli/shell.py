"""`aecodec completion` and `aecodec man`: what a shell and `man` have to be given, printed or put where they look."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

import aecodec
from aecodec.cli import output
from aecodec.errors import AecodecError
from aecodec.files import write_atomically

PROGRAM = "aecodec"
PLACES = {  # where shells look for what a user adds, below the folder that XDG names
    "bash": ("XDG_DATA_HOME", ".local/share", f"bash-completion/completions/{PROGRAM}"),
    "zsh": ("XDG_DATA_HOME", ".local/share", f"zsh/site-functions/_{PROGRAM}"),
    "fish": ("XDG_CONFIG_HOME", ".config", f"fish/completions/{PROGRAM}.fish"),
}
INSTALL = click.option("--install", is_flag=True, help="Put it where it is looked for, and say where.")


@click.command()
@click.argument("shell", type=click.Choice(sorted(PLACES)), required=False)
@INSTALL
def completion(shell: str | None, install: bool) -> None:
    """Print what SHELL needs to complete commands and options; that of $SHELL if none is named."""
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in PLACES:
        raise click.UsageError(f"$SHELL is {shell or 'not set'}; name one of {', '.join(sorted(PLACES))}")
    kind = get_completion_class(shell)
    assert kind is not None  # click knows all of PLACES
    variable = f"_{PROGRAM.upper()}_COMPLETE"
    try:
        text = kind(click.get_current_context().find_root().command, {}, PROGRAM, variable).source()
    except RuntimeError as error:  # click asks bash for its version
        raise output.Failed(AecodecError(str(error))) from error
    if not install:
        click.echo(text)
        return
    folder_variable, folder, name = PLACES[shell]
    path = Path(os.environ.get(folder_variable) or Path.home() / folder) / name
    _put(path, text + "\n")
    hint = f"; if it does nothing, put `fpath+=({path.parent})` before compinit into ~/.zshrc" if shell == "zsh" else ""
    click.echo(f"{path}; shells that are started from now on use it{hint}")


@click.command()
@INSTALL
def man(install: bool) -> None:
    """Print the manual page, all commands on one page: aecodec man | man -l -"""
    text = "\n".join(_page(click.get_current_context().find_root())) + "\n"
    if not install:
        click.echo(text, nl=False)
        return
    # `man` looks beside every folder of $PATH, so the page lies beside the command that it is about.
    program = shutil.which(PROGRAM)
    root = Path(program).parent.parent if program else Path.home() / ".local"
    if not os.access(root, os.W_OK):
        root = Path.home() / ".local"
    path = root / "share/man/man1" / f"{PROGRAM}.1"
    _put(path, text)
    click.echo(f"{path}; read it with: man {PROGRAM}")


def _put(path: Path, text: str) -> None:
    try:
        write_atomically(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise output.Failed(error, path) from error


def _page(context: click.Context) -> Iterator[str]:
    """The manual page in troff's man macros."""
    main = context.command
    yield f'.TH {PROGRAM.upper()} 1 "" "{PROGRAM} {aecodec.__version__}"'
    yield ".SH NAME"
    yield f"{PROGRAM} \\- {_escaped((main.help or '').rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f".B {PROGRAM}\n.I COMMAND\n[OPTIONS] ARGUMENTS"
    yield ".SH COMMANDS"
    yield from _commands(click.Context(main, info_name=PROGRAM))
    yield ".SH EXIT STATUS"
    yield "0: everything succeeded. 1: something did not, and a line on standard error says what. 2: the command was"
    yield "not understood. 128 + n: ended by signal n."


def _commands(context: click.Context) -> Iterator[str]:
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(inner)
            continue
        yield f".SS {_escaped(' '.join([inner.command_path, *command.collect_usage_pieces(inner)]))}"
        yield _escaped(command.help or "").replace("\n\n", "\n.PP\n")
        for parameter in command.get_params(inner):
            record = parameter.get_help_record(inner)
            if record is not None and isinstance(parameter, click.Option):
                yield f".TP\n.B {_escaped(record[0])}\n{_escaped(record[1])}"
        if command.epilog:
            yield ".PP\nExamples:\n.nf"
            yield "\n".join(_escaped(f"  {line}") for line in command.epilog.splitlines())
            yield ".fi"


def _escaped(text: str) -> str:
    """Text that troff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in text.splitlines())
