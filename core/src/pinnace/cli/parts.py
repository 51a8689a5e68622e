"""Commands that another part of Pinnace answers: as a process of its own, because this one knows none of them."""

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import NoReturn

from pinnace.errors import PinnaceError


def run_part(part: str, *arguments: str) -> int:
    """Run `python -m pinnace_PART` on our terminal; its exit code. Raises PinnaceError when it is not installed."""
    return subprocess.run(_command(part, arguments), check=False).returncode


def become_part(part: str, *arguments: str) -> NoReturn:
    """As `run_part` in place of this process, for what goes on until a signal ends it: that must not stop here."""
    command = _command(part, arguments)
    os.execv(command[0], command)  # noqa: S606 - arguments are ours


def _command(part: str, arguments: tuple[str, ...]) -> list[str]:
    package = f"pinnace_{part}"
    if find_spec(package) is None:
        raise PinnaceError(f"the {part} is not installed here", hint=f"pip install 'pinnace[{part}]'")
    return [sys.executable, "-m", package, *arguments]
