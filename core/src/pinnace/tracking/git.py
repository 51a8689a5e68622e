"""What git says of the folder that we run in. Never raises; without git, or outside of a repository, nothing."""

import subprocess
from pathlib import Path
from typing import Any, Final

from pinnace.redaction import hidden_in

MAX_DIFF_CHARACTERS: Final = 512 * 2**10
_MAX_UNTRACKED: Final = 200
_TIMEOUT_S: Final = 10.0
#: Nothing that a repository's own configuration could make git run.
_SAFE: Final = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "diff.external=", "-c", "core.pager=cat")


def describe(folder: Path) -> dict[str, Any]:
    """Commit, branch, where from, and what is not committed, as far as it can be found out."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD").strip()
    root = _git(folder, "rev-parse", "--show-toplevel").strip()
    if not root:
        return {}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=normal").splitlines()
    diff = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") if commit else ""
    untracked = [line[3:] for line in changes if line.startswith("??")]
    return {
        "commit": commit,
        "branch": _git(folder, "symbolic-ref", "--quiet", "--short", "HEAD").strip(),
        "remote": hidden_in(_git(folder, "config", "--get", "remote.origin.url").strip()),
        "root": root,
        "dirty": bool(changes),
        "diff": diff[:MAX_DIFF_CHARACTERS],
        "diff_cut": len(diff) > MAX_DIFF_CHARACTERS,
        "untracked": untracked[:_MAX_UNTRACKED],
    }


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *_SAFE, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").replace("\0", "") if done.returncode == 0 else ""
