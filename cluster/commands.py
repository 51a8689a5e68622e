"""Running other programs: short ones for their answer, long ones with a log file and signs of life.

Each long one leads a process group of its own, so an interrupt ends it with all its children. And each carries a mark
in its environment that says who started it, so `down` finds those whose starter was killed, and their children.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster.errors import ClusterError, Exit
from cluster.processes import Process, end, marked
from cluster.progress import HEARTBEAT_S, Progress

#: In the environment of each long command: who started it, as `pid start`.
MARK = "PINNACE_CLUSTER_STARTED_BY"
#: Seconds that a program gets to end by itself after SIGTERM.
GRACE_S = 10.0
#: Seconds that a short command may take.
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """How programs are run: with this environment, logs and notes in these folders."""

    progress: Progress
    environment: Mapping[str, str]
    logs: Path

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        doing: str,
        hint: str,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stdin: Path | None = None,
        detail: Callable[[str], str] | None = None,
    ) -> Path:
        """Run to the end and return the log. `detail` makes a few words of the log for the signs of life.

        Raises ClusterError with the log's last words when it exits non-zero.
        """
        log = self.logs / f"{doing.replace(' ', '-').replace('/', '-')[:60]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output, contextlib.ExitStack() as stack:
            source = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            environment = {**self.environment, **(environment or {})}
            with self._started(argv, environment=environment, folder=folder, stdin=source, output=output) as process:
                started = said = time.monotonic()
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        code = process.wait(1.0)
                        break
                    if time.monotonic() - said >= HEARTBEAT_S:
                        said = time.monotonic()
                        self.progress.still(doing, said - started, (detail or last_words)(text_of(log))[:100])
        if code:
            raise ClusterError(f"{doing} failed (exit code {code}): {last_words(text_of(log))}", hint=hint, log=log)
        return log

    @contextmanager
    def _started(
        self,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path | None,
        stdin: IO[bytes] | int,
        output: IO[bytes],
    ) -> Iterator[subprocess.Popen[bytes]]:
        try:
            process = subprocess.Popen(
                [str(word) for word in argv],
                env={**environment, MARK: str(Process.of(os.getpid()) or "")},
                cwd=folder,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except FileNotFoundError as missing:
            raise not_found(argv[0]) from missing
        try:
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(GRACE_S)

    def answer(self, *argv: str | Path, timeout_s: float = ANSWER_S) -> str:
        """What a short command prints. Raises ClusterError with what it said when it fails or takes too long."""
        asked = " ".join(str(word) for word in argv)
        try:
            done = subprocess.run(
                [str(word) for word in argv], env=self.environment, capture_output=True, text=True, check=False,
                stdin=subprocess.DEVNULL, timeout=timeout_s,
            )  # fmt: skip
        except FileNotFoundError as missing:
            raise not_found(argv[0]) from missing
        except subprocess.TimeoutExpired as late:
            raise ClusterError(f"`{asked}` gave no answer for {timeout_s:.0f} s", hint="see whether it hangs") from late
        if done.returncode:
            words = last_words(done.stderr) or last_words(done.stdout) or f"exit code {done.returncode}"
            raise ClusterError(f"`{asked}` failed: {words}", hint="run it by hand to see more")
        return done.stdout.strip()

    def try_answer(self, *argv: str | Path, timeout_s: float = ANSWER_S) -> str | None:
        """The same, with None instead of an error."""
        try:
            return self.answer(*argv, timeout_s=timeout_s)
        except ClusterError:
            return None


def need_go(commands: Commands, why: str, hint: str) -> None:
    """Raises ClusterError where Go is not on the PATH; `why` says what for, as the beginning of a sentence about Go."""
    if shutil.which("go", path=commands.environment.get("PATH")) is None:
        raise ClusterError(f"{why} is not on the PATH", hint=hint, code=Exit.MISSING)


def end_orphans(mark: str = MARK) -> int:
    """End what our long commands left running when we were killed; returns how many processes that were."""
    orphans = [process for process, starter in marked(mark) if not _alive(starter)]
    end(orphans, grace_s=GRACE_S / 2)
    return len(orphans)


def _alive(starter: str) -> bool:
    process = Process.parse(starter)
    return process is not None and process.alive()


def not_found(program: str | Path) -> ClusterError:
    """The error for a program that isn't there."""
    return ClusterError(f"{program} is not on the PATH", hint=f"install {program}", code=Exit.MISSING)


def text_of(log: Path) -> str:
    """A log's text; programs write any bytes."""
    return log.read_text(encoding="utf-8", errors="replace")


def last_words(text: str) -> str:
    """The last line that says something, cut to a readable length."""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
