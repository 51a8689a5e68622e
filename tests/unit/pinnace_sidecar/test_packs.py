"""Small copies in packs: each is found, replaced, removed and survives damage as if it lay in a file of its own."""

import errno
import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from uuid import UUID, uuid4

import pytest

from pinnace.digests import Digests
from pinnace.ids import artifact_id, object_name
from pinnace_sidecar import packs
from pinnace_sidecar.adoption import adopt
from pinnace_sidecar.buffer import Buffer, CopiesInTurn
from pinnace_sidecar.copying import Copied
from pinnace_sidecar.disk import LocalDisk
from pinnace_sidecar.files import LocalVolume
from pinnace_sidecar.journal import Journal
from pinnace_sidecar.originals import Order
from pinnace_sidecar.problems import Problems

ITERATION = UUID("6256d058-e7ab-503f-8f2c-715422afb348")
CONTENTS = {"a": b"first", "b": b"", "sub/c": os.urandom(3000)}


class Bench:
    """A volume and a buffer."""

    def __init__(self, folder: Path, limit: int = 2**20) -> None:
        self.root, self.folder, self.limit = folder / "volume", folder / "buffer", limit
        self.root.mkdir()
        self.folder.mkdir()
        self.volume = LocalVolume(str(self.root))
        self.buffer = Buffer(self.folder, limit, LocalDisk())

    def write(self, contents: dict[str, bytes]) -> None:
        for path, content in contents.items():
            (self.root / path).parent.mkdir(exist_ok=True)
            (self.root / path).write_bytes(content)

    def copy(self, *paths: str, level: int = 0) -> list[Copied]:
        """Copy these files together, as the copier does."""
        orders = []
        for path in paths:
            fingerprint = self.volume.fingerprint(path)
            assert fingerprint is not None
            orders.append(Order(path, fingerprint, 10**6, zstd_level=level))
            assert self.buffer.reserve(fingerprint.size)
        copies = []
        for order, copied in zip(orders, self.buffer.copying.copy_all(self.volume, orders, name_of), strict=True):
            assert isinstance(copied, Copied)
            self.buffer.settle(order.fingerprint.size, copied)
            copies.append(copied)
        return copies

    def restart(self) -> None:
        self.buffer = Buffer(self.folder, self.limit, LocalDisk())

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def content(self, copied: Copied) -> bytes:
        with self.buffer.open(copied.name) as copy:
            return copy.read(copied.digests.kept.size)


def name_of(path: str, digests: Digests) -> str:
    return object_name(artifact_id(ITERATION, path, digests.content.sha256), digests.stored_sha256)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.write(CONTENTS)
    return bench


def test_small_files_share_a_file_and_are_found_in_it(bench: Bench) -> None:
    copies = bench.copy(*CONTENTS)
    assert bench.files() == ["pack-1"]
    for _ in range(2):
        assert bench.buffer.names() == {copied.name for copied in copies}
        assert [bench.content(copied) for copied in copies] == list(CONTENTS.values())
        for path, copied in zip(CONTENTS, copies, strict=True):
            record = bench.buffer.record(copied.name)
            assert record is not None
            assert (record.path, record.digests) == (path.encode(), copied.digests)
        bench.restart()


def test_a_slice_of_a_copy_is_one_of_its_pack(bench: Bench) -> None:
    for path, copied in zip(CONTENTS, bench.copy(*CONTENTS), strict=True):
        with bench.buffer.open(copied.name) as copy:
            part = copy.slice(copied.digests.content.whole)
            assert os.pread(copy.source.fileno(), part.size, part.offset) == CONTENTS[path]
            copy.seek(1)
            assert copy.read(part.size - 1 if part.size else 0) == CONTENTS[path][1:]


