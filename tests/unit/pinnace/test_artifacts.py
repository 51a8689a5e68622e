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
from pinnace.settings import SidecarSettings
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
