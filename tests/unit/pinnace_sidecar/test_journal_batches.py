"""Many files journaled at once are journaled as they would have been one by one."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from pinnace.digests import Digester, Digests
from pinnace.records import FileState
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal import Awaited, Copy, Journal, JournaledFile, Progress
from pinnace_sidecar.journal.database import Database, in_parts
from pinnace_sidecar.journal.rows import Row
from pinnace_sidecar.lifecycle import Event, IllegalStep

WHOLE_WAY = (Event.STORED, Event.CONFIRMED, Event.REGISTERED)


def copy(number: int, rng: random.Random, kinds: int) -> Copy:
    content, path = rng.randrange(kinds), f"odd\udcff/{rng.randrange(kinds)}"
    digester = Digester(4)
    digester.update(str(content).encode())
    return Copy(
        path=path,
        fingerprint=Fingerprint(2**64 - number, 1, number, number),
        suspect=rng.random() < 0.2,
        settled_at=number,
        name=str(UUID(int=content * 10_000 + int(path.rpartition("/")[2]))),
        digests=Digests(content=digester.finish()),
    )


def content(journal: Journal) -> list[Any]:
    columns = ", ".join(Row._fields[1:])
    return journal._database.rows(f"SELECT {columns} FROM files ORDER BY artifact_id")


def without_id(file: JournaledFile) -> tuple[object, ...]:
    return file.artifact_id, file.path, file.state, file.suspect, file.fingerprint, file.settled_at, file.etag


@pytest.mark.parametrize("seed", range(20))
def test_many_at_once_are_as_one_by_one(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    alone, together = Journal.open(tmp_path / "alone.db"), Journal.open(tmp_path / "together.db")
    kinds = rng.choice((3, 8, 100))
    for turn in range(6):
        copies = [copy(100 * turn + number, rng, kinds) for number in range(rng.randrange(1, 9))]
        files = together.files.add_copies(copies)
        assert [without_id(file) for file in files] == [without_id(alone.files.add_copy(one)) for one in copies]
        for file in together.files.in_state(FileState.BUFFERED, limit=rng.randrange(3)):
            for journal in (alone, together):
                same = journal.files.content(file.artifact_id)
                assert same is not None
                journal.files.set_upload(same.id, "upload")
        steps = {
            file.artifact_id: Progress(WHOLE_WAY[: rng.randrange(1, 4)], rng.choice(("", 'e"täg')))
            for file in together.files.in_state(FileState.BUFFERED, limit=5)
        }
        for artifact, progress in steps.items():
            same = alone.files.content(artifact)
            assert same is not None
            alone.files.apply(same.id, *progress.events, etag=progress.etag)
        ids = {file.artifact_id: file.id for file in together.files.in_state(FileState.BUFFERED, limit=5)}
        together.files.apply_all({ids[artifact]: progress for artifact, progress in steps.items()})
        assert content(alone) == content(together)
    alone.close()
    together.close()
    # Every row has the seal that SQLite would have made.
    again = Journal.open(tmp_path / "together.db")
    assert not again.begun_anew
    again.close()


def test_a_set_hears_of_files_that_are_recorded_together(tmp_path: Path) -> None:
    rng = random.Random(1)
    journal = Journal.open(tmp_path / "journal.db")
    copies = [replace(copy(number, rng, 1000), suspect=False) for number in (1, 2, 3)]
    first, second, manifest = journal.files.add_copies(copies)
    journal.sets.wait_for(manifest.id, [Awaited(path=first.path), Awaited(path=second.path)])
    journal.files.apply_all({file.id: Progress(WHOLE_WAY) for file in (first, second)})
    assert journal.sets.awaited(manifest.id, 10) == []
    journal.close()


def test_one_step_that_can_not_be_leaves_all_as_they_were(tmp_path: Path) -> None:
    rng = random.Random(2)
    journal = Journal.open(tmp_path / "journal.db")
    files = journal.files.add_copies([copy(number, rng, 1000) for number in (1, 2)])
    before = content(journal)
    with pytest.raises(IllegalStep):
        journal.files.apply_all({files[0].id: Progress((Event.STORED,)), files[1].id: Progress((Event.REGISTERED,))})
    assert content(journal) == before
    journal.close()


def test_a_row_has_the_columns_of_its_table(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.db")
    columns = [name for _, name, *_ in journal._database.rows("PRAGMA table_info(files)")]
    assert [name for name in columns if name != "seal"] == list(Row._fields)
    journal.close()


@pytest.mark.parametrize("number", [0, 1, 2, 3, 127, 128, 129, 1000])
def test_lists_go_in_parts_of_few_lengths_and_none_is_left_out(number: int) -> None:
    parts = [list(part) for part in in_parts(range(number))]
    assert [value for part in parts for value in part] == list(range(number))
    assert {len(part) for part in parts} <= {1, 2, 4, 8, 16, 32, 64, 128}


def test_a_journal_keeps_few_statements_ready_however_many_files_come_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: set[str] = set()
    for name in ("rows", "execute"):
        monkeypatch.setattr(Database, name, _noting(statements, getattr(Database, name)))
    rng, paths = random.Random(3), list[str]()
    journal = Journal.open(tmp_path / "journal.db")
    for number in range(1, 60):
        copies = [_another(copy(number, rng, 3), len(paths) + place) for place in range(number)]
        journal.files.add_copies(copies)
        paths += [each.path for each in copies]
        assert set(journal.files.known(paths)) == set(paths)
    journal.close()
    assert len(statements) < 8 * 3 + 10  # three lists of eight lengths, and what else there is


def _noting(statements: set[str], run: Callable[..., Any]) -> Callable[..., Any]:
    def noted(database: Database, sql: str, *values: object) -> Any:
        statements.add(sql)
        return run(database, sql, *values)

    return noted


def _another(like: Copy, number: int) -> Copy:
    return replace(like, path=str(number), name=str(UUID(int=number)))
