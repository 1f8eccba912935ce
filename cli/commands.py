"""The help of every command of `manage.py`, and its access to the services.

The help shows commands in groups, with full sentences and an example for each command. A
placeholder is a word in capitals, in the usage line and beside the options.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import typer
from typer._click import Context, HelpFormatter, Parameter
from typer.core import TyperCommand, TyperGroup

from cli.environment import command_caller, commands_settings
from shared.bootstrap import open_gateway
from shared.gateway import Gateway

SET_UP: Final = "Set up"
EVERY_DAY: Final = "Every day"
EMERGENCIES: Final = "Emergencies"

Function = TypeVar("Function", bound=Callable[..., Any])


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    example: str,
    panel: str | None = None,
    no_args_is_help: bool = False,
) -> Callable[[Function], Function]:
    """Make a function a command of `app`. `example` is a call of it, without `manage.py`."""
    return app.command(
        name,
        cls=CommandWithExample,
        epilog=f"\b\nExample:\n  manage.py {example}",
        rich_help_panel=panel,
        no_args_is_help=no_args_is_help,
    )


def file_argument(meaning: str) -> Any:
    """The argument FILE of a command: a file that exists and can be read."""
    return typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help=meaning)


def placeholder(parameter: Parameter) -> str:
    """The placeholder for the value of an argument in the help."""
    return str(parameter.metavar or (parameter.name or "").upper())


class CommandWithExample(TyperCommand):
    """A command whose arguments are shown by their placeholder alone, without their type."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """`[OPTIONS] TYPE FILE`."""
        return ["[OPTIONS]", *(placeholder(argument) for argument in self._arguments(ctx))]

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """The arguments and the options, each with its help."""
        records = {parameter: parameter.get_help_record(ctx) for parameter in self.get_params(ctx)}
        arguments = [
            (placeholder(argument), record[1])
            for argument in self._arguments(ctx)
            if (record := records.pop(argument))
        ]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        with formatter.section("Options"):
            formatter.write_dl([record for record in records.values() if record])

    def _arguments(self, ctx: Context) -> list[Parameter]:
        return [each for each in self.get_params(ctx) if each.param_type_name == "argument"]


class Overview(TyperGroup):
    """Commands under the headings of their groups, each with its full first sentence."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """A section for each group of commands, set up first, emergencies last."""
        sections: dict[str, list[tuple[str, str]]] = {
            heading: [] for heading in (SET_UP, EVERY_DAY, EMERGENCIES)
        }
        for name in self.list_commands(ctx):
            each = self.get_command(ctx, name)
            if each is not None and not each.hidden:
                heading = getattr(each, "rich_help_panel", None) or "Commands"
                paragraph, _, _ = inspect.cleandoc(each.help or "").partition("\n\n")
                sections.setdefault(heading, []).append((name, " ".join(paragraph.split())))
        width = max((len(name) for rows in sections.values() for name, _ in rows), default=0)
        for heading, rows in sections.items():
            if not rows:
                continue
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])


# A command opens the gateway on the configured storage, calls its services, and closes it.

Result = TypeVar("Result")


def on_gateway(action: Callable[[Gateway], Awaitable[Result]]) -> Result:
    """Run `action` on the gateway. Raises its errors, and SettingsError."""

    async def used() -> Result:
        async with open_gateway(commands_settings(), command_caller()) as gateway:
            return await action(gateway)

    return asyncio.run(used())
