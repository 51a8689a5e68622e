"""Copies: whole and unchanging or not at all, within the limit, whatever disk and volume do."""

import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from pinnace.digests import Digester, Digests
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.copy_record import CopyRecord
from pinnace_sidecar.copying import BufferFailed, BufferFull, Copied
from pinnace_sidecar.disk import LocalDisk, durable_write
from pinnace_sidecar.files import Fingerprint, Folder, LocalVolume, OpenFile
from pinnace_sidecar.originals import CHUNK_BYTES, Changed, CopyError, Gone, Order, Unreadable, VolumeFailed

PART_SIZE = 1000


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "buffer").mkdir()
    return tmp_path / "buffer"


def order(volume: Path, path: str = "file") -> Order:
    fingerprint = LocalVolume(str(volume)).fingerprint(path)
    assert fingerprint is not None
    return Order(path, fingerprint, PART_SIZE)


def name_of(digests: Digests) -> str:
    return digests.content.sha256


class FaultyDisk(LocalDisk):
    """Raises when the named step is taken; keeps what was done, in order."""

    def __init__(self, fail: str = "", code: int = errno.ENOSPC) -> None:
        super().__init__()
        self.fail = fail
        self.code = code
        self.steps: list[str] = []

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.fail:
            raise OSError(self.code, os.strerror(self.code))

    def create(self, path: Path) -> BinaryIO:
        self._step("create")
        return _FaultyFile(path, "w+", lambda: self._step("write"))

    def clone(self, source: OpenFile, target: BinaryIO) -> bool:
        return False

    def sync(self, file: BinaryIO) -> None:
        self._step("sync")
        super().sync(file)

    def sync_all(self, files: Sequence[BinaryIO]) -> None:
        self._step("sync_all")
        super().sync_all(files)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename")
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._step("sync_folder")
        super().sync_folder(folder)


class _FaultyFile(io.FileIO):
    def __init__(self, path: Path, mode: str, on_write: Callable[[], None]) -> None:
        super().__init__(path, mode)
        self._on_write = on_write

    def write(self, data: object, /) -> int:
        self._on_write()
        return super().write(data)  # type: ignore[arg-type]


class CloningDisk(LocalDisk):
    """A file system that shares blocks."""

    def clone(self, source: OpenFile, target: BinaryIO) -> bool:
        while data := source.read(2**16):
            target.write(data)
        target.seek(0)
        return True


class WatchedVolume(LocalVolume):
    """Calls `between` after the first read of a file; `error` is raised instead of it."""

    def __init__(self, root: Path, between: Callable[[], None], error: OSError | None = None) -> None:
        super().__init__(str(root))
        self._between = between
        self._error = error

    def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
        return super().scan(enter)

    def open(self, path: str) -> OpenFile:
        return _WatchedFile(super().open(path), self._between, self._error)


