"""Looking at a volume that somebody else writes, and reading it safely."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace_sidecar.files import Fingerprint, LocalVolume, local_path, wire_path


def scan(root: Path) -> dict[str, Fingerprint | None]:
    folders = LocalVolume(str(root)).scan(lambda path: None)
    return {entry.path: entry.fingerprint for folder in folders for entry in folder.entries}


def test_every_file_in_every_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "top").write_bytes(b"1")
    (tmp_path / "a/b/c/deep").write_bytes(b"22")
    found = scan(tmp_path)
    assert sorted(found) == ["a/b/c/deep", "top"]
    deep = found["a/b/c/deep"]
    assert deep is not None
    assert deep.size == 2
    assert LocalVolume(str(tmp_path)).fingerprint("a/b/c/deep") == deep


def test_a_large_folder_comes_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "large/inner").mkdir(parents=True)
    names = {f"large/{number}" for number in range(2001)}
    for name in names:
        (tmp_path / name).touch()
    folders = list(LocalVolume(str(tmp_path)).scan(lambda path: None))
    assert [(folder.path, len(folder.entries), folder.whole) for folder in folders] == [
        ("", 0, True),
        ("large", 1000, False),
        ("large", 1000, False),
        ("large", 1, False),
        ("large/inner", 0, True),
    ]
    assert {entry.path for folder in folders for entry in folder.entries} == names


def test_folders_are_entered_before_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()

    def enter(path: str) -> None:
        (tmp_path / path / "made-on-entering").touch()

    folders = LocalVolume(str(tmp_path)).scan(enter)
    assert sorted(entry.path for folder in folders for entry in folder.entries) == [
        "made-on-entering",
        "sub/made-on-entering",
    ]


def test_links_and_special_files_are_named_but_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_bytes(b"secret")
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "link").symlink_to(tmp_path / "secret/key")
    (volume / "folder").symlink_to(tmp_path / "secret")
    (volume / "loop").symlink_to(volume)
    os.mkfifo(volume / "fifo")
    assert scan(volume) == {"link": None, "folder": None, "loop": None, "fifo": None}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("path", ["link", "folder/key", "fifo", "folder", "missing", "file/below"])
def test_only_regular_files_below_real_folders_can_be_opened(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_bytes(b"secret")
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "link").symlink_to(tmp_path / "secret/key")
    (volume / "folder").symlink_to(tmp_path / "secret")
    (volume / "file").touch()
    os.mkfifo(volume / "fifo")
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on what lies there
        LocalVolume(str(volume)).open(path)
    assert LocalVolume(str(volume)).fingerprint(path) is None


def test_a_file_is_read_from_where_one_wants(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    file = LocalVolume(str(tmp_path)).open("file")
    assert file.read(3) == b"012"
    file.seek(8)
    assert file.read(100) == b"89"
    assert file.read(100) == b""
    file.close()


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", "é".encode(), b"x" * 255, b"+ %2F~", b".hidden"])
def test_any_name_is_found_and_opened(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")  # noqa: PTH118
    (path,) = scan(tmp_path)
    assert os.fsencode(path) == name
    file = LocalVolume(str(tmp_path)).open(path)
    assert file.read(10) == b"x"
    file.close()


def test_a_missing_volume_is_a_problem_and_a_vanished_folder_is_not(tmp_path: Path) -> None:
    (folder,) = LocalVolume(str(tmp_path / "missing")).scan(lambda path: None)
    assert isinstance(folder.problem, FileNotFoundError)
    (tmp_path / "there").mkdir()

    def enter(path: str) -> None:
        if path:
            (tmp_path / path).rmdir()

    folders = list(LocalVolume(str(tmp_path)).scan(enter))
    assert [(folder.path, folder.problem) for folder in folders] == [("", None)]


def test_a_rewrite_that_sets_its_times_back_changes_the_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    volume = LocalVolume(str(tmp_path))
    before, status = volume.fingerprint("file"), file.stat()
    # The kernel's clock for files ticks every few milliseconds.
    while volume.fingerprint("file") == before:
        file.write_bytes(b"new")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = volume.fingerprint("file")
    assert before is not None
    assert after is not None
    assert (after.size, after.mtime_ns, after.inode) == (before.size, before.mtime_ns, before.inode)
    assert after.ctime_ns > before.ctime_ns


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        (b"plain", "plain"),
        (b"100%", "100%"),
        (b"a%20b", "a%20b"),
        ("é\n".encode(), "é\n"),
        (b"a\xff", "a%FF"),
        (b"50%\x80", "50%25%80"),
        (b"a%FF", "a%25FF"),
        (b"a%25FF", "a%2525FF"),
        (b"a%ff", "a%ff"),
    ],
)
def test_names_travel_as_utf8(name: bytes, spelled: str) -> None:
    assert wire_path(os.fsdecode(name)) == spelled
    assert os.fsencode(local_path(spelled)) == name


@given(names=st.lists(st.lists(st.sampled_from([b"a", b"%", b"2", b"5", b"F", b"\xff", b"\xc3\xa9"])), max_size=2))
def test_no_two_names_are_spelled_alike(names: list[list[bytes]]) -> None:
    raw = {b"".join(name) for name in names}
    assert len({wire_path(os.fsdecode(name)) for name in raw}) == len(raw)
    assert all(
        wire_path(wire_path(os.fsdecode(name))) != wire_path(os.fsdecode(name)) for name in raw if b"\xff" in name
    )
