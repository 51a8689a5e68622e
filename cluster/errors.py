"""What can go wrong, and what a program that calls us reads off the exit code."""

from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """Exit codes of `python3 -m cluster`; `run` passes its command's own code on."""

    #: It is done (or there was nothing to do).
    DONE = 0
    #: A step failed; the message says which, why, and where its log is. Trying again is safe.
    FAILED = 1
    #: The command line or a variable makes no sense; nothing was touched.
    USAGE = 2
    #: Something is missing that we can't bring along; the message says what to install or start.
    MISSING = 3
    #: There is no cluster, and the verb needs one.
    DOWN = 4
    #: Ended by Ctrl-C or a signal; `down` cleans whatever is left.
    INTERRUPTED = 130


class ClusterError(Exception):
    """What failed and why, in one sentence; `hint` says what to do; `log` is the file with the whole story, if any."""

    def __init__(self, what: str, *, hint: str, log: Path | None = None, code: Exit = Exit.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.log = log
        self.code = code

    def __str__(self) -> str:
        lines = [self.what, f"What to do: {self.hint}"]
        if self.log is not None:
            lines.append(f"Log: {self.log}")
        return "\n".join(lines)
