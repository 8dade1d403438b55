"""A group of commands of which only the one that is called is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar

import typer
from typer._click import Command, Context, HelpFormatter  # Typer shows no other way to name them
from typer.core import TyperGroup

from proxy.processes import garbage_collection


class LazyGroup(TyperGroup):
    """`modules`: a command's name -> the module of `package` whose `app` it is, and its line in the help, which needs none
    of them."""

    modules: ClassVar[Mapping[str, tuple[str, str]]]
    package: ClassVar[str]

    def list_commands(self, ctx: Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        if cmd_name not in self.modules:
            return None
        module = import_module(f"{self.package}.{self.modules[cmd_name][0]}")
        command: Command = typer.main.get_command(module.app)
        garbage_collection.resume()
        return command

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in self.modules.items()])
