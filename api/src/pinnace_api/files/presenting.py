"""How a content is shown to a browser, which must never take it for a page of this API. Pure.

Whoever runs an experiment chooses name and type. Nothing is guessed (nosniff), nothing that a browser would carry out
is shown in place (only the types below are), and what is opened all the same has no origin and no scripts (sandbox).
"""

import mimetypes
import re
from typing import Final
from urllib.parse import quote

from pinnace_api.refusals import Invalid

#: Types that browsers show and don't carry out.
_SHOWN: Final = frozenset(
    {
        "application/json",
        "application/pdf",
        "audio/flac",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/markdown",
        "text/plain",
        "video/mp4",
        "video/ogg",
        "video/webm",
    }
)
_TEXTS: Final = frozenset({"text/csv", "text/markdown", "text/plain"})
_UNKNOWN: Final = "application/octet-stream"
_TYPE: Final = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9_.-]+=[A-Za-z0-9_.:+-]+)*", re.ASCII
)
#: What clients send when they don't know.
_MEANINGLESS: Final = frozenset({"", _UNKNOWN, "application/x-www-form-urlencoded"})
_PLAIN: Final = re.compile(r"[^A-Za-z0-9 !#$&+.^_`~()\[\]{}=,@-]")
#: The machine's own tables would answer differently from machine to machine.
_TABLE: Final = mimetypes.MimeTypes()
_OURS: Final = {
    ".csv": "text/csv",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


def type_to_keep(sent: str, path: str) -> str:
    """The content type that an upload is recorded with. Raises Invalid for one that is none."""
    sent = sent.strip()
    if sent.lower() not in _MEANINGLESS:
        if len(sent) > 250 or not _TYPE.fullmatch(sent):
            raise Invalid("this is no content type", field="content-type", hint="example: text/csv; charset=utf-8")
        return sent
    name = path.rpartition("/")[2]
    suffix = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    if suffix in _OURS:
        return _OURS[suffix]
    guessed, encoding = _TABLE.guess_type(f"x{suffix}", strict=True)
    return guessed if guessed and not encoding else ""


def headers_for(path: str, content_type: str) -> dict[str, str]:
    """What tells a browser how to treat it."""
    essence = content_type.partition(";")[0].strip().lower()
    shown = content_type or _UNKNOWN
    if essence in _TEXTS and "charset" not in content_type.lower():
        shown = f"{content_type}; charset=utf-8"
    return {
        "content-type": shown,
        "content-disposition": disposition(path, is_shown=essence in _SHOWN),
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "cache-control": "private, no-cache",
        "vary": "authorization, cookie",
    }


def disposition(path: str, *, is_shown: bool) -> str:
    """Content-Disposition (RFC 6266) with the path's last part: in ASCII, and exactly where that isn't the same."""
    name = path.rpartition("/")[2]
    plain = _PLAIN.sub("_", name).strip()
    if plain.strip("._ ") == "":
        plain = "download"
    exact = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='!#$&+^`|')}"
    return f'{"inline" if is_shown else "attachment"}; filename="{plain}"{exact}'
