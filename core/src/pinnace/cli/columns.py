"""Columns of iterations that a person chooses by the names of the filter language."""

import re
from collections.abc import Callable
from typing import Any, Final

import click
import msgspec

from pinnace.cli.output import Column
from pinnace.records import Iteration, MetricSummary

_STEP: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([\w/-]+))\s*')
_AGGREGATES: Final = ("last", "min", "max")


def chosen(text: str) -> tuple[Column[Iteration], ...]:
    """`name, params.lr, metrics."a b".last` as columns. Raises BadParameter for what iterations don't have."""
    return tuple(Column(title, _shown(_value(title, path))) for title, path in _paths(text))


def _paths(text: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    at = begin = 0
    path: list[str] = []
    while True:
        step = _STEP.match(text, at)
        if step is None:
            raise _wrong(f"column {at + 1}: expected a name")
        path.append(re.sub(r"\\(.)", r"\1", step[1]) if step[1] is not None else step[2])
        at = step.end()
        mark = text[at : at + 1]
        if mark not in ("", ".", ","):
            raise _wrong(f"column {at + 1}: expected a dot, a comma or the end")
        if mark != ".":
            found.append((text[begin:at].strip(), path))
            path, begin = [], at + 1
        if not mark:
            return found
        at += 1


def _value(title: str, path: list[str]) -> Callable[[Iteration], Any]:
    match path:
        case ["params", *keys] if keys:
            return lambda row: _inside(row.parameters, keys)
        case ["tags", key]:
            return lambda row: row.tags.get(key)
        case ["metrics", key, aggregate] if aggregate in _AGGREGATES:
            return lambda row: _metric(row.metrics.get(key), aggregate)
        case [name] if name in Iteration.__struct_fields__:
            return lambda row: getattr(row, name)
    raise _wrong(f"iterations have no {title!r}: there are attributes, params.KEY, tags.KEY and metrics.KEY.last")


def _metric(summary: MetricSummary | None, aggregate: str) -> Any:
    return None if summary is None else getattr(summary, aggregate)


def _inside(found: Any, keys: list[str]) -> Any:
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _shown(value: Callable[[Iteration], Any]) -> Callable[[Iteration], str]:
    def text(row: Iteration) -> str:
        match value(row):
            case None:
                return ""
            case str() as plain:
                return plain
            case other:
                return msgspec.json.encode(other).decode().strip('"')

    return text


def _wrong(what: str) -> click.BadParameter:
    return click.BadParameter(what, param_hint="--columns")
