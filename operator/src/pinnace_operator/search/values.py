"""Parameters and their values, whichever way they are chosen; and what is wrong with some."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from pinnace.naming import PARAM_PREFIX

#: More iterations than this are several Experiments.
MAX_ITERATIONS: Final = 1000

Scalar = str | int | float | bool
Combination = dict[str, Scalar]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,199}")


class SearchError(ValueError):
    """The search space makes no sense; the text names the field and says what to write instead."""


def variable(name: str) -> str:
    """The environment variable that carries the parameter `name`."""
    return PARAM_PREFIX + re.sub(r"[^A-Z0-9_]", "_", name.upper())


def spelled(value: Scalar) -> str:
    """`value` as a container finds it: text as it is, numbers and booleans as in JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def check_count(count: int) -> None:
    if count > MAX_ITERATIONS:
        raise SearchError(
            f"spec.parameters has {count} combinations and at most {MAX_ITERATIONS} are possible: "
            "take values out, or split them into several Experiments"
        )
    if count <= 0:
        raise SearchError("spec.parameters has no combination: list at least one, or leave spec.parameters out")


def check_names(names: Iterable[str], field: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise SearchError(
                f"{field} has a parameter called {name[:80]!r}: begin a name with a letter, and use only letters, "
                "digits, '_', '-', '.' and '/'"
            )
        twin = seen.setdefault(variable(name), name)
        if twin != name:
            raise SearchError(
                f"{field} has the parameters {twin!r} and {name!r}, which would both be {variable(name)} in the "
                "environment: rename one of them"
            )


def check_values(values: Mapping[str, Any], field: str) -> None:
    for key, value in values.items():
        if not isinstance(value, str | int | float):
            raise SearchError(
                f"spec.parameters.{field}: the value at {key} is {_kind(value)}, and a value is a string, a number or "
                "a boolean: write structures as JSON in a string"
            )


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(value), type(value).__name__)
