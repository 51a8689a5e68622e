"""Packages that only some commands need."""

from importlib import import_module
from types import ModuleType

from pinnace.errors import PinnaceError


class MissingExtra(PinnaceError):
    """A package that this needs is not installed."""


def required(module: str, extra: str) -> ModuleType:
    """The module, which `pip install 'pinnace[extra]'` brings. Raises MissingExtra."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"this needs the package {module.partition('.')[0]}: {error}", hint=f"pip install 'pinnace[{extra}]'"
        ) from error
