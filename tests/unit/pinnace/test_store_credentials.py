"""Where credentials come from: a mounted Secret that is swapped, or botocore's chain."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import ChainCredentials, FolderCredentials, credentials_for
from pinnace.stores.store import CredentialsMissing
from support.environment import without_settings


def write(folder: Path, key_id: str, secret: str, token: str | None = None) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "AWS_ACCESS_KEY_ID").write_text(key_id)
    (folder / "AWS_SECRET_ACCESS_KEY").write_text(secret)
    if token is not None:
        (folder / "AWS_SESSION_TOKEN").write_text(token)


class MountedSecret:
    """A folder as the kubelet mounts a Secret: links through `..data`, which is swapped in one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir()

    def swap(self, key_id: str, secret: str) -> None:
        self._version += 1
        new = self.folder / f"..version_{self._version}"
        write(new, key_id, secret)
        link = self.folder / "..data_tmp"
        link.symlink_to(new.name)
        old = self.folder / "..data"
        before = old.readlink() if old.is_symlink() else None
        link.rename(old)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if before is not None:
            for file in (self.folder / before).iterdir():
                file.unlink()
            (self.folder / before).rmdir()


def test_a_folder_gives_what_its_files_hold_without_the_ends_of_their_lines(tmp_path: Path) -> None:
    write(tmp_path, "AKID\n", " secret+/=\n", "token\n")
    assert FolderCredentials(tmp_path).current() == Credentials(
        access_key_id="AKID", secret_access_key="secret+/=", session_token="token"
    )


def test_a_swapped_secret_is_read_again(tmp_path: Path) -> None:
    secret = MountedSecret(tmp_path / "secret")
    secret.swap("first", "one")
    source = FolderCredentials(secret.folder, trusted_seconds=0)
    assert source.current() == Credentials(access_key_id="first", secret_access_key="one")
    secret.swap("second", "two")
    assert source.current() == Credentials(access_key_id="second", secret_access_key="two")


def test_files_that_were_looked_at_just_now_are_not_looked_at_again_unless_their_key_was_refused(
    tmp_path: Path,
) -> None:
    write(tmp_path, "first", "one")
    source = FolderCredentials(tmp_path, trusted_seconds=3600)
    assert source.current().access_key_id == "first"
    write(tmp_path, "second", "two")
    assert source.current().access_key_id == "first"
    source.forget()
    assert source.current().access_key_id == "second"


def test_a_key_id_never_meets_another_keys_secret(tmp_path: Path) -> None:
    secret = MountedSecret(tmp_path / "secret")
    secret.swap("first", "one")
    key_id = secret.folder / "..data" / "AWS_ACCESS_KEY_ID"
    key_id.unlink()
    os.mkfifo(key_id)
    source = FolderCredentials(secret.folder, trusted_seconds=0)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(source.current)
        with key_id.open("w") as pipe:  # opens when the reader has come to the key id, who then waits for its text
            secret.swap("second", "two")
            pipe.write("first")
        assert read.result(timeout=10) == Credentials(access_key_id="second", secret_access_key="two")


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    write(tmp_path, "AKID", "secret")
    source = FolderCredentials(tmp_path, trusted_seconds=0)
    assert source.current() is source.current()


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    write(tmp_path, "AKID", "secret")
    (tmp_path / missing).unlink()
    with pytest.raises(CredentialsMissing) as caught:
        FolderCredentials(tmp_path).current()
    assert missing in str(caught.value)
    assert "mount the Secret" in caught.value.hint
    assert caught.value.code == "CredentialsMissing"


@pytest.mark.parametrize(
    ("key_id", "secret"), [("", "hunter"), ("hunter", " \n"), ("hun\nter", "s"), ("AKID", "hunter é")]
)
def test_what_can_not_be_credentials_is_refused_without_showing_it(tmp_path: Path, key_id: str, secret: str) -> None:
    write(tmp_path, key_id, secret)
    with pytest.raises(CredentialsMissing) as caught:
        FolderCredentials(tmp_path).current()
    assert "hun" not in str(caught.value)


def test_credentials_that_appear_later_are_found(tmp_path: Path) -> None:
    source = FolderCredentials(tmp_path / "later", trusted_seconds=0)
    with pytest.raises(CredentialsMissing):
        source.current()
    write(tmp_path / "later", "AKID", "secret")
    assert source.current().access_key_id == "AKID"


def test_the_settings_choose_the_source(tmp_path: Path) -> None:
    assert isinstance(credentials_for(StoreSettings(bucket="bucket")), ChainCredentials)
    folder = StoreSettings(bucket="bucket", credentials_dir=str(tmp_path))
    assert isinstance(credentials_for(folder), FolderCredentials)


def test_botocore_finds_the_environments_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert ChainCredentials().current() == Credentials(
        access_key_id="AKID", secret_access_key="secret", session_token="token"
    )


def test_botocore_refreshes_credentials_that_are_about_to_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_settings(monkeypatch)
    counter = tmp_path / "count"
    program = tmp_path / "credentials.py"
    program.write_text(
        "import datetime, json, pathlib\n"
        f"count = pathlib.Path({str(counter)!r})\n"
        "number = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(number))\n"
        "ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=30)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'AKID{number}', 'SecretAccessKey': 's',"
        " 'SessionToken': 't', 'Expiration': ends.isoformat()}))\n"
    )
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    source = ChainCredentials()
    first, second = source.current(), source.current()
    assert (first.access_key_id, second.access_key_id) != (first.access_key_id, first.access_key_id)


def test_forgetting_makes_botocore_look_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[default]\naws_access_key_id = old\naws_secret_access_key = s\n")
    source = ChainCredentials()
    assert source.current().access_key_id == "old"
    file.write_text("[default]\naws_access_key_id = new\naws_secret_access_key = s\n")
    assert source.current().access_key_id == "old"
    source.forget()
    assert source.current().access_key_id == "new"


def test_nothing_anywhere_is_missing_until_something_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch)
    source = ChainCredentials()
    with pytest.raises(CredentialsMissing) as caught:
        source.current()
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert source.current().access_key_id == "AKID"


def test_half_of_the_credentials_is_missing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    with pytest.raises(CredentialsMissing, match="missing: AWS_SECRET_ACCESS_KEY"):
        ChainCredentials().current()


def test_botocore_is_not_imported_for_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "AKID", "secret")
    code = (
        "import sys; from pinnace.stores.s3 import S3Store; from pinnace.settings import StoreSettings\n"
        "from pinnace.stores.credentials import credentials_for\n"
        f"credentials_for(StoreSettings(bucket='bucket', credentials_dir={str(tmp_path)!r})).current()\n"
        "assert 'botocore' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
