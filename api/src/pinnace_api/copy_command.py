"""`python -m pinnace_api db copy`, which `pinnace db copy` runs: parsing and printing only."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy

from pinnace.errors import PinnaceError
from pinnace.settings import SettingsError
from pinnace_api.copying import OtherRows, TableCopied, compare, copy
from pinnace_api.database import Database
from pinnace_api.refusals import Unavailable
from pinnace_api.settings import check_database_url

#: A statement of a copy reads a whole table.
_STATEMENT_SECONDS: Final = 3600.0
_DESCRIPTION: Final = """\
Copies every row, with its id, from one database of the metadata API into another: SQLite and PostgreSQL in any
direction. The source is not changed and may be in use; what is written to it meanwhile stays behind, so stop the API
first. The target must be empty, or hold a copy of the same source that broke off: the same command goes on with it.
Artifacts' bytes stay where they are.
"""
_EPILOG: Final = """\
URL is sqlite:///FILE, postgresql://USER@HOST/DATABASE or @FILE, a file that holds one; a password is better kept there,
or in PGPASSFILE, than on a command line.

exit codes: 0 both are equal (--dry-run: can be copied)   1 the target holds other rows   2 the command line is wrong
  3 a database can't be used, or is of another version
"""


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    source: str
    target: str
    dry_run: bool
    tables: tuple[TableCopied, ...]


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        source_url, target_url = _urls(asked)
        source = Database(source_url, connections=1, statement_seconds=_STATEMENT_SECONDS)
        target = Database(target_url, connections=2, statement_seconds=_STATEMENT_SECONDS)
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        return _fail(str(error), 2)
    try:
        tables = compare(source, target) if asked.dry_run else copy(source, target, _progress)
    except OtherRows as error:
        return _fail(str(error), 1)
    except PinnaceError as error:
        return _fail(str(error), 3)
    except Unavailable as error:
        cause = f": {error.__cause__.orig}" if isinstance(error.__cause__, sqlalchemy.exc.DBAPIError) else ""
        return _fail(f"{error.detail}{cause}", 3)
    finally:
        source.close()
        target.close()
    answer = _Answer(source=shown(source_url), target=shown(target_url), dry_run=asked.dry_run, tables=tables)
    sys.stdout.write(f"{msgspec.json.encode(answer).decode()}\n" if asked.json else _table(answer))
    return 0


def shown(url: str) -> str:
    """What of a URL may be printed: not the password, wherever it stands."""
    parsed = sqlalchemy.make_url(url)
    port = f":{parsed.port}" if parsed.port else ""
    return f"{parsed.get_backend_name()}://{parsed.host or ''}{port}/{parsed.database or ''}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pinnace db copy",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="source", metavar="URL", required=True, help="the database to read")
    parser.add_argument("--to", dest="target", metavar="URL", required=True, help="the database to write")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be copied")
    parser.add_argument("--json", action="store_true", help="print the outcome as a JSON object")
    return parser


def _urls(asked: argparse.Namespace) -> tuple[str, str]:
    """Raises SettingsError and OSError."""
    source, target = _url(asked.source, "--from"), _url(asked.target, "--to")
    if source == target:
        raise SettingsError("--from and --to are one database")
    return source, target


def _url(text: str, option: str) -> str:
    url = Path(text[1:]).read_text(encoding="utf-8").strip() if text.startswith("@") else text
    try:
        check_database_url(url)
    except ValueError as error:
        raise SettingsError(str(error).replace("database_url", option)) from error
    database = sqlalchemy.make_url(url).database
    if option == "--from" and url.startswith("sqlite") and not Path(database or "").is_file():
        raise SettingsError(f"--from names {database}, which is no file")  # SQLite would make one
    return url


def _progress(table: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{table}: {done} of {total}" + ("\n" if done == total else ""))
    elif done == total:
        sys.stderr.write(f"{table}: {total}\n")


def _table(answer: _Answer) -> str:
    verb = "to copy" if answer.dry_run else "copied"
    rows = [("table", "rows", verb, "sha256")]
    rows += [(each.table, str(each.rows), str(each.copied), each.sha256) for each in answer.tables]
    widths = [max(len(row[index]) for row in rows) for index in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    return "\n".join([f"{answer.source} -> {answer.target}", *lines, ""])


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"{' '.join(sentence.split())}\n")
    return code
