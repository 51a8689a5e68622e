"""Commands that another part of Pinnace answers: as a process of its own, because this one knows none of them."""

import subprocess
import sys
from importlib.util import find_spec

from pinnace.errors import PinnaceError


def run_part(part: str, *arguments: str) -> int:
    """Run `python -m pinnace_PART` on our terminal; its exit code. Raises PinnaceError when it is not installed."""
    package = f"pinnace_{part}"
    if find_spec(package) is None:
        raise PinnaceError(f"the {part} is not installed here", hint=f"pip install 'pinnace[{part}]'")
    return subprocess.run([sys.executable, "-m", package, *arguments], check=False).returncode
