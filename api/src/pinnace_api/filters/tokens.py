"""Text to tokens, each with the column at which it begins."""

import re
from enum import StrEnum
from typing import Final

import msgspec

from pinnace_api.refusals import Invalid

#: Longer texts are refused before they are read.
MAX_LENGTH: Final = 4096

_SYMBOLS: Final = r"!=|<=|>=|!~|[=<>~(),.]"
_PATTERN: Final = re.compile(
    rf"""
    (?P<space>\s+)
  | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w/-])|-Infinity\b)
  | (?P<word>[\w/-]+)
  | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<symbol>{_SYMBOLS})
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class Kind(StrEnum):
    """What a token is."""

    NUMBER = "number"
    WORD = "word"
    QUOTED = "quoted"
    SYMBOL = "symbol"
    END = "end"


class Token(msgspec.Struct, frozen=True):
    """`text` is as it was written; for what is quoted, what it means. Columns count from 1."""

    kind: Kind
    text: str
    column: int

    def __str__(self) -> str:
        match self.kind:
            case Kind.END:
                return "the end"
            case Kind.QUOTED:
                return f"the text {self.text!r}"
            case _:
                return f"{self.text!r}"


def wrong(field: str, column: int, what: str, hint: str = "") -> Invalid:
    """The refusal of `field` that points at the place."""
    return Invalid(f"column {column}: {what}", field=field, hint=hint)


def tokens(text: str, field: str) -> list[Token]:
    """All tokens, the last of which is the END. Raises Invalid that names `field`."""
    if len(text) > MAX_LENGTH:
        raise Invalid(f"this is longer than {MAX_LENGTH} characters", field=field)
    if "\0" in text:
        raise wrong(field, text.index("\0") + 1, "text can't hold the character NUL")
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _PATTERN.match(text, at)
        if match is None:
            raise _unreadable(text, at, field)
        kind = match.lastgroup or ""
        if kind == "quoted":
            found.append(Token(Kind.QUOTED, _unquoted(match.group(), at, field), at + 1))
        elif kind != "space":
            found.append(Token(Kind(kind), match.group(), at + 1))
        at = match.end()
    found.append(Token(Kind.END, "", len(text) + 1))
    return found


def _unquoted(quoted: str, at: int, field: str) -> str:
    def meaning(escape: re.Match[str]) -> str:
        code, letter = escape.groups()
        meant = chr(int(code, 16)) if code else _ESCAPED.get(letter)
        if meant is None or meant == "\0" or "\ud800" <= meant <= "\udfff":
            column = at + 2 + escape.start()
            raise wrong(field, column, f"{escape.group()} stands for nothing", r"\\ is one backslash, \" a quote")
        return meant

    return _ESCAPE.sub(meaning, quoted[1:-1])


def _unreadable(text: str, at: int, field: str) -> Invalid:
    letter = text[at]
    if letter in "\"'":
        return wrong(field, at + 1, f"this text has no end: a {letter} is missing")
    hints = {
        "&": "say `and`",
        "|": "say `or`",
        "!": "say `not`",
        "*": "`~` finds a text inside of another",
        "`": "odd names go in double quotes",
        ";": "one filter is one expression",
    }
    return wrong(field, at + 1, f"{letter!r} means nothing here", hints.get(letter, ""))
