"""The `pinnace` command: parsing and printing only."""

from pinnace.cli.commands import main

__all__ = ["main"]