def test_copies_in_turn_open_a_pack_once_and_are_those_that_were_asked_for(bench: Bench) -> None:
    class Counting(LocalDisk):
        opened = 0

        def open(self, path: Path) -> BinaryIO:
            self.opened += 1
            return super().open(path)

    contents = {f"{pack}{number}": os.urandom(2000) for pack in "xy" for number in range(3)} | {"alone": os.urandom(99)}
    bench.write(contents)
    disk = Counting()
    bench.buffer = Buffer(bench.folder, 2**20, disk)
    named: dict[str, Copied] = {}
    for paths in (["x0", "x1", "x2"], ["y0", "y1", "y2"], ["alone"]):
        named |= zip(paths, bench.copy(*paths), strict=True)

    def found(copies: CopiesInTurn, path: str) -> bytes:
        copy = copies.open(named[path].name)
        whole = copy.slice(named[path].digests.content.whole)
        return os.pread(copy.source.fileno(), whole.size, whole.offset)

    disk.opened = 0
    with bench.buffer.in_turn() as copies:
        for path in ("x0", "x1", "x2", "y2", "y0", "alone", "y1"):
            assert found(copies, path) == contents[path]
        assert disk.opened == 4
        # Its place is another file now, while the pack is open.
        bench.write({"y1": contents["y1"]})
        (named["y1"],) = bench.copy("y1")
        assert named["y1"].pack == ""
        assert found(copies, "y1") == contents["y1"]
        with pytest.raises(FileNotFoundError):
            copies.open("nobody")
        assert found(copies, "x1") == contents["x1"]


def test_large_files_and_those_to_be_compressed_have_files_of_their_own(bench: Bench) -> None:
    bench.write({"large": os.urandom(70_000), "text": b"text" * 5000})
    (alone,) = bench.copy("large", "a", "b")[:1]
    assert bench.files() == sorted([alone.name, "pack-1"])
    compressed = bench.copy("text", "sub/c", level=1)
    assert [copied.pack for copied in compressed] == ["", ""]


def test_a_pack_has_its_limit(bench: Bench) -> None:
    bench.limit = 2**24
    bench.restart()
    bench.write({f"file-{number}": os.urandom(60_000) for number in range(20)})
    copies = bench.copy(*(f"file-{number}" for number in range(20)))
    assert [copied.pack for copied in copies] == ["pack-1"] * 17 + ["pack-2"] * 3
    assert [bench.content(copied) for copied in copies] == [
        (bench.root / f"file-{number}").read_bytes() for number in range(20)
    ]


def test_a_pack_takes_room_until_its_last_copy_goes(bench: Bench) -> None:
    first, empty, last = bench.copy(*CONTENTS)
    whole = bench.buffer.used_bytes
    assert whole == sum(map(len, CONTENTS.values()))
    bench.buffer.remove(last.name)
    assert bench.buffer.release([first.name]) == []
    assert not bench.buffer.holds(first.name)
    with pytest.raises(FileNotFoundError):
        bench.buffer.open(first.name)
    assert (bench.buffer.used_bytes, bench.files()) == (whole, ["pack-1"])
    bench.buffer.remove(empty.name)
    assert (bench.buffer.used_bytes, bench.files()) == (0, [])


def test_a_pack_takes_the_same_room_after_a_restart(bench: Bench) -> None:
    bench.copy(*CONTENTS)
    used = bench.buffer.used_bytes
    assert used == sum(map(len, CONTENTS.values()))
    bench.restart()
    assert bench.buffer.used_bytes == used


def test_numbers_of_packs_are_not_given_twice(bench: Bench) -> None:
    bench.copy("a", "b")
    bench.restart()
    assert bench.copy("b", "sub/c")[0].pack == "pack-2"


@pytest.mark.parametrize("alone", [False, True])
def test_a_new_copy_takes_the_place_of_one_in_a_pack(bench: Bench, *, alone: bool) -> None:
    bench.copy("a", "b")
    again = bench.copy("a") if alone else bench.copy("a", "b")
    assert bench.files() == sorted(["pack-1", again[0].name] if alone else ["pack-2"])
    assert bench.content(again[0]) == CONTENTS["a"]
    for copied in again:
        bench.buffer.remove(copied.name)
    assert bench.files() == (["pack-1"] if alone else [])


