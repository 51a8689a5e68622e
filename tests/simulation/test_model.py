"""The simulation's own disk: what a power cut may leave, and what it may not."""

import random
import sqlite3
from collections.abc import Callable

import pytest

from pinnace.digests import Digests, digest_of
from pinnace_sidecar import packs
from pinnace_sidecar.copy_record import CopyRecord
from pinnace_sidecar.files import Fingerprint
from support.simulation.disk import COPIES, SimulatedDisk
from support.simulation.filesystem import FileSystem
from support.simulation.machine import End, Killed, Machine
from support.simulation.sqlite_vfs import JournalDisk, connect

_SEEDS = range(200)


def after_cuts(write: Callable[[FileSystem], None]) -> set[tuple[tuple[str, bytes], ...]]:
    """Everything that is left of a folder when the power goes after `write`."""
    left = set()
    for seed in _SEEDS:
        system = FileSystem()
        write(system)
        system.cut(random.Random(seed))
        left.add(tuple(sorted((path, bytes(inode.data)) for path, inode in system.names.items())))
    return left


def test_what_was_synced_with_its_name_stays() -> None:
    def write(system: FileSystem) -> None:
        system.create("/f/a").write(0, b"synced")
        system.find("/f/a").sync()
        system.sync_folder("/f")

    assert after_cuts(write) == {(("/f/a", b"synced"),)}


def test_content_that_was_not_synced_may_be_gone_whole_or_torn() -> None:
    def write(system: FileSystem) -> None:
        system.create("/f/a")
        system.sync_folder("/f")
        system.find("/f/a").write(0, b"x" * 600)

    left = {dict(names)["/f/a"] for names in after_cuts(write)}
    assert {b"", b"x" * 600, b"x" * 512, bytes(600)} <= left


def test_a_name_that_was_not_synced_may_be_gone() -> None:
    def write(system: FileSystem) -> None:
        system.create("/f/a").write(0, b"synced")
        system.find("/f/a").sync()

    assert after_cuts(write) == {(), (("/f/a", b"synced"),)}


def test_a_rename_happened_or_did_not() -> None:
    def write(system: FileSystem) -> None:
        for name in ("old", "new"):
            inode = system.create(f"/f/{name}")
            inode.write(0, name.encode())
            inode.sync()
        system.sync_folder("/f")
        system.rename("/f/new", "/f/old")

    assert after_cuts(write) == {(("/f/old", b"new"),), (("/f/new", b"new"), ("/f/old", b"old"))}


def journal_after_a_cut(seed: int, synchronous: str) -> tuple[int, int]:
    """Commits made and commits found when the power went at some moment."""
    machine, system = Machine(seed), FileSystem()
    machine.interleaving = 0.0
    disk = JournalDisk(machine, system)
    machine.begin_process()
    connection = connect(disk, "/f/db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE numbers (number)")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("INSERT INTO numbers VALUES (0)")
    machine.planned_end = machine.steps + machine.rng.randrange(1, 100), End.POWER_CUT
    made = 1
    try:
        while True:
            connection.execute("INSERT INTO numbers VALUES (?)", (made,))
            made += 1
    except (sqlite3.OperationalError, Killed):
        pass
    machine.end_process()
    connection.close()
    system.cut(machine.rng)
    machine.begin_process()
    connection = connect(disk, "/f/db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        numbers = [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]
    finally:
        connection.close()
    assert numbers == list(range(len(numbers)))
    return made, len(numbers)


def test_the_real_sqlite_keeps_every_commit_over_power_cuts() -> None:
    for seed in _SEEDS:
        made, found = journal_after_a_cut(seed, "FULL")
        # The commit that the cut came into may have reached the disk.
        assert found in (made, made + 1)


def test_without_syncs_the_real_sqlite_loses_commits() -> None:
    assert any(found < made for made, found in (journal_after_a_cut(seed, "OFF") for seed in _SEEDS))


def test_a_dead_process_changes_nothing() -> None:
    machine, system = Machine(1), FileSystem()
    disk = JournalDisk(machine, system)
    machine.begin_process()
    connection = connect(disk, "/f/db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE numbers (number)")
    machine.end_process()
    before = {path: bytes(inode.data) for path, inode in system.names.items()}
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("INSERT INTO numbers VALUES (1)")
    connection.close()
    assert {path: bytes(inode.data) for path, inode in system.names.items()} == before


def size_of_copies(file: str, data: bytes) -> int:
    """What the disk takes the copies in a file of the buffer for."""
    system, sizes = FileSystem(), list[int]()
    system.create(f"{COPIES}/{file}").write(0, data)
    SimulatedDisk(Machine(1), system, clones=False, grew=sizes.append).check_size()
    (size,) = sizes
    return size


def record_of(path: str, content: bytes) -> CopyRecord:
    digests = Digests(content=digest_of(content, 64))
    return CopyRecord.of(path, Fingerprint(1, len(content), 2, 3), digests, suspect=False, settled_at=0.0)


def test_a_pack_is_no_larger_when_any_byte_of_it_rots() -> None:
    contents = [b"x" * 32, b"y" * 65]
    copies = [(packs.Packed(f"copy-{len(c)}", record_of("file", c)), c) for c in contents]
    pack, _ = packs.encoded(copies)
    for at in range(len(pack)):
        rotten = bytearray(pack)
        rotten[at] ^= 1
        assert size_of_copies("pack-1", bytes(rotten)) == 97


def test_a_manifest_is_no_smaller_for_what_it_says() -> None:
    manifest = b'{"files": [{"path": "shard-1"}]}'
    assert size_of_copies(".incoming-1", manifest) == len(manifest)
    assert size_of_copies("copy", manifest + record_of("manifest", manifest).encoded()) == len(manifest)
