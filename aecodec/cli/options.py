"""Options that several commands have, and how what people write becomes values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from difflib import get_close_matches
from pathlib import Path
from textwrap import wrap
from typing import Any

import click

from aecodec.errors import AecodecError
from aecodec.files import portable
from aecodec.options import EncodeOptions

Command = Callable[..., Any]
Decorator = Callable[[Any], Any]

PATH = click.Path(path_type=Path, allow_dash=True, readable=False)  # one unreadable file must not stop the others
DEVICE = click.option("--device", default="auto", metavar="auto|cpu|cuda", show_default=True)
MODEL = click.option("--model", metavar="NAME|FILE", help="A released model or a weights file.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
THREADS = click.option("--threads", type=click.IntRange(1), metavar="N", help="Of the CPU; default: all.")


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, in this order."""

    def apply(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


def encode_options(*names: str) -> Decorator:
    """The fields of `EncodeOptions` as options, those of these names or all; `take_options` makes them one."""
    chosen = [field for field in fields(EncodeOptions) if not names or field.name in names]
    return together(*(_option(field) for field in chosen))


def take_options(values: dict[str, Any]) -> EncodeOptions:
    """Takes the options of `encode_options` out of a command's. Raises click.UsageError if they make no sense."""
    refuse_tune_beside_model(values)
    names = [field.name for field in fields(EncodeOptions) if field.name in values]
    try:
        return EncodeOptions.parse({name: values.pop(name) for name in names})
    except AecodecError as error:
        raise click.UsageError(str(error)) from error


def refuse_tune_beside_model(values: dict[str, Any]) -> None:
    """Raises click.UsageError if a command's options ask for both: they may contradict each other."""
    if values.get("tune") is not None and values.get("model") is not None:
        raise click.UsageError("--tune chooses between the default models; leave it out, or --model")


def _option(field: Field[Any]) -> Decorator:
    name, told = "--" + field.name.replace("_", "-"), field.metadata
    return click.option(
        *told["flags"],
        name,
        type=_Written(told["metavar"], told["parse"]),
        default=field.default,
        show_default=field.default is not None,
        metavar=told["metavar"],
        help=told["help"],
    )


class _Written(click.ParamType):
    """A value as people write it."""

    def __init__(self, name: str, parse: Callable[[str], Any]):
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value  # the default
        try:
            return self._parse(value)
        except (AecodecError, ValueError) as error:
            self.fail(str(error) if isinstance(error, AecodecError) else f"{value!r} is no number", param, context)


class Name(click.ParamType):
    """A name, or a pattern of names, as archives have it."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        return portable(str(value))


class Region(click.ParamType):
    """X,Y,W,H in pixels."""

    name = "region"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        parts = str(value).split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r} is no region; write X,Y,W,H in pixels", param, context)
        return tuple(int(part) for part in parts)


def examples(*lines: str) -> str:
    """The end of the help of `WithExamples`: commands, and behind three spaces or more what they do."""
    return "\n".join(lines)


def example_rows(epilog: str) -> list[tuple[str, str]]:
    """(Command, what it does or "") of each of `examples`."""
    return [(command, told.strip()) for command, _, told in (line.partition("   ") for line in epilog.splitlines())]


class WithExamples(click.Command):
    """A command whose `examples` fit the terminal."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        if not self.epilog:
            return
        width = formatter.width - 6
        rows = [(" \\\n      ".join(wrap(command, width)), told) for command, told in example_rows(self.epilog)]
        with formatter.section("Examples"):
            formatter.write_dl(rows, col_max=formatter.width // 2 + 8)


class Group(WithExamples, click.Group):
    """Commands in the order in which they were added, each with the whole first sentence of its help."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        known = self.list_commands(context)
        if args[0] not in known and (near := get_close_matches(args[0], known)):
            context.fail(f"there is no command {args[0]!r}; did you mean {' or '.join(near)}?")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(200)) for name, one in self.commands.items()])
