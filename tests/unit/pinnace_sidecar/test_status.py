"""What a person reads off a buffer, beside a running sidecar or long after it."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pinnace.records import FileState
from pinnace.stores.store import StoreRefused, TerminalStoreError
from pinnace_sidecar import status
from pinnace_sidecar.crash import CrashPoint
from pinnace_sidecar.journal.schema import STEPS
from support.pod import Crashed, Pod


def buffer(pod: Pod) -> Path:
    return Path(pod.settings.buffer_dir)


def listed(pod: Pod) -> dict[str, tuple[FileState, str]]:
    return {file.path: (file.state, file.why) for file in status.read(buffer(pod), limit=100).listed}


def test_every_file_is_told_with_its_state_and_why(pod: Pod, capsys: pytest.CaptureFixture[str]) -> None:
    pod.write("ashore", b"1")
    pod.start()
    pod.run_for(10)
    pod.store.fail_next(TerminalStoreError("no such name", code="InvalidKey"))
    pod.write("refused", b"2")
    pod.run_for(10)
    pod.store.fail_next(StoreRefused("denied", code="AccessDenied"), times=1000)
    pod.write("set/a", b"3")
    pod.write("set/pinnace-manifest.json", b'{"files": [{"path": "a"}]}')
    pod.run_for(10)
    assert listed(pod) == {
        "refused": (FileState.QUARANTINED, "InvalidKey: no such name"),
        "set/a": (FileState.BUFFERED, "its copy is in the buffer and waits for the store"),
        "set/pinnace-manifest.json": (FileState.BUFFERED, "waits for 1 files of its set: set/a"),
        "ashore": (FileState.RECORDED, "in the store, with a row"),
    }
    assert status.main([str(buffer(pod)), "--limit", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("quarantined")
    assert lines[1:] == ["… and 3 more", "2 buffered, 1 quarantined, 1 recorded"]


def test_a_buffer_whose_files_are_ashore_exits_well_and_speaks_json(
    pod: Pod, capsys: pytest.CaptureFixture[str]
) -> None:
    pod.write("odd\nname", b"1")
    pod.start()
    pod.drain()
    pod.stop()
    assert status.main([str(buffer(pod)), "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out, type=status.BufferStatus)
    assert (told.files, told.listed[0].path) == ({FileState.RECORDED: 1}, "odd\nname")
    assert status.main([str(buffer(pod)), "--state", "recorded"]) == 0
    assert "'odd\\nname'" in capsys.readouterr().out


@pytest.mark.parametrize("names", ["a", "abc"], ids=["of its own", "in a pack"])
def test_copies_that_the_journal_does_not_know_are_not_ashore(
    pod: Pod, capsys: pytest.CaptureFixture[str], names: str
) -> None:
    for name in names:
        pod.write(name, name.encode())
    pod.crash_at(CrashPoint.COPY_WRITTEN)
    pod.start()
    with pytest.raises(Crashed):
        pod.run_for(60)
    pod.stop()
    (buffer(pod) / "files" / ".incoming-7").write_bytes(b"half a copy")
    (buffer(pod) / "files" / "pack-700").write_bytes(b"no pack")
    assert status.read(buffer(pod), limit=9).unknown_copies == len(names) + 1
    assert status.main([str(buffer(pod))]) == 1
    assert f"{len(names) + 1} copies in the buffer that the journal does not know" in capsys.readouterr().out


def test_a_large_file_under_way_is_told_by_its_parts(pod: Pod) -> None:
    pod.write("big", b"x" * 25_000)
    pod.start()
    pod.run_until(lambda: any("parts" in why for _, why in listed(pod).values()))
    assert listed(pod)["big"][1].endswith("of 3 parts are there")


def test_the_journal_of_an_older_version_is_read_as_it_is(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.executescript(f"{STEPS[0]} PRAGMA user_version = 1;")
    connection.execute(
        "INSERT INTO files (folder, path, current, fingerprint, state, settled_at, size) VALUES (?, ?, 1, '', ?, 0, 3)",
        (b"", b"a", FileState.VERIFIED),
    )
    connection.commit()
    connection.close()
    before = (tmp_path / "journal.db").read_bytes()
    (file,) = status.read(tmp_path, limit=10).listed
    assert (file.path, file.why) == ("a", "the store has it; its row waits for the API")
    assert (tmp_path / "journal.db").read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough to look at"])
def test_what_is_no_journal_is_said(tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    if content is not None:
        (tmp_path / "journal.db").write_bytes(content)
    assert status.main([str(tmp_path)]) == 2
    assert "journal.db" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["-m", "pinnace", "sidecar", "status"], ["-m", "pinnace_sidecar", "status"]])
def test_both_commands_tell_the_same(pod: Pod, command: list[str]) -> None:
    pod.write("ashore", b"1")
    pod.start()
    pod.drain()
    pod.stop()
    done = subprocess.run([sys.executable, *command, str(buffer(pod)), "--json"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    told = msgspec.json.decode(done.stdout, type=status.BufferStatus)
    assert [file.path for file in told.listed] == ["ashore"]
