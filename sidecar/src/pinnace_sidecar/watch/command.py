"""`pinnace watch DIR`: a sidecar for a folder of this computer, as the person who starts it.

It goes on until Ctrl-C or SIGTERM. Then files get the time to settle that they always get, what there is is shipped,
and a summary is printed. A second Ctrl-C ends it at once: what is copied waits in the buffer for the next watch.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final
from uuid import UUID

import msgspec

from pinnace.client import ApiError, Client, credentials
from pinnace.client.settings import client_settings
from pinnace.errors import PinnaceError
from pinnace.records import FileState, PodReport
from pinnace.settings import STORE_PREFIX, ClientSettings, SettingsError, SidecarSettings, load_store
from pinnace_sidecar import log_lines
from pinnace_sidecar.assembly import API_TIMEOUT_S, open_journal, sidecar_of
from pinnace_sidecar.clock import SystemClock
from pinnace_sidecar.files import LocalVolume
from pinnace_sidecar.inotify import watcher_for
from pinnace_sidecar.upload_calls import ApiFiles
from pinnace_sidecar.watch import resumption
from pinnace_sidecar.watch.personal_api import PersonalApi, StorelessApi

_INTERRUPTED: Final = 130
_MOST_SECONDS: Final = 86_400
_EPILOG: Final = """\
The API is that of PINNACE_API_URL with your token or login. Files go to the store of PINNACE_STORE_...; where none of
these is set, the API keeps them itself.

exit codes: 0 every file is recorded   1 some are not: they are quarantined, or wait in the buffer for the next watch
  2 the command line or a setting is wrong   4 the API refused or could not be reached   130 ended by a second Ctrl-C
"""


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Returns the exit code."""
    asked = _parser().parse_args(arguments)
    log_lines.begin(asked.log_level)
    try:
        return _watch(asked, environ)
    except ApiError as error:
        return _fail(error, 4)
    except PinnaceError as error:
        return _fail(error, 2 if isinstance(error, SettingsError) else 1)
    except OSError as error:
        return _fail(error, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pinnace watch",
        description="Ship every file of DIR and record it, until Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--project", required=True)
    parser.add_argument("--experiment", required=True, metavar="NAME", help="made when there is none of this name")
    parser.add_argument("--iteration", type=UUID, metavar="ID", help="one that is there; else one is made, and ended")
    parser.add_argument("--include", action="append", metavar="GLOB", help="only such files (all)")
    parser.add_argument("--exclude", action="append", metavar="GLOB", help="not such files (*.tmp, *.part)")
    parser.add_argument(
        "--settle", type=_seconds, default=5.0, metavar="SECONDS", help="unchanged for so long: complete (5)"
    )
    parser.add_argument("--drain", type=_seconds, default=600.0, metavar="SECONDS", help="at the end, at most (600)")
    parser.add_argument(
        "--buffer", type=Path, metavar="FOLDER", help="what is on its way (~/.local/state/pinnace/watch)"
    )
    parser.add_argument("--api-url", metavar="URL")
    parser.add_argument("--token-file", metavar="FILE")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="warning")
    parser.add_argument("--json", action="store_true", help="print the summary as a JSON object")
    return parser


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (number := float(text)) <= _MOST_SECONDS:
            return number
    raise argparse.ArgumentTypeError(f"a number from 0 to {_MOST_SECONDS}")


def _watch(asked: argparse.Namespace, environ: Mapping[str, str]) -> int:
    folder = asked.folder.resolve()
    if not folder.is_dir():
        raise SettingsError(f"{asked.folder} is no folder")
    bucket = _bucket(environ)
    buffer = (asked.buffer or resumption.buffer_of(folder, environ)).resolve()
    if buffer.is_relative_to(folder):
        raise SettingsError(f"the buffer {buffer} lies in the folder that is watched", hint="name another --buffer")
    with resumption.locked(buffer), Client(_client_settings(asked), timeout=API_TIMEOUT_S) as client:
        bell = Event()
        ended = _listen_for_the_end(bell, asked.settle)
        watch = resumption.begin(
            buffer,
            folder,
            project=asked.project,
            experiment=asked.experiment,
            iteration=asked.iteration,
            bucket=bucket,
            client=client,
        )
        sys.stderr.write(
            f"watching {folder} as iteration {watch.iteration_id} of {watch.project}/{watch.experiment},"
            f" into {bucket or 'the API'}; Ctrl-C ends it\n"
        )
        report = _run(
            _settings(asked, watch, folder, buffer, client),
            environ,
            bucket=bucket,
            client=client,
            watch=watch,
            bell=bell,
            ended=ended,
        )
        if report.final:
            resumption.finish(buffer, watch, client)
    _show(report, as_json=asked.json)
    return 0 if report.final and not report.files.get(FileState.QUARANTINED) else 1


