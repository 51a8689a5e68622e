"""Names of files for people, made of names that whoever ran an experiment chose: pure.

No name leads elsewhere, and what can't be in a name on some file system is spelled `%XX`.
"""

import hashlib
import re
from typing import Final

_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%]')
#: The most bytes of a name on the usual file systems, with room for what is put behind.
_NAME_BYTES: Final = 200


def safe(name: str) -> str:
    """`name` as one part of a path on any file system; two names never become one."""
    text = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)
    if text in ("", ".", "..") or text[-1] in ". ":
        text = f"{text[:-1]}%{ord(text[-1]):02X}" if text else "%"
    if len(text.encode()) > _NAME_BYTES:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        text = f"{text.encode()[: _NAME_BYTES - 20].decode(errors='ignore')}%~{digest}"
    return text


def safe_path(path: str, sha256: str = "") -> tuple[str, ...]:
    """The parts of an artifact's path; with the digest of an earlier content, which then stands before the suffix."""
    *folders, name = (safe(part) for part in path.split("/"))
    if sha256:
        stem, dot, suffix = name.partition(".") if not name.startswith(".") else (name, "", "")
        name = f"{stem}~{sha256[:12]}{dot}{suffix}"
    return (*folders, name)
