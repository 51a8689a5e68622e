"""A key for the store that somebody hands to a running sidecar."""

import io
import json
import os
import stat
from base64 import b64encode
from pathlib import Path
from uuid import uuid4

import pytest

from pinnace.stores.credentials import FolderCredentials
from pinnace_sidecar import handed
from pinnace_sidecar.handed import HandedCredentials, NoSecret, hand_over, handed_folder


def secret(kind: str = "Secret", **fields: str) -> bytes:
    return json.dumps(
        {"kind": kind, "data": {name: b64encode(value.encode()).decode() for name, value in fields.items()}}
    ).encode()


def key(name: str, **more: str) -> bytes:
    return secret(AWS_ACCESS_KEY_ID=name, AWS_SECRET_ACCESS_KEY=f"secret of {name}".replace(" ", "-"), **more)


def mounted_key(folder: Path, name: str, *, changed_at: float) -> Path:
    hand_over(key(name), folder)
    os.utime(folder / "..data", (changed_at, changed_at), follow_symlinks=False)
    return folder


def environ(buffer: Path) -> dict[str, str]:
    return {
        "PINNACE_BUFFER_DIR": str(buffer),
        "PINNACE_ITERATION_ID": str(uuid4()),
        "PINNACE_POD_UID": "pod",
        "PINNACE_API_URL": "http://127.0.0.1:9",
    }


def key_id(credentials: HandedCredentials) -> str:
    credentials.forget()
    return credentials.current().access_key_id


def test_a_handed_key_is_used_until_the_mounted_one_is_changed_after_all(tmp_path: Path) -> None:
    mounted, folder = mounted_key(tmp_path / "mounted", "old", changed_at=1.0), handed_folder(tmp_path)
    credentials = HandedCredentials(folder, mounted)
    assert key_id(credentials) == "old"
    assert hand_over(key("first"), folder) == "first"
    assert key_id(credentials) == "first"
    hand_over(key("second", AWS_SESSION_TOKEN="token"), folder)
    assert key_id(credentials) == "second"
    assert credentials.current().session_token == "token"
    hand_over(key("third"), folder)
    assert (key_id(credentials), credentials.current().session_token) == ("third", "")
    mounted_key(mounted, "brought", changed_at=os.lstat(folder / "..data").st_mtime + 1)
    assert key_id(credentials) == "brought"


def test_it_is_read_without_waiting_for_a_refusal(tmp_path: Path) -> None:
    mounted = mounted_key(tmp_path / "mounted", "old", changed_at=1.0)
    credentials = HandedCredentials(handed_folder(tmp_path), mounted, trusted_seconds=0)
    assert credentials.current().access_key_id == "old"
    hand_over(key("new"), handed_folder(tmp_path))
    assert credentials.current().access_key_id == "new"


def test_which_key_is_newer_is_not_looked_at_for_each_request(tmp_path: Path) -> None:
    mounted = mounted_key(tmp_path / "mounted", "old", changed_at=1.0)
    credentials = HandedCredentials(handed_folder(tmp_path), mounted, trusted_seconds=3600)
    assert credentials.current().access_key_id == "old"
    hand_over(key("new"), handed_folder(tmp_path))
    assert credentials.current().access_key_id == "old"
    credentials.forget()  # the store refused it
    assert credentials.current().access_key_id == "new"


def test_nobody_else_reads_it_and_no_older_one_is_left(tmp_path: Path) -> None:
    folder = handed_folder(tmp_path)
    for name in ("first", "second"):
        hand_over(key(name), folder)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.glob("..*/*"))}
    assert modes == {0o700, 0o600}
    assert b"first" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert FolderCredentials(folder).current().secret_access_key == "secret-of-second"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"", "no Secret in JSON"),
        (b"AKID secret", "no Secret in JSON"),
        (b"[]", "no Secret in JSON"),
        (b"x" * (2 * 2**20 + 1), "more than"),
        (secret(AWS_ACCESS_KEY_ID="a"), "no AWS_SECRET_ACCESS_KEY"),
        (secret(AWS_ACCESS_KEY_ID=" ", AWS_SECRET_ACCESS_KEY="b"), "no AWS_ACCESS_KEY_ID"),
        (secret(other="x"), "no AWS_ACCESS_KEY_ID and no AWS_SECRET_ACCESS_KEY"),
        (json.dumps({"kind": "Secret", "data": {"AWS_ACCESS_KEY_ID": "***"}}).encode(), "no Secret in JSON"),
        (key("a", AWS_SESSION_TOKEN="two\nlines"), "characters"),
        (secret("ConfigMap", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b"), "a ConfigMap"),
    ],
)
def test_what_is_no_key_is_refused_and_changes_nothing(
    given: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = handed_folder(tmp_path)
    hand_over(key("before"), folder)
    with pytest.raises(NoSecret, match=says):
        hand_over(given, folder)
    assert handed.main([], environ(tmp_path), io.BytesIO(given)) == 2
    assert FolderCredentials(folder).current().access_key_id == "before"
    assert says in capsys.readouterr().err


def test_the_command_says_which_key_and_never_its_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert handed.main([], environ(tmp_path), io.BytesIO(key("new"))) == 0
    assert FolderCredentials(handed_folder(tmp_path)).current().access_key_id == "new"
    assert capsys.readouterr().out == "the key new is used within 1 s\n"