def _bucket(environ: Mapping[str, str]) -> str:
    """The bucket that files go to; empty where no store is spoken of: then the API keeps them."""
    if not any(value for name, value in environ.items() if name.startswith(STORE_PREFIX)):
        return ""
    return load_store(environ).bucket


def _client_settings(asked: argparse.Namespace) -> ClientSettings:
    return credentials.with_login(client_settings(api_url=asked.api_url, token_file=asked.token_file))


def _settings(
    asked: argparse.Namespace, watch: resumption.Watched, folder: Path, buffer: Path, client: Client
) -> SidecarSettings:
    try:
        settings = SidecarSettings(
            iteration_id=watch.iteration_id,
            pod_uid=watch.watch_id,
            artifacts_dir=str(folder),
            buffer_dir=str(watch.buffer_in(buffer)),
            settle_seconds=asked.settle,
            deduplicate=False,
            drain_timeout_seconds=asked.drain,
            api_url=client.api_url,
            health_port=0,
            log_level=asked.log_level,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if asked.include:
        settings = msgspec.structs.replace(settings, include=tuple(asked.include))
    if asked.exclude:
        settings = msgspec.structs.replace(settings, exclude=tuple(asked.exclude))
    return settings


def _run(
    own: SidecarSettings,
    environ: Mapping[str, str],
    *,
    bucket: str,
    client: Client,
    watch: resumption.Watched,
    bell: Event,
    ended: Callable[[], float | None],
) -> PodReport:
    watcher = watcher_for(own.artifacts_dir, bell.set)
    journal = open_journal(own)
    try:
        api = (PersonalApi if bucket else StorelessApi)(client, is_own=watch.is_own)
        files = None if bucket else ApiFiles(client, own.iteration_id)
        volume = LocalVolume(own.artifacts_dir)
        sidecar = sidecar_of(own, environ, journal, bell, volume=volume, watcher=watcher, api=api, files=files)
        return sidecar.run(bell, ended)
    finally:
        watcher.close()
        journal.close()


def _listen_for_the_end(bell: Event, settle_seconds: float) -> Callable[[], float | None]:
    """When the writers count as having ended: once what was there at the signal has had its time to settle."""
    signals = {signal.SIGTERM, signal.SIGINT}
    came_at: list[float] = []
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def listen() -> None:
        signal.sigwait(signals)
        sys.stderr.write("shipping what there is; once more ends it at once, and the next watch goes on\n")
        Thread(target=leave, name="second signal", daemon=True).start()
        Event().wait(settle_seconds)
        came_at.append(SystemClock().now())
        bell.set()

    def leave() -> None:
        signal.sigwait(signals)
        os._exit(_INTERRUPTED)

    Thread(target=listen, name="signals", daemon=True).start()
    return lambda: came_at[0] if came_at else None


def _show(report: PodReport, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(f"{msgspec.json.encode(report).decode()}\n")
        return
    count = report.files.get
    recorded, suspect = count(FileState.RECORDED, 0), count(FileState.SUSPECT, 0)
    lines = [
        f"recorded: {recorded + suspect} files, {report.bytes_recorded} bytes, {report.metric_points} metric points"
    ]
    if suspect:
        lines.append(f"of these suspect: {suspect}, which were still being written")
    if quarantined := count(FileState.QUARANTINED, 0):
        lines.append(f"can't be shipped: {quarantined}")
    if report.pending:
        lines.append(f"still on their way: {report.pending}; the next watch of this folder goes on")
    lines += [f"{problem.reason}: {problem.message}" for problem in report.problems]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _fail(error: Exception, code: int) -> int:
    sys.stderr.write(f"{error}\n")
    return code
