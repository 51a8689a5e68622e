"""`python -m pinnace_api artifacts migrate|gc|verify|retention|export`: artifacts' bytes, by the API's settings."""

import argparse
import getpass
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace.errors import PinnaceError
from pinnace.records import Backend
from pinnace.settings import SettingsError
from pinnace_api import configuration, migrations
from pinnace_api.app import database_of
from pinnace_api.clock import now
from pinnace_api.database import Database
from pinnace_api.maintenance import collecting, exporting, moving, verifying
from pinnace_api.refusals import Refused, Unavailable
from pinnace_api.retention import applying
from pinnace_api.storage.storage import Storage, storage_of

#: Ten years; the calendar ends somewhere before.
_MOST_HOURS: Final = 87_600
_EPILOG: Final = """\
The settings are those of the API (PINNACE_API_..., PINNACE_STORE_..., --config, --data): run it where the API runs.
The API may run too.

exit codes: 0 all is well   1 something was found or could not be done: the output says what, the rest was done
  2 the command line or a setting is wrong   3 the database can't be used
"""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Returns the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        settings = configuration.from_options(asked, environ)
        database = database_of(settings)
    except SettingsError as error:
        return _fail(str(error), 2)
    storage = storage_of(settings, database)
    try:
        _must_be_there(database)
        migrations.upgrade(database)
        outcome, is_well = asked.run(asked, database, storage)
    except SettingsError as error:
        return _fail(str(error), 2)
    except PinnaceError as error:
        return _fail(str(error), 3)
    except Refused as refused:
        return _fail(f"{refused.detail} ({refused.hint})", 3)
    finally:
        storage.close()
        database.close()
    sys.stdout.write(f"{msgspec.json.encode(outcome).decode()}\n" if asked.json else _text(outcome))
    return 0 if is_well else 1


def _must_be_there(database: Database) -> None:
    """SQLite would make one, and all would be well with it. Raises Unavailable."""
    if database.is_sqlite and not (file := Path(database.engine.url.database or "").absolute()).is_file():
        raise Unavailable(f"there is no database {file}", hint="--data or --config says where the API has its own")


def _migrate(asked: argparse.Namespace, database: Database, storage: Storage) -> tuple[Any, bool]:
    to = storage.named(Backend(asked.to))
    if to is None:
        raise SettingsError(f"{asked.to} is not configured", hint="PINNACE_API_ARTIFACTS_DIR or PINNACE_STORE_BUCKET")
    moved = moving.move(
        database,
        storage,
        to,
        workers=asked.workers,
        dry_run=asked.dry_run,
        progress=_progress(lambda each: f"{each.objects} objects, {each.bytes} bytes moved"),
    )
    return moved, not moved.failures


def _gc(asked: argparse.Namespace, database: Database, storage: Storage) -> tuple[Any, bool]:
    moment = now()
    before = moment - timedelta(hours=asked.grace_hours)
    collected = collecting.collect(
        database, storage, now=moment, before=before, dry_run=asked.dry_run, sidecars=asked.sidecars
    )
    return collected, not collected.failures


def _verify(asked: argparse.Namespace, database: Database, storage: Storage) -> tuple[Any, bool]:
    progress = _progress(lambda each: f"{each.artifacts} artifacts, {each.bytes} bytes looked at")
    verified = verifying.verify(database, storage, sizes_only=asked.sizes_only, progress=progress)
    return verified, not (verified.missing or verified.corrupt or verified.unreachable)


def _export(asked: argparse.Namespace, database: Database, storage: Storage) -> tuple[Any, bool]:
    exported = exporting.export(
        database,
        storage,
        asked.folder,
        experiment=asked.experiment,
        iteration=asked.iteration,
        versions=asked.versions,
        progress=_progress(lambda each: f"{each.files} files, {each.bytes} bytes written"),
    )
    return exported, not exported.failures


