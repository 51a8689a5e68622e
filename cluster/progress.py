"""Lines that say what is going on, with the seconds since the start; on stderr, so that results can be piped."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

#: Seconds of silence after which a long step says that it is still alive.
HEARTBEAT_S = 15.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Writes one line per step. `clock` gives seconds."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    quiet: bool = False
    started: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "started", self.clock())

    def say(self, text: str) -> None:
        """One step, as it begins or ends."""
        if not self.quiet:
            print(f"[{self.clock() - self.started:6.1f} s] {text}", file=self.stream, flush=True)

    def still(self, what: str, seconds: float, detail: str) -> None:
        """A sign of life from a step that began `seconds` ago."""
        self.say(f"  … {what}, {duration(seconds)}{f': {detail}' if detail else ''}")


def duration(seconds: float) -> str:
    """`45 s`, `3:20 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
