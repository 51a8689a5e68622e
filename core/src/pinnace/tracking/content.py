"""What a file or a folder holds, as one digest."""

import hashlib
from pathlib import Path


def content_sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder that of the lines `<sha256>  <path>` of its files, by path. Raises OSError.

    The latter is `sha256sum` of what `find . -type f -printf '%P\\0' | sort -z | xargs -0 sha256sum` prints.
    """
    if not path.is_dir():
        return _of_file(path)
    files = sorted((each.relative_to(path).as_posix(), each) for each in path.rglob("*") if each.is_file())
    lines = "".join(f"{_of_file(file)}  {name}\n" for name, file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