class _WatchedFile:
    def __init__(self, inner: OpenFile, between: Callable[[], None], error: OSError | None) -> None:
        self.found = inner.found
        self._inner = inner
        self._between = between
        self._error = error

    def read(self, size: int) -> bytes:
        data = self._inner.read(size)
        if self._error:
            raise self._error
        self._between()
        return data

    def seek(self, offset: int) -> None:
        self._inner.seek(offset)

    def fingerprint(self) -> Fingerprint:
        return self._inner.fingerprint()

    def fileno(self) -> int:
        return self._inner.fileno()

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("size", [0, 1, PART_SIZE, PART_SIZE + 1, CHUNK_BYTES, CHUNK_BYTES + 1])
@pytest.mark.parametrize("disk", [LocalDisk(), CloningDisk()])
def test_a_copy_has_the_files_bytes_and_their_digests(volume: Path, folder: Path, size: int, disk: LocalDisk) -> None:
    content = os.urandom(size)
    (volume / "file").write_bytes(content)
    buffer = Buffer(folder, 2**30, disk)
    digest = buffer.copying.copy(LocalVolume(str(volume)), order(volume), name_of).content
    assert (digest.size, digest.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert [part.size for part in digest.parts] == [
        min(PART_SIZE, size - at) for at in range(0, max(size, 1), PART_SIZE)
    ]
    with buffer.open(digest.sha256) as copy:
        assert copy.read(size) == content
    assert [path.name for path in folder.iterdir()] == [digest.sha256]


def test_a_copy_is_durable_before_it_has_its_name(volume: Path, folder: Path) -> None:
    (volume / "file").write_bytes(b"x")
    disk = FaultyDisk()
    Buffer(folder, 2**30, disk).copying.copy(LocalVolume(str(volume)), order(volume), name_of)
    assert disk.steps == ["create", "write", "sync", "rename", "sync_folder"]


@pytest.mark.parametrize("disk", [LocalDisk(), CloningDisk()])
def test_a_file_that_changes_while_it_is_copied_is_not_complete(volume: Path, folder: Path, disk: LocalDisk) -> None:
    file = volume / "file"
    file.write_bytes(b"first")
    wanted = order(volume)

    def rewrite() -> None:
        while order(volume).fingerprint == wanted.fingerprint:
            file.write_bytes(b"other")

    with pytest.raises(Changed):
        Buffer(folder, 2**30, disk).copying.copy(WatchedVolume(volume, rewrite), wanted, name_of)
    assert list(folder.iterdir()) == []


def test_a_file_that_looks_different_from_the_order_is_not_even_read(volume: Path, folder: Path) -> None:
    (volume / "file").write_bytes(b"first")
    wanted = order(volume)
    (volume / "file").write_bytes(b"longer than before")
    disk = FaultyDisk()
    with pytest.raises(Changed):
        Buffer(folder, 2**30, disk).copying.copy(LocalVolume(str(volume)), wanted, name_of)
    assert "write" not in disk.steps
    assert list(folder.iterdir()) == []


def test_a_file_that_is_gone_or_became_a_link_is_gone(volume: Path, folder: Path, tmp_path: Path) -> None:
    (volume / "file").write_bytes(b"first")
    (tmp_path / "secret").write_bytes(b"first")
    wanted = order(volume)
    (volume / "file").unlink()
    buffer = Buffer(folder, 2**30, LocalDisk())
    with pytest.raises(Gone):
        buffer.copying.copy(LocalVolume(str(volume)), wanted, name_of)
    (volume / "file").symlink_to(tmp_path / "secret")
    with pytest.raises(Gone):
        buffer.copying.copy(LocalVolume(str(volume)), wanted, name_of)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.EACCES, Unreadable), (errno.EPERM, Unreadable), (errno.EIO, VolumeFailed), (errno.ESTALE, VolumeFailed)],
)
def test_a_failing_volume_is_told_from_a_failing_disk(
    volume: Path, folder: Path, code: int, expected: type[CopyError]
) -> None:
    (volume / "file").write_bytes(b"first")
    failing = WatchedVolume(volume, lambda: None, OSError(code, os.strerror(code)))
    with pytest.raises(expected):
        Buffer(folder, 2**30, LocalDisk()).copying.copy(failing, order(volume), name_of)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("step", ["create", "write", "sync", "rename", "sync_folder"])
@pytest.mark.parametrize(
    ("code", "expected"), [(errno.ENOSPC, BufferFull), (errno.EDQUOT, BufferFull), (errno.EIO, BufferFailed)]
)
def test_a_disk_that_fails_at_any_step_leaves_nothing_half_done(
    volume: Path, folder: Path, step: str, code: int, expected: type[CopyError]
) -> None:
    (volume / "file").write_bytes(b"first")
    disk = FaultyDisk(step, code)
    buffer = Buffer(folder, 2**30, disk)
    with pytest.raises(expected):
        buffer.copying.copy(LocalVolume(str(volume)), order(volume), name_of)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    disk.fail = ""
    buffer.copying.copy(LocalVolume(str(volume)), order(volume), name_of)


