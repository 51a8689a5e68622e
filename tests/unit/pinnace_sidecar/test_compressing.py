"""Which files are compressed, what their digests are then, and that a copy unpacks before it counts."""

import os
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace import compression
from pinnace.digests import Digests
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.compressing import Compression, Shrinking
from pinnace_sidecar.disk import LocalDisk
from pinnace_sidecar.files import Fingerprint, LocalVolume, OpenFile
from pinnace_sidecar.originals import Changed, Order
from support.store_content import compressed, digest_of

TEXT = b"".join(b"step %d: loss %d\n" % (step, step * step % 977) for step in range(3000))


def shrink(
    content: bytes, *, step: int, part_size: int = 1000, size: int | None = None
) -> tuple[bytes, Digests] | None:
    shrinking = Shrinking(3, len(content) if size is None else size, part_size)
    frame = b""
    for at in range(0, len(content), step):
        if (piece := shrinking.update(content[at : at + step])) is None:
            return None
        frame += piece
    if (end := shrinking.finish()) is None:
        return None
    return frame + end[0], end[1]


@given(
    pieces=st.lists(st.one_of(st.binary(max_size=300), st.integers(1, 3000).map(bytes)), max_size=6),
    step=st.integers(1, 1000),
    part_size=st.integers(1, 200),
)
def test_both_digests_are_those_of_the_bytes(pieces: list[bytes], step: int, part_size: int) -> None:
    content = b"".join(pieces)
    found = shrink(content, step=step, part_size=part_size)
    if found is None:
        return
    frame, digests = found
    assert digests.stored is not None
    assert len(frame) <= 0.95 * len(content)
    assert digests.content == digest_of(content, part_size=max(len(content), 1))
    expected = digest_of(frame, part_size=part_size)
    assert (digests.kept.size, digests.kept.sha256, digests.kept.crc32c, digests.kept.parts) == (
        expected.size,
        expected.sha256,
        expected.crc32c,
        expected.parts,
    )


def test_what_can_be_compressed_is() -> None:
    found = shrink(TEXT, step=4096)
    assert found is not None
    assert len(found[0]) < len(TEXT) / 3


@pytest.mark.parametrize(
    "content",
    [os.urandom(5000), os.urandom(3 * 2**20), TEXT[:4096] + os.urandom(10**6), b""],
    ids=["random", "large and random", "random behind its first chunk", "empty"],
)
def test_what_gains_less_than_a_twentieth_is_not(content: bytes) -> None:
    assert shrink(content, step=4096) is None


def test_a_first_look_is_enough_for_what_is_random() -> None:
    assert Shrinking(3, 2**30, 2**20).update(os.urandom(2**20)) is None


@pytest.mark.parametrize("size", [len(TEXT) - 1, len(TEXT) + 1])
def test_a_content_of_another_size_than_said_is_none(size: int) -> None:
    assert shrink(TEXT, step=4096, size=size) is None


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("weights.bin", 7),
        ("deep/log.txt", 7),
        ("weights.npz", 0),
        ("PHOTO.JPG", 0),
        ("a.tar.gz", 0),
        ("metrics.jsonl", 0),
        ("set/pinnace-manifest.json", 0),
        ("gz", 7),
    ],
)
def test_some_files_stay_as_they_are(path: str, level: int) -> None:
    wanted = Compression(level=7, least_bytes=100, metrics_files=("metrics.jsonl",))
    assert wanted.level_for(path, 100) == level
    assert wanted.level_for(path, 99) == 0
    assert Compression(level=0, least_bytes=1, metrics_files=()).level_for(path, 10**6) == 0


# --- into the buffer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "buffer").mkdir()
    (tmp_path / "volume").mkdir()
    return tmp_path


class Cloning(LocalDisk):
    def clone(self, source: OpenFile, target: BinaryIO) -> bool:
        target.write(os.pread(source.fileno(), 2**26, 0))
        target.seek(0)
        return True


def order_of(path: Path, **fields: int) -> Order:
    status = path.stat()
    fingerprint = Fingerprint(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return Order(path.name, fingerprint, fields.pop("part_size", 2**20), zstd_level=fields.pop("level", 3))


def name_of(digests: Digests) -> str:
    return digests.kept.sha256


@pytest.mark.parametrize("disk", [LocalDisk(), Cloning()], ids=["copied", "cloned"])
@pytest.mark.parametrize("content", [TEXT, TEXT[:9000] + os.urandom(2 * 2**20)], ids=["shrinks", "outgrows"])
def test_a_copy_is_the_frame_or_the_file_and_says_which(folder: Path, disk: LocalDisk, content: bytes) -> None:
    path = folder / "volume/file"
    path.write_bytes(content)
    buffer = Buffer(folder / "buffer", 2**30, disk)
    digests = buffer.copying.copy(LocalVolume(str(folder / "volume")), order_of(path), name_of)
    assert digests.content.sha256 == digest_of(content).sha256
    with buffer.open(name_of(digests)) as copy:
        held = copy.read(digests.kept.size)
    assert held == (compressed_as_copied(content) if digests.stored else content)
    assert (digests.stored is None) == (content != TEXT)
    record = buffer.record(name_of(digests))
    assert record is not None
    assert record.digests == digests


def compressed_as_copied(content: bytes) -> bytes:
    found = shrink(content, step=2**20)
    assert found is not None
    return found[0]


def test_a_file_that_is_not_as_it_was_is_no_copy(folder: Path) -> None:
    path = folder / "volume/file"
    path.write_bytes(TEXT)
    order = order_of(path)
    path.write_bytes(TEXT + b"more")
    buffer = Buffer(folder / "buffer", 2**30, LocalDisk())
    with pytest.raises(Changed):
        buffer.copying.copy(LocalVolume(str(folder / "volume")), order, name_of)
    assert list((folder / "buffer").iterdir()) == []


class Flipped(compression.Compressor):
    """Of another content."""

    def update(self, data: bytes) -> bytes:
        return super().update(data[:-1] + bytes([data[-1] ^ 1]))


class Broken(compression.Compressor):
    """Of no content at all."""

    def flush(self) -> bytes:
        return super().flush()[:-9] + bytes(9)


@pytest.mark.parametrize("wrong", [Flipped, Broken])
def test_bytes_that_do_not_unpack_to_the_content_are_no_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: type[compression.Compressor]
) -> None:
    monkeypatch.setattr("pinnace_sidecar.compressing.Compressor", wrong)
    path = folder / "volume/file"
    path.write_bytes(TEXT)
    buffer = Buffer(folder / "buffer", 2**30, LocalDisk())
    digests = buffer.copying.copy(LocalVolume(str(folder / "volume")), order_of(path), name_of)
    assert digests.stored is None
    with buffer.open(name_of(digests)) as copy:
        assert copy.read(len(TEXT)) == TEXT


def test_the_same_level_makes_the_same_bytes() -> None:
    assert compressed(TEXT) == compressed(TEXT)
