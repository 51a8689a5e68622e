"""The documents of S3's XML, read and written. A document type is refused, and with it every entity trick."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pinnace.stores import http1
from pinnace.stores.store import Part

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Builds the tree as usual; the parser calls `doctype` before it reads any declaration."""

    def doctype(self, name: str, *_identifiers: str | None) -> None:
        raise http1.bad_answer(f"an XML document type ({name[:60]!r})")


def parse(body: bytes) -> Element:
    """The root of a document. TransientStoreError `BadAnswer` when it isn't one."""
    try:
        return ElementTree.fromstring(body, ElementTree.XMLParser(target=_WithoutDoctype()))  # noqa: S314 - no doctype
    except (ElementTree.ParseError, ValueError) as error:
        raise http1.bad_answer(f"a document that is no XML: {error}") from error


def is_error(root: Element) -> bool:
    """Whether it is an `<Error>`, whatever the status said."""
    return root.tag.rpartition("}")[2] == "Error"


def text(element: Element, name: str) -> str:
    """The text of the child `name` in any namespace; empty without one."""
    return element.findtext(f"{{*}}{name}") or ""


def required(element: Element, name: str) -> str:
    """Like `text`, but `BadAnswer` when it is missing or empty."""
    found = text(element, name)
    if not found:
        raise http1.bad_answer(f"a document without {name}")
    return found


def number(element: Element, name: str) -> int:
    """The child `name` as a number ≥ 0; `BadAnswer` when it isn't one."""
    found = text(element, name)
    if not (found.isascii() and found.isdecimal() and len(found) < 20):
        raise http1.bad_answer(f"{found[:60]!r} for {name}")
    return int(found)


def each(element: Element, name: str) -> list[Element]:
    """The children `name` in any namespace."""
    return element.findall(f"{{*}}{name}")


def is_url_encoded(root: Element) -> bool:
    """Whether a listing's keys are, as was asked for with `encoding-type=url`: only so any character survives XML."""
    return text(root, "EncodingType") == "url"


def key(element: Element, name: str, *, encoded: bool) -> str:
    """The child `name`, which is an object's key."""
    found = required(element, name)
    if not encoded:
        return found
    try:
        return unquote_plus(found, errors="strict")
    except UnicodeDecodeError as error:
        raise http1.bad_answer(f"the key {found[:60]!r}") from error


def marker(root: Element, name: str) -> str:
    """Where the page after this one begins."""
    return key(root, name, encoded=name == "NextKeyMarker" and is_url_encoded(root))


def complete_request(parts: Sequence[Part]) -> bytes:
    """The body of CompleteMultipartUpload."""
    root = Element("CompleteMultipartUpload", xmlns=_NAMESPACE)
    for part in parts:
        child = ElementTree.SubElement(root, "Part")
        fields = {"PartNumber": str(part.number), "ETag": f'"{part.etag}"', "ChecksumCRC32C": part.crc32c}
        for name, value in fields.items():
            if value is not None:
                ElementTree.SubElement(child, name).text = value
    return ElementTree.tostring(root, encoding="unicode").encode()
