"""What is needed to do a run again: the `environment` of an iteration. Found out beside the training; never raises."""

import getpass
import logging
import platform
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from pinnace.redaction import hidden_arguments
from pinnace.tracking import git

#: Taken as they are, from the folder that we run in and the repository's.
_LOCK_FILES: Final = (
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pixi.lock",
    "conda-lock.yml",
    "environment.yml",
    "pylock*.toml",
    "requirements*.txt",
)
_MAX_FILE_BYTES: Final = 2 * 2**20
_MAX_FILES_BYTES: Final = 8 * 2**20

_log = logging.getLogger(__name__)


def capturing(record: Callable[[Mapping[str, Any]], None]) -> threading.Thread:
    """A thread that finds it out and records it; command and folder are those of this moment."""
    argv, entry = list(sys.orig_argv), _entry_point()
    folder = _folder()

    def run() -> None:
        try:
            record(describe(argv, entry, folder))
        except Exception:  # noqa: BLE001 - no training ends for a defect of ours
            _log.exception("environment.not-captured")

    return threading.Thread(target=run, name="pinnace-capture", daemon=True)


def describe(argv: list[str], entry: str, folder: Path) -> dict[str, Any]:
    """All of it, as far as it can be found out."""
    repository = git.describe(folder)
    folders = [folder, *([Path(repository["root"])] if repository else [])]
    files, left_out = _lock_files(folders)
    return {
        "command": {"argv": hidden_arguments(argv), "entry_point": entry, "folder": str(folder)},
        "git": repository,
        "lock_files": files,
        "lock_files_left_out": left_out,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "packages": _packages(),
        "machine": {
            "system": platform.system(),
            "release": platform.release(),
            "architecture": platform.machine(),
            "distribution": _distribution(),
            "host": platform.node(),
            "user": _user(),
        },
    }


def _entry_point() -> str:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return f"-m {spec.name}"
    file = getattr(main, "__file__", None)
    return str(Path(file).absolute()) if file else ""


def _folder() -> Path:
    try:
        return Path.cwd()
    except OSError:
        return Path("/")  # ours is deleted


def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-"), distribution.version)
    return dict(sorted(found.items()))


def _lock_files(folders: list[Path]) -> tuple[dict[str, str], list[str]]:
    files: dict[str, str] = {}
    left_out: list[str] = []
    room = _MAX_FILES_BYTES
    for folder in dict.fromkeys(folders):
        for path in sorted(path for pattern in _LOCK_FILES for path in folder.glob(pattern)):
            name = path.name if folder == folders[0] else str(path)
            with suppress(OSError):
                size = path.stat().st_size
                if size > min(_MAX_FILE_BYTES, room):
                    left_out.append(name)
                    continue
                files[name] = path.read_text("utf-8", errors="replace").replace("\0", "")
                room -= size
    return files, left_out


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
