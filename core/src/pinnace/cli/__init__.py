"""The `pinnace` command, and kubectl's plugin: parsing and printing only."""

from pinnace.cli.commands import main
from pinnace.cli.kubectl import plugin

__all__ = ["main", "plugin"]
