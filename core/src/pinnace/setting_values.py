"""A setting's value as text: read, spelt out, and what it may be in words. Pure; knows no setting in particular."""

import re
from typing import Annotated, Any, Final, Literal, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import Meta

#: `Annotated[str, Meta(extra=SECRET)]`: nobody is ever shown the value.
SECRET: Final = {"secret": True}

_PLAIN: Final = {bool: "true or false", int: "a whole number", float: "a number", UUID: "a UUID"}
_ONE_OF: Final = re.compile(r"\^\(([\w|-]+)\)\$")


def parse(text: str, hint: Any) -> Any:
    """The value of type `hint` that `text` spells. Lists are JSON; a plain word is a list of one.

    Raises ValueError (msgspec's errors are some).
    """
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(plain) is tuple:
        value = msgspec.json.decode(text) if text.startswith("[") else [text]
        return msgspec.convert(value, hint)
    return msgspec.convert(text, hint, strict=False)


def spelt(value: Any) -> str:
    """The text from which `parse` makes `value`."""
    return msgspec.json.encode(value).decode() if isinstance(value, tuple | list | bool) else str(value)


def is_secret(hint: Any) -> bool:
    """Whether the type says that nobody is to see the value."""
    return any(isinstance(note, Meta) and (note.extra or {}).get("secret") for note in _notes(hint))


def expected(hint: Any) -> str:
    """What a value of type `hint` may be, for a person: `a whole number from 0 to 65535`."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    meta = next((note for note in _notes(hint) if isinstance(note, Meta)), Meta())
    if get_origin(plain) is Literal:
        words = f"one of {', '.join(get_args(plain))}"
    elif get_origin(plain) is tuple:
        words = f"a JSON list, each {expected(get_args(plain)[0])}"
    elif plain in _PLAIN:
        words = _PLAIN[plain] + _range(meta)
    else:
        words = _text(meta)
    return words


def _text(meta: Meta) -> str:
    if meta.description:
        return meta.description
    if meta.pattern and (words := _ONE_OF.fullmatch(meta.pattern)):
        return f"one of {', '.join(word for word in words[1].split('|') if word)}"
    if meta.pattern:
        return f"text like {meta.pattern}"
    return "text" if meta.max_length is None else f"text of at most {meta.max_length} characters"


def _notes(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _range(meta: Meta) -> str:
    above, least, most = meta.gt, meta.ge, meta.le
    if least is not None and most is not None:
        return f" from {least:g} to {most:.15g}"
    parts = [
        "" if above is None else f"above {above:g}",
        "" if least is None else f"at least {least:g}",
        "" if most is None else f"at most {most:.15g}",
    ]
    return "".join(f" {part}" for part in [" and ".join(part for part in parts if part)] if part)
