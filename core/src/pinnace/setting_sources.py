"""Where settings come from: several sources, each a mapping from names to texts, of which the first that speaks wins.

In every source `NAME_FILE` may stand in place of `NAME`: then the file that it names holds the value, such as a mounted
Secret. What is wrong is collected, never raised, so that a person sees all of it at once.
"""

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinnace.setting_values import spelt


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place. `called` is what a person calls it; values by the names that variables of the environment have."""

    called: str
    values: Mapping[str, str]
    mistakes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What all sources say together: text and origin by name. Names that nobody mentions are absent."""

    values: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()


def gather(names: Collection[str], sources: Sequence[Source]) -> Gathered:
    """What `sources`, the most important first, say of the settings called `names`. An empty text says nothing."""
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    mistakes = [mistake for source in sources for mistake in source.mistakes]
    for name in names:
        by_file = f"{name}_FILE"
        for source in sources:
            text = source.values.get(name, "")
            file = "" if by_file in names else source.values.get(by_file, "")
            if text and file:
                mistakes.append(f"{name} and {by_file} are both set ({source.called}): take one of them away")
            if file and not text:
                text, mistake = _content(file)
                if mistake:
                    mistakes.append(f"{by_file} is {shown_path(file)!r} ({source.called}), which {mistake}")
            if text or file:
                values[name] = text
                origins[name] = f"{source.called}, {by_file}" if file else source.called
                break
    return Gathered(values=values, origins=origins, mistakes=tuple(mistakes))


def toml_source(file: Path, prefixes: Mapping[str, str], names: Collection[str]) -> Source:
    """The settings of a TOML file. `prefixes` says by section what names there begin with; others are mistakes."""
    called = f"file {file}"
    try:
        with file.open("rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        return Source(called=called, values={}, mistakes=(f"{file} can't be read: {error.strerror}",))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return Source(called=called, values={}, mistakes=(f"{file} is not TOML: {error}",))
    values: dict[str, str] = {}
    mistakes: list[str] = []
    known = {*names, *(f"{name}_FILE" for name in names)}
    for section, entries in content.items():
        prefix = prefixes.get(section)
        if prefix is None or not isinstance(entries, dict):
            mistakes.append(f"{file} has {section!r}: settings stand in {_sections(prefixes)}")
            continue
        for key, value in entries.items():
            name = f"{prefix}{key.upper()}"
            if name not in known:
                mistakes.append(f"{file} has {section}.{key}, which is no setting{_like(name, prefix, names)}")
            elif _is_plain(value):
                values[name] = spelt(value)
            else:
                mistakes.append(f"{file} has {section}.{key}, whose value is neither plain nor a list of plain ones")
    return Source(called=called, values=values, mistakes=tuple(mistakes))


def shown_path(path: str) -> str:
    """A path as it may be shown: what has no slash may be the secret itself, put in the wrong place."""
    return path if "/" in path else "***"


def _content(file: str) -> tuple[str, str]:
    """The file's text, or what is wrong with the file."""
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        return "", f"can't be read: {error.strerror}"
    except UnicodeDecodeError:
        return "", "does not hold text"
    return text, "" if text else "is empty"


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str | int | float | bool) for each in value)
    return isinstance(value, str | int | float | bool)


def _sections(prefixes: Mapping[str, str]) -> str:
    return " and ".join(f"[{section}]" for section in prefixes)


def _like(name: str, prefix: str, names: Collection[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f"; is {close[0].removeprefix(prefix).lower()} meant?" if close else ""