def _retention(asked: argparse.Namespace, database: Database, storage: Storage) -> tuple[Any, bool]:
    outcome = applying.apply(
        database,
        storage,
        now=now(),
        by=f"command:{getpass.getuser()}",
        project=asked.project,
        dry_run=asked.dry_run,
        each=asked.each,
        progress=_progress(lambda each: f"{sum(one.artifacts for one in each.policies)} artifacts"),
    )
    return outcome, outcome.complete and not outcome.failures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pinnace")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, prog: str, run: Callable[..., object], text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(
            name,
            prog=f"pinnace {prog}",
            description=text,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="print the outcome as a JSON object")
        configuration.add_options(made)
        return made

    migrate = command("migrate", "migrate-artifacts", _migrate, _MIGRATE)
    places = [Backend.INLINE.value, Backend.FILESYSTEM.value, Backend.S3.value]
    migrate.add_argument("--to", required=True, choices=places, help="where everything is to lie")
    migrate.add_argument("--workers", type=_positive, default=moving.DEFAULT_WORKERS, help="objects at a time (4)")
    migrate.add_argument("--dry-run", action="store_true", help="only say how much there is to move")
    gc = command("gc", "gc", _gc, _GC)
    gc.add_argument("--grace-hours", type=_hours, default=24.0, help="how old rubbish must be (24)")
    gc.add_argument("--sidecars", action="store_true", help="also objects of sidecars that nobody registered")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    verify = command("verify", "verify", _verify, _VERIFY)
    verify.add_argument("--sizes-only", action="store_true", help="read no bytes")
    retention = command("retention", "retention apply", _retention, _RETENTION)
    retention.add_argument("--project", metavar="NAME", help="of this project only")
    retention.add_argument("--dry-run", action="store_true", help="only say what would be removed, and what stays why")
    retention.add_argument("--each", action="store_true", help="name each iteration and version, and why it stays")
    export = command("export", "export", _export, _EXPORT)
    export.add_argument("folder", type=Path, metavar="DIR")
    export.add_argument("--experiment", type=UUID, metavar="ID", help="of this experiment only")
    export.add_argument("--iteration", type=UUID, metavar="ID", help="of this iteration only")
    export.add_argument("--versions", action="store_true", help="earlier contents of a path too")
    return parser


_MIGRATE: Final = """\
Moves the bytes of all artifacts to one backend. Each copy is compared with its recorded digest before a row
names it, and the old bytes are removed afterwards. Kill it at any time: the same command goes on. A row that
fails is left as it was.
"""
_GC: Final = """\
Removes the bytes of deleted artifacts, uploads whose time is over, and what killed writers left. The grace time must be
longer than the longest upload takes.
"""
_VERIFY: Final = """\
Compares the bytes of all artifacts with what was recorded. Exits 1 when some are missing, corrupt or out of reach.
"""
_RETENTION: Final = """\
Removes what the retention policies in force say (`pinnace retention list` shows them). Kill it at any time: the same
command goes on. Exits 1 also while another process is at it.
"""
_EXPORT: Final = """\
Copies artifacts into DIR, as EXPERIMENT-ID/NUMBER/PATH. What is there and right is not copied again.
"""


def _progress(say: Callable[[Any], str]) -> Callable[[Any], None]:
    def tell(outcome: Any) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{say(outcome)}")

    return tell


def _text(outcome: Any) -> str:
    lines = []
    for field in msgspec.structs.fields(outcome):
        value = getattr(outcome, field.name)
        name = field.name.replace("_", " ")
        lines.append(f"{name}: {len(value) if isinstance(value, list) else value}")
        if isinstance(value, list):
            lines += [f"  {' '.join(_line(each).split())}" for each in value]
    return "\n".join([*lines, ""])


def _line(each: Any) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(each))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _hours(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (number := float(text)) <= _MOST_HOURS:
            return number
    raise argparse.ArgumentTypeError(f"a number from 0 to {_MOST_HOURS}")


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"{' '.join(sentence.split())}\n")
    return code
