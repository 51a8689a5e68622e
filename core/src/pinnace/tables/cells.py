"""A JSON value as the text of a cell, and back: pure.

A text stands as it is, anything else as JSON, nothing as an empty cell. A text that could be taken for something else
(`1`, `true`, an empty one) stands as JSON, in double quotes. A text that a spreadsheet could take for a formula begins
with an apostrophe, and so does one that begins with an apostrophe itself; numbers need none.
"""

from typing import Any, Final

import msgspec

_APOSTROPHE: Final = "'"
#: How formulas begin, for one spreadsheet or another.
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r", _APOSTROPHE)


def to_cell(value: Any) -> str:
    """The text of a cell that is no formula."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if not value or value.startswith('"') or _is_json(value):
        return msgspec.json.encode(value).decode()
    return _APOSTROPHE + value if value.startswith(_DANGEROUS) else value


def from_cell(text: str) -> Any:
    """The value that `to_cell` made the text of; any other text is itself."""
    if not text:
        return None
    if text.startswith(_APOSTROPHE):
        return text[1:]
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
