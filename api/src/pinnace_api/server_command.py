"""`pinnace server` and `python -m pinnace_api`: parse, read the settings, serve until asked to end."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from pinnace.settings import SettingsError
from pinnace_api import configuration, logs, migrations, serving
from pinnace_api.app import create_app, database_of
from pinnace_api.configuration import Configuration
from pinnace_api.database import Database
from pinnace_api.identity import NoKubernetes, TokenReviewer
from pinnace_api.migrations import WrongDatabase
from pinnace_api.refusals import Unavailable
from pinnace_api.settings import PREFIX, ApiSettings

_EPILOG: Final = f"""\
settings: options, then PINNACE_API_... and PINNACE_STORE_... of the environment, then the settings file, then what
--data says, then defaults. NAME_FILE in place of NAME names a file that holds the value.

exit codes: 0 it was asked to end (SIGTERM, Ctrl-C)   2 the command line or a setting is wrong: a line says which, what
it is and what it may be   3 the start failed: the address is in use, the database can't be used or is newer
({configuration.FILE_VARIABLE} names the settings file where --config doesn't)
"""


def main(arguments: Sequence[str], environ: Mapping[str, str], *, at_home: bool) -> int:
    """Returns the exit code. `at_home`: on a person's computer, with a folder of theirs for data and settings."""
    asked = _parser(at_home=at_home).parse_args(arguments)
    try:
        configured = _configured(asked, environ, at_home=at_home)
        reviewer = _reviewer(configured.settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if asked.print_config:
        _print(configured, as_json=asked.json)
        return 0
    logs.configure(configured.settings.log_level, configured.settings.log_format)
    return _serve(configured.settings, reviewer, at_home=at_home)


def _parser(*, at_home: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pinnace server" if at_home else "python -m pinnace_api",
        description="Serve the metadata API and everything that it needs, until SIGTERM or Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    configuration.add_options(parser)
    parser.add_argument("--host", metavar="ADDRESS", help="where to listen" + (" (127.0.0.1)" if at_home else ""))
    parser.add_argument("--port", metavar="PORT", help="0: any that is free (8080)")
    parser.add_argument(
        "--print-config", action="store_true", help="show each setting and where it comes from; then end"
    )
    parser.add_argument("--json", action="store_true", help="with --print-config: JSON lines")
    return parser


def _configured(asked: argparse.Namespace, environ: Mapping[str, str], *, at_home: bool) -> Configuration:
    data, file = asked.data, asked.config
    if at_home:
        data = data or configuration.data_folder(environ)
        file = file or configuration.file_at_home(environ)
    if data is not None and not asked.print_config:
        _make(data)
    options = {f"{PREFIX}{name.upper()}": given for name in ("host", "port") if (given := getattr(asked, name))}
    return configuration.configured(environ, options=options, file=file, data=data, surroundings=not asked.print_config)


def _make(data: Path) -> None:
    try:
        os.umask(0o077)  # also where the folder is there already, and open to others
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--data is {str(data)!r}, which can't be made: {error.strerror}") from error


def _print(configured: Configuration, *, as_json: bool) -> None:
    if as_json:
        for each in configured.listing:
            sys.stdout.write(f"{msgspec.json.encode(each).decode()}\n")
        return
    width = max(len(each.name) for each in configured.listing)
    for each in configured.listing:
        sys.stdout.write(f"{each.name:{width}}  {each.value or '-'}  ({each.origin})\n")


def _serve(settings: ApiSettings, reviewer: TokenReviewer, *, at_home: bool) -> int:
    # uvicorn raises the signal that ended it once more: that is what was asked for, so it is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    database = database_of(settings)
    try:
        bound = serving.listener(settings)
    except OSError as error:
        return _refuse(f"can't listen at {settings.host}, port {settings.port}: {error.strerror}")
    with bound:
        if refusal := _refusal_of(database):
            return _refuse(refusal)
        say = sys.stdout.write if at_home else sys.stderr.write
        app = create_app(settings, reviewer=reviewer, announce=say, database=database)
        server = serving.Server(app, settings, started=_greeting(bound, say) if at_home else lambda: None)
        server.run(sockets=[bound])
    return 0 if server.started else 3


def _greeting(bound: socket.socket, say: Callable[[str], object]) -> Callable[[], object]:
    def greet() -> None:
        url = serving.url_of(bound)
        elsewhere = "" if url.endswith(":8080") else f"Tell the other commands: export PINNACE_API_URL={url}\n"
        say(f"Pinnace serves {url} (Ctrl-C ends it)\n{elsewhere}")
        sys.stdout.flush()

    return greet


def _refusal_of(database: Database) -> str:
    """Brings the tables up to date; why that can't be, in a sentence."""
    try:
        migrations.upgrade(database)
    except WrongDatabase as error:
        refusal = str(error)
    except Unavailable as error:
        refusal = f"{error.detail} ({error.hint})"
    else:
        return ""
    database.close()
    return refusal


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 3


def _reviewer(settings: ApiSettings) -> TokenReviewer:
    if not settings.kubernetes:
        return NoKubernetes()
    from kubernetes.config import ConfigException  # noqa: PLC0415 - large, and only needed here

    from pinnace_api.cluster import KubernetesReviewer  # noqa: PLC0415

    try:
        return KubernetesReviewer.from_surroundings()
    except ConfigException as error:
        raise SettingsError(
            f"{PREFIX}KUBERNETES is true, but there is no Kubernetes to ask: {error}",
            hint="run in a pod with a service account, or switch it off",
        ) from error
