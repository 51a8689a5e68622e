"""Values that JSON can hold, as YAML for people and for kubectl. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
#: Words that some reader takes for something else than text.
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def yaml(value: Any) -> str:
    """With a line feed at its end."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _after(f"{_text(str(name))}:", part, "  " if isinstance(part, Mapping) else "")
    elif isinstance(value, list | tuple) and value:
        for part in value:
            first, *others = _lines(part)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)
    else:
        yield _scalar(value)


def _after(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple) and value:
        yield head
        yield from (f"{indent}{line}" for line in _lines(value))
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case Mapping() | list() | tuple():
            return "{}" if isinstance(value, Mapping) else "[]"
        case float():
            text = repr(value)
            # Without a point not every reader takes 1e-05 for a number.
            return text if "." in text else text.replace("e", ".0e")
        case _:
            return str(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return f'"{"".join(_ESCAPES.get(letter) or _visible(letter) for letter in text)}"'


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"
