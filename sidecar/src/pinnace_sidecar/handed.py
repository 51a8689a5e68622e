"""`python -m pinnace_sidecar credentials`: a key for the store, handed to a pod that Kubernetes brings nothing more.

The kubelet stops updating a mounted Secret once the training has ended, so a key that is rotated while its files are
still on their way arrives by `kubectl exec` instead. It lies in the buffer, which only the sidecar mounts.
"""

import argparse
import secrets
import shutil
import sys
import time
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from pinnace.errors import PinnaceError
from pinnace.settings import SIDECAR_PREFIX, SidecarSettings, load
from pinnace.signing import Credentials
from pinnace.stores.credentials import (
    KEY_ID_FILE,
    SECRET_FILE,
    TOKEN_FILE,
    TRUSTED_SECONDS,
    FolderCredentials,
    checked,
)
from pinnace.stores.store import CredentialsMissing

#: What a Secret of Kubernetes may have at most.
_MAX_BYTES: Final = 2 * 2**20
_CURRENT: Final = "..data"
_FIELDS: Final = (KEY_ID_FILE, SECRET_FILE, TOKEN_FILE)


class NoSecret(PinnaceError):
    """What came is no Secret with a key for the store. Nothing was changed."""


class _Secret(msgspec.Struct):
    kind: str
    data: dict[str, str] = {}


def handed_folder(buffer: Path) -> Path:
    """Where the handed key lies; it is there once one was handed."""
    return buffer / "credentials"


class HandedCredentials:
    """The handed key, from when there is one until the mounted Secret is changed after all. Which of them it is now is
    looked at again after `trusted_seconds`.
    """

    def __init__(self, handed: Path, mounted: Path, *, trusted_seconds: float = TRUSTED_SECONDS) -> None:
        self._sources = {folder: FolderCredentials(folder) for folder in (mounted, handed)}
        self._trusted_seconds = trusted_seconds
        self._looked_at = -trusted_seconds
        self._newest = self._sources[mounted]

    def current(self) -> Credentials:
        now = time.monotonic()
        if now - self._looked_at >= self._trusted_seconds:
            self._newest = self._sources[max(self._sources, key=_changed_at)]
            self._looked_at = now
        return self._newest.current()

    def forget(self) -> None:
        self._looked_at = -self._trusted_seconds
        for source in self._sources.values():
            source.forget()

    def expires_at(self) -> datetime | None:
        """A folder doesn't tell."""
        return None


def main(arguments: list[str], environ: Mapping[str, str], source: BinaryIO | None = None) -> int:
    """Take the Secret of standard input; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="pinnace_sidecar credentials",
        description="Take a key for the store: kubectl get secret NAME -o json |"
        " kubectl exec -i POD -c pinnace-sidecar -- python3 -m pinnace_sidecar credentials",
    )
    parser.parse_args(arguments)
    try:
        own = load(SidecarSettings, environ, SIDECAR_PREFIX)
        given = (source or sys.stdin.buffer).read(_MAX_BYTES + 1)
        key_id = hand_over(given, handed_folder(Path(own.buffer_dir)))
    except PinnaceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: the key could not be kept: {error}", file=sys.stderr)
        return 1
    print(f"the key {key_id} is used within {TRUSTED_SECONDS:g} s")
    return 0


def hand_over(secret: bytes, folder: Path) -> str:
    """Keep the key of a Secret (its JSON) in `folder`, in one step; returns its id. Raises NoSecret."""
    fields = _fields(secret)
    version = folder / f"..{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700, exist_ok=True)
    version.mkdir(mode=0o700)
    for name, value in fields.items():
        file = version / name
        file.touch(mode=0o600)
        file.write_bytes(value)
    link = folder / f"{version.name}.link"
    link.symlink_to(version.name)
    link.replace(folder / _CURRENT)
    for name in fields:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_CURRENT}/{name}")
    _sweep(folder, version.name)
    return fields[KEY_ID_FILE].decode()


def _fields(secret: bytes) -> dict[str, bytes]:
    if len(secret) > _MAX_BYTES:
        raise NoSecret(f"more than {_MAX_BYTES} bytes are no Secret")
    try:
        given = msgspec.json.decode(secret, type=_Secret)
        texts = {name: b64decode(given.data.get(name, ""), validate=True).decode().strip() for name in _FIELDS}
    except ValueError as error:
        raise NoSecret(f"this is no Secret in JSON: {error}", hint="kubectl get secret NAME -o json") from None
    if given.kind != "Secret":
        raise NoSecret(f"this is a {given.kind}, and no Secret")
    missing = [name for name in (KEY_ID_FILE, SECRET_FILE) if not texts[name]]
    if missing:
        raise NoSecret(f"the Secret has no {' and no '.join(missing)}", hint="hand the one that the store's key is in")
    try:
        key_id, secret_key, token = texts.values()
        found = Credentials(access_key_id=key_id, secret_access_key=secret_key, session_token=token)
        checked(found, "the credentials of the Secret", "look at how it was made")
    except CredentialsMissing as error:
        raise NoSecret(str(error)) from None
    return {name: text.encode() for name, text in texts.items() if text}


def _sweep(folder: Path, current: str) -> None:
    """Nobody needs an older version: whoever opened its files has them."""
    for version in folder.glob("..*"):
        if version.is_dir() and version.name not in {current, _CURRENT}:
            shutil.rmtree(version)


def _changed_at(folder: Path) -> float:
    """When the folder's content was last swapped; 0 when it is not there."""
    for there in (folder / _CURRENT, folder / KEY_ID_FILE):
        try:
            return there.lstat().st_mtime
        except OSError:
            continue
    return 0.0