def test_a_copy_in_a_pack_takes_the_place_of_one_in_its_own_file(bench: Bench) -> None:
    (alone,) = bench.copy("a")
    packed, _ = bench.copy("a", "b")
    assert (bench.files(), packed.name) == (["pack-1"], alone.name)
    assert bench.content(packed) == CONTENTS["a"]


@pytest.mark.parametrize("damaged", ["pack-1", "pack-2", ""])
def test_of_two_copies_of_one_content_a_sound_one_counts(bench: Bench, damaged: str) -> None:
    first, _ = bench.copy("a", "b")
    before = (bench.folder / "pack-1").read_bytes()
    bench.copy("a", "b")
    (bench.folder / "pack-1").write_bytes(before)  # as after a power cut
    if damaged:
        whole = (bench.folder / damaged).read_bytes()
        (bench.folder / damaged).write_bytes(whole.replace(CONTENTS["a"], b"f1rst"))
    bench.restart()
    assert bench.content(first) == CONTENTS["a"]
    bench.buffer.remove_temporaries()
    assert len(bench.files()) == (1 if damaged != "pack-2" else 2)


def test_no_damage_in_one_place_costs_more_than_one_copy(bench: Bench) -> None:
    copies = bench.copy(*CONTENTS)
    whole = (bench.folder / "pack-1").read_bytes()
    for at in range(len(whole)):
        damaged = BytesIO(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = packs.read(damaged)
        assert found is not None
        assert [packed.name for packed, _ in found] == [copied.name for copied in copies]
        spoilt = 0
        for (packed, offset), content in zip(found, CONTENTS.values(), strict=True):
            damaged.seek(offset)
            spoilt += damaged.read(packed.record.digests.kept.size) != content
        assert spoilt <= 1


def test_what_is_no_pack_stays_and_is_said(bench: Bench, tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"x" * 10, b"pinnpack" + b"\xff" * 40, os.urandom(500)), 7):
        (bench.folder / f"pack-{number}").write_bytes(content)
    bench.restart()
    journal, problems = Journal.open(tmp_path / "journal.db"), Problems()
    adopt(bench.buffer, journal, ITERATION, problems, 0.0)
    journal.close()
    assert [problem.reason for problem in problems.problems()] == ["CopiesUnknown"]
    assert bench.files() == ["pack-10", "pack-7", "pack-8", "pack-9"]
    bench.buffer.remove("pack-8")
    assert bench.files() == ["pack-10", "pack-7", "pack-9"]


@pytest.mark.parametrize("iteration", [ITERATION, uuid4()])
def test_copies_in_packs_are_adopted_when_they_are_of_this_iteration(
    bench: Bench, tmp_path: Path, iteration: UUID
) -> None:
    copies = bench.copy(*CONTENTS)
    bench.restart()
    journal, problems = Journal.open(tmp_path / "journal.db"), Problems()
    adopt(bench.buffer, journal, iteration, problems, 0.0)
    expected = {copied.name for copied in copies} if iteration == ITERATION else set()
    assert journal.files.buffered_names() == expected
    assert bool(problems.problems()) == (not expected)
    journal.close()


def test_what_does_not_fit_together_is_copied_one_by_one(tmp_path: Path) -> None:
    class Small(LocalDisk):
        """Has room for little files."""

        def create(self, path: Path) -> BytesIO:
            return _Little(path)

    class _Little(BytesIO):
        def __init__(self, path: Path) -> None:
            super().__init__()
            self._file = path.open("w+b", buffering=0)

        def fileno(self) -> int:
            return self._file.fileno()

        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            if len(data) > 1200:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data) or 0

        def close(self) -> None:
            self._file.close()

    bench = Bench(tmp_path)
    bench.write({name: name.encode() * 300 for name in ("a", "b", "c")})
    bench.buffer = Buffer(bench.folder, bench.limit, Small())
    assert [copied.pack for copied in bench.copy("a", "b", "c")] == ["", "", ""]
    assert len(bench.files()) == 3