def in_turn(path: str, digests: Digests) -> str:
    return f"{path}-{digests.content.sha256[:8]}"


def test_files_copied_together_are_durable_together_before_any_has_its_name(volume: Path, folder: Path) -> None:
    contents = {f"file-{number}": os.urandom(70_000 + number) for number in range(20)}
    for path, content in contents.items():
        (volume / path).write_bytes(content)
    disk = FaultyDisk()
    buffer = Buffer(folder, 2**30, disk)
    outcomes = buffer.copying.copy_all(LocalVolume(str(volume)), [order(volume, path) for path in contents], in_turn)
    for content, outcome in zip(contents.values(), outcomes, strict=True):
        assert isinstance(outcome, Copied)
        with buffer.open(outcome.name) as copy:
            assert copy.read(outcome.digests.content.size) == content
    assert len(list(folder.iterdir())) == 20
    assert disk.steps[-22:] == ["sync_all", *["rename"] * 20, "sync_folder"]
    assert "rename" not in disk.steps[:-22]


@pytest.mark.parametrize("size", [2, 7, 8, 9])
@pytest.mark.parametrize("least", [0, 70_000])
def test_real_files_are_synced_together_however_many(volume: Path, folder: Path, size: int, least: int) -> None:
    for number in range(size):
        (volume / str(number)).write_bytes(b"x" * (least + number))
    orders = [order(volume, str(number)) for number in range(size)]
    outcomes = Buffer(folder, 2**30, LocalDisk()).copying.copy_all(LocalVolume(str(volume)), orders, in_turn)
    sizes = [outcome.digests.content.size for outcome in outcomes if isinstance(outcome, Copied)]
    assert sizes == list(range(least, least + size))


@pytest.mark.parametrize("size", [10, 70_000])
def test_one_that_fails_keeps_no_other_from_being_copied(volume: Path, folder: Path, size: int) -> None:
    for path in ("gone", "good", "changed", "better"):
        (volume / path).write_bytes(path.encode() * size)
    orders = [order(volume, path) for path in ("gone", "good", "changed", "better")]
    (volume / "gone").unlink()
    (volume / "changed").write_bytes(b"something else")
    outcomes = Buffer(folder, 2**30, LocalDisk()).copying.copy_all(LocalVolume(str(volume)), orders, in_turn)
    assert [type(outcome) for outcome in outcomes] == [Gone, Copied, Changed, Copied]
    names = [outcome.name.split("-")[0] for outcome in outcomes if isinstance(outcome, Copied)]
    assert names == ["good", "better"]


