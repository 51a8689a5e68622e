"""`python -m pinnace_sidecar`: serve one pod until SIGTERM, then drain and leave a report.

`--once DIR` drains a buffer that was found: it ships and registers the copies in DIR without looking at any volume,
prints the report and exits 0 when nothing is left on its way, 1 otherwise.

`status DIR` says where each file of such a buffer stands and why; it changes nothing. `watch DIR` does for a folder of
this computer what a sidecar does for a pod's volume. `credentials` hands a key for the store to a sidecar that runs.

`rescue` ships what a pod that is gone left on a volume, in that pod's name; `restore` brings a checkpoint back before a
training starts. The operator runs both.
"""

import argparse
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Final

import msgspec

from pinnace.errors import PinnaceError
from pinnace.records import PodReport
from pinnace.settings import SIDECAR_PREFIX, SidecarSettings, load
from pinnace_sidecar import handed, heap, log_lines, rescue, restore, status, summary
from pinnace_sidecar.assembly import open_journal, sidecar_of
from pinnace_sidecar.clock import SystemClock
from pinnace_sidecar.files import LocalVolume, NoVolume
from pinnace_sidecar.health import HealthServer
from pinnace_sidecar.inotify import NoWatcher, watcher_for
from pinnace_sidecar.watch import command as watch

_log = logging.getLogger("pinnace_sidecar")

#: So many objects more than were freed until the garbage collector looks through them. Almost nothing of ours refers to
#: itself, so looking for that after each 700, as Python does, found nothing and took a twentieth of the time.
_GARBAGE_AFTER: Final = 10_000
#: The variable in which a process that begins anew finds when the one before it was told to end, in seconds since the
#: epoch. Pauses are as long as that is ago.
_TOLD_AT: Final = "PINNACE_TOLD_TO_END_AT"
_SHORTEST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_COMMANDS: Final[Mapping[str, Callable[[list[str], Mapping[str, str]], int]]] = {
    "status": lambda argv, _: status.main(argv),
    "credentials": handed.main,
    "watch": watch.main,
    "rescue": lambda _, environ: rescue.main(environ),
    "restore": lambda _, environ: restore.main(environ),
}


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Run until the end; returns the exit code."""
    if argv[:1] and (command := _COMMANDS.get(argv[0])) is not None:
        return command(argv[1:], environ)
    parser = argparse.ArgumentParser(prog="pinnace_sidecar", description=__doc__)
    parser.add_argument("--once", metavar="DIR", help="drain the buffer in DIR and exit")
    arguments = parser.parse_args(argv)
    log_lines.begin("info")
    try:
        if arguments.once:
            return _drain_once(environ, Path(arguments.once))
        return _serve(environ)
    except PinnaceError as error:
        _log.error("can't go on", extra={"error": str(error)})
    except Exception:  # noqa: BLE001
        # Everything that matters is on disk: the next process goes on from there.
        _log.exception("ended by a defect or by its own disk")
    return 1


def _serve(environ: Mapping[str, str]) -> int:
    heap.share()
    bell = Event()
    told_at = float(environ[_TOLD_AT]) if _TOLD_AT in environ else None
    ended = _listen_for_the_end(bell, told_at)
    own = load(SidecarSettings, environ, SIDECAR_PREFIX)
    drain_seconds = own.drain_timeout_seconds
    if told_at is not None:
        left = told_at + drain_seconds - SystemClock().now()
        own = msgspec.structs.replace(own, drain_timeout_seconds=max(0.0, left))
    try:
        report = _run(own, environ, bell, ended)
    except PinnaceError:
        raise
    except Exception:
        if (told_at := ended()) is not None:
            _begin_anew(environ, told_at, told_at + drain_seconds)
        raise
    summary.leave(Path(own.termination_message), report)
    return 0


def _run(own: SidecarSettings, environ: Mapping[str, str], bell: Event, ended: Callable[[], float | None]) -> PodReport:
    watcher = watcher_for(own.artifacts_dir, bell.set)
    journal = open_journal(own)
    sidecar = sidecar_of(own, environ, journal, bell, volume=LocalVolume(own.artifacts_dir), watcher=watcher)
    health = HealthServer(own.health_port, lambda: sidecar.status, SystemClock().monotonic) if own.health_port else None
    gc.freeze()  # what is there now stays
    gc.set_threshold(_GARBAGE_AFTER)
    _log.info("serving", extra={"volume": own.artifacts_dir, "pod": own.pod_uid, "iteration": str(own.iteration_id)})
    try:
        return sidecar.run(bell, ended)
    finally:
        if health is not None:
            health.close()
        watcher.close()
        journal.close()


def _begin_anew(environ: Mapping[str, str], told_at: float, until: float) -> None:
    """Become a new process, or return when there is no time left: nobody else starts one when a pod is about to go."""
    now = SystemClock().now()
    pause = min(max(now - told_at, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
    if now + pause < until:
        _log.exception("begins anew: nobody else would, for the pod is about to go", extra={"in_seconds": pause})
        Event().wait(pause)
        os.execve(sys.executable, sys.orig_argv, {**environ, _TOLD_AT: str(told_at)})  # noqa: S606


def _drain_once(environ: Mapping[str, str], buffer_dir: Path) -> int:
    own = msgspec.structs.replace(load(SidecarSettings, environ, SIDECAR_PREFIX), buffer_dir=str(buffer_dir))
    bell = Event()
    journal = open_journal(own)
    try:
        sidecar = sidecar_of(own, environ, journal, bell, volume=NoVolume(), watcher=NoWatcher())
        report = sidecar.drain_copies(bell)
    finally:
        journal.close()
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    return 1 if report.pending else 0


def _listen_for_the_end(bell: Event, told_at: float | None) -> Callable[[], float | None]:
    """Wait for SIGTERM or SIGINT in a thread: a handler could not ring a bell that its own thread is waiting for.

    Returns what says when it came: by then the writers had ended, however long a start or a pass takes just now.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    came_at = [] if told_at is None else [told_at]
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def listen() -> None:
        signal.sigwait(signals)
        came_at.append(SystemClock().now())
        bell.set()

    Thread(target=listen, name="signals", daemon=True).start()
    return lambda: came_at[0] if came_at else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
