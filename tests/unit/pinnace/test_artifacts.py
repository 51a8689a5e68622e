"""What training code may rely on when it says that a file is complete."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import pinnace
from pinnace import artifacts
from pinnace.naming import MANIFEST_NAME
from pinnace.settings import SidecarSettings
from pinnace_sidecar.manifest import Named, Shard, named
from pinnace_sidecar.patterns import Patterns

EXCLUDED = next(field.default for field in msgspec.structs.fields(SidecarSettings) if field.name == "exclude")

#: Dies in the middle of a block.
KILLED = """
import os, signal, sys
from pinnace import artifacts
with artifacts.writing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def half() -> Iterator[bytes]:
    yield b"half"
    raise RuntimeError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_when_its_block_ends(tmp_path: Path) -> None:
    with artifacts.writing(tmp_path / "model.bin") as file:
        file.write(b"weights")
        [part] = names(tmp_path)
        assert Patterns(EXCLUDED).match(part), "it would be shipped while it is written"
    assert names(tmp_path) == ["model.bin"]
    assert (tmp_path / "model.bin").read_bytes() == b"weights"


def test_text_is_written_as_open_writes_it(tmp_path: Path) -> None:
    with artifacts.writing(tmp_path / "notes.txt", "w", encoding="utf-16") as file:
        file.write("größer")
    assert (tmp_path / "notes.txt").read_text(encoding="utf-16") == "größer"


def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"before")
    with pytest.raises(RuntimeError), artifacts.writing(tmp_path / "model.bin") as file:
        file.writelines(half())
    assert names(tmp_path) == ["model.bin"]
    assert (tmp_path / "model.bin").read_bytes() == b"before"


def test_a_writer_that_is_killed_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"before")
    # Without site-packages: a training's image may have nothing else.
    done = subprocess.run(
        [sys.executable, "-S", "-c", KILLED, str(tmp_path / "model.bin")],
        env={"PYTHONPATH": str(Path(pinnace.__file__).parents[1])}, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "model.bin").read_bytes() == b"before"


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path: Path) -> None:
    with artifacts.writing(tmp_path / ("n" * 255)) as file:
        file.write(b"1")
    assert names(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("mode", ["a", "ab", "r", "r+b", "xb", ""])
def test_a_mode_that_does_not_write_a_whole_file_is_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match="mode must be"), artifacts.writing(tmp_path / "a", mode):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("years", [0, 30])
def test_the_marker_is_never_older_than_its_file(tmp_path: Path, years: int) -> None:
    model = tmp_path / "model.bin"
    for content in (b"1", b"2"):
        model.write_bytes(content)
        later = model.stat().st_mtime_ns + years * 365 * 86400 * 10**9
        os.utime(model, ns=(later, later))
        artifacts.complete(model)
        assert (tmp_path / "model.bin.done").stat().st_mtime_ns >= later
    assert (tmp_path / "model.bin.done").read_bytes() == b""


def test_what_is_not_there_or_is_a_folder_can_not_be_complete(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        artifacts.complete(tmp_path / "model.bin")
    with pytest.raises(IsADirectoryError, match=r"pinnace-manifest\.json"):
        artifacts.complete(tmp_path)
    assert names(tmp_path) == []


def manifest_of(folder: Path) -> Named:
    return named((folder / MANIFEST_NAME).read_bytes(), MANIFEST_NAME)


def test_a_folder_becomes_a_set_of_what_is_shipped_of_it(tmp_path: Path) -> None:
    for name in ("w.pt", "sub/v.pt", "w.pt.done", "half.part", "other.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"123")
    texts = set()
    for _ in range(2):
        artifacts.complete_set(tmp_path)
        said = manifest_of(tmp_path)
        texts.add((tmp_path / MANIFEST_NAME).read_bytes())
        assert [(member.path, member.size) for member in said.members] == [("sub/v.pt", 3), ("w.pt", 3)]
        assert said.shard is None
    (tmp_path / "w.pt").write_bytes(b"456")
    os.utime(tmp_path / "w.pt", (2e9, 2e9))
    artifacts.complete_set(tmp_path)
    assert len(texts) == 1
    assert (tmp_path / MANIFEST_NAME).read_bytes() not in texts


def test_each_worker_of_several_says_which_shard_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "rank-1").write_bytes(b"1")
    (tmp_path / ".metadata").write_bytes(b"2")
    artifacts.complete_set(tmp_path, shard=(1, 4), shared=[".metadata"], of="try 2")
    said = manifest_of(tmp_path)
    assert said.shard == Shard(worker=1, workers=4, of="try 2")
    assert [member.path for member in said.members if member.shared] == [".metadata"]
    for wrong in ((4, 4), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="shard must be"):
            artifacts.complete_set(tmp_path, shard=wrong)


def test_a_set_of_nothing_or_with_shared_files_that_are_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no files"):
        artifacts.complete_set(tmp_path)
    (tmp_path / "a").touch()
    with pytest.raises(ValueError, match="has no b"):
        artifacts.complete_set(tmp_path, shared=["a", "b"])
    assert names(tmp_path) == ["a"]