@pytest.mark.parametrize("step", ["sync_all", "sync_folder", "create", "write"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("size", [1, 70_000])
def test_a_disk_that_fails_under_several_files_leaves_nothing_half_done(
    volume: Path, folder: Path, step: str, code: int, size: int
) -> None:
    for path in ("a", "b"):
        (volume / path).write_bytes(path.encode() * size)
    orders = [order(volume, path) for path in ("a", "b")]
    disk = FaultyDisk(step, code)
    outcomes = Buffer(folder, 2**30, disk).copying.copy_all(LocalVolume(str(volume)), orders, in_turn)
    if step == "sync_all":  # somebody else's error: each file for itself is fine
        assert disk.steps.count("sync") == len(list(folder.iterdir()))
        assert {type(outcome) for outcome in outcomes} == {Copied}
    else:
        assert {type(outcome) for outcome in outcomes} == {BufferFull if code == errno.ENOSPC else BufferFailed}
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_the_old_file_stays_when_a_durable_write_fails(folder: Path) -> None:
    (folder / "file").write_bytes(b"old")

    def fill(file: BinaryIO) -> tuple[Path, None]:
        file.write(b"new")
        return folder / "file", None

    with pytest.raises(OSError, match="Input/output"):
        durable_write(FaultyDisk("sync", errno.EIO), folder / "temporary", fill)
    assert (folder / "file").read_bytes() == b"old"
    durable_write(LocalDisk(), folder / "temporary", fill)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"file": b"new"}


@pytest.mark.parametrize("known", [False, True])
def test_a_copy_whose_name_could_not_be_made_durable_takes_no_room_unless_it_was_there(
    volume: Path, folder: Path, *, known: bool
) -> None:
    (volume / "file").write_bytes(b"content")
    name = hashlib.sha256(b"content").hexdigest()
    if known:
        (folder / name).write_bytes(b"content")
    buffer = Buffer(folder, 100, FaultyDisk("sync_folder", errno.EIO))
    with pytest.raises(BufferFailed):
        buffer.copying.copy(LocalVolume(str(volume)), order(volume), name_of)
    assert [path.name for path in folder.iterdir()] == ([name] if known else [])


def copied(name: str, size: int) -> Copied:
    digester = Digester(PART_SIZE)
    digester.update(b"x" * size)
    return Copied(name, Digests(content=digester.finish()))


def test_space_is_reserved_and_given_back(folder: Path) -> None:
    (folder / "there").write_bytes(b"x" * 40)
    buffer = Buffer(folder, 100, LocalDisk())
    assert buffer.used_bytes == 40
    assert buffer.reserve(60)
    assert not buffer.reserve(1)
    buffer.settle(60, None)
    assert buffer.reserve(50)
    buffer.settle(50, copied("copied", 20))
    assert buffer.used_bytes == 60
    buffer.remove("there")
    buffer.remove("there")
    assert buffer.used_bytes == 20


def test_a_copy_that_replaces_an_equal_one_is_counted_once(folder: Path) -> None:
    (folder / "there").write_bytes(b"x" * 40)
    buffer = Buffer(folder, 100, LocalDisk())
    assert buffer.reserve(40)
    buffer.settle(40, copied("there", 40))
    assert buffer.used_bytes == 40


def test_what_a_crash_left_half_way_is_no_copy(folder: Path) -> None:
    for name in ("copy", ".incoming-3"):
        (folder / name).write_bytes(b"x")
    buffer = Buffer(folder, 100, LocalDisk())
    assert buffer.names() == {"copy"}
    buffer.remove_temporaries()
    assert [path.name for path in folder.iterdir()] == ["copy"]
    assert buffer.used_bytes == 1


@pytest.mark.parametrize("path", ["file", "odd\udcff\nname"])
@pytest.mark.parametrize("size", [0, 1, PART_SIZE, CHUNK_BYTES + 1])
def test_a_copy_says_what_it_is(volume: Path, folder: Path, size: int, path: str) -> None:
    (volume / path).write_bytes(os.urandom(size))
    buffer = Buffer(folder, 2**30, LocalDisk())
    fingerprint = order(volume, path).fingerprint
    digests = buffer.copying.copy(
        LocalVolume(str(volume)), Order(path, fingerprint, PART_SIZE, suspect=True, settled_at=12.5), name_of
    )
    expected = CopyRecord.of(path, fingerprint, digests, suspect=True, settled_at=12.5)
    assert buffer.record(digests.content.sha256) == expected


def test_a_damaged_record_is_none(volume: Path, folder: Path) -> None:
    (volume / "file").write_bytes(b"content")
    buffer = Buffer(folder, 2**30, LocalDisk())
    name = buffer.copying.copy(LocalVolume(str(volume)), order(volume), name_of).content.sha256
    whole = (folder / name).read_bytes()
    for cut in range(len(whole)):
        (folder / name).write_bytes(whole[:cut])
        assert buffer.record(name) is None
    for at in range(len(b"content"), len(whole)):
        (folder / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert buffer.record(name) is None
    assert buffer.record("nothing") is None
