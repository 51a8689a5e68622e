"""Where the credentials of a request come from. Asked for each request, so renewed ones are used from the next on.

botocore's chain (environment, files, web identity, container, instance; refreshed before they expire) is imported when
it is asked for the first time: it costs 25 MiB, and whoever has a folder of credentials doesn't need it.
"""

import os
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.store import CredentialsMissing

KEY_ID_FILE: Final = "AWS_ACCESS_KEY_ID"
SECRET_FILE: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a file's name
TOKEN_FILE: Final = "AWS_SESSION_TOKEN"  # noqa: S105

#: How often a mounted Secret is opened when it is swapped just then; swaps are minutes apart.
_ATTEMPTS: Final = 20
#: Looking whether the files have changed costs a small request a tenth of its time.
TRUSTED_SECONDS: Final = 1.0

_FOLDER_HINT: Final = f"put the files {KEY_ID_FILE} and {SECRET_FILE} there, or mount the Secret that has them"
_CHAIN_HINT: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the workload an identity"


class NoneFound(CredentialsMissing):
    """Nobody gave any."""


class CredentialsSource(Protocol):
    """Gives the credentials to sign with. Safe to use from several threads at once."""

    def current(self) -> Credentials:
        """Those of this moment. CredentialsMissing when there are none: trying again helps once somebody puts some."""
        ...

    def forget(self) -> None:
        """The store refused what `current` gave: resolve anew at the next call."""
        ...

    def expires_at(self) -> datetime | None:
        """When those that `current` gave last end, unless they are renewed before; None: never, as far as is known."""
        ...


def credentials_for(settings: StoreSettings) -> CredentialsSource:
    """The source that the settings name: their folder, else botocore's chain."""
    return FolderCredentials(Path(settings.credentials_dir)) if settings.credentials_dir else ChainCredentials()


class StaticCredentials:
    """The same for ever."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def current(self) -> Credentials:
        return self._credentials

    def forget(self) -> None:
        """Nothing else is known."""

    def expires_at(self) -> None:
        """Never."""


class FolderCredentials:
    """A folder with a file for each field, read again when one of them has changed, which is looked at again after
    `trusted_seconds`.

    Kubernetes updates a mounted Secret by swapping the link `..data`; all files are read from behind one and the same
    link, so a key id never meets another key's secret.
    """

    def __init__(self, folder: Path, *, trusted_seconds: float = TRUSTED_SECONDS) -> None:
        self._folder = folder
        self._files = tuple(folder / name for name in (KEY_ID_FILE, SECRET_FILE, TOKEN_FILE))
        self._trusted_seconds = trusted_seconds
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._read: tuple[tuple[tuple[int, ...], ...], Credentials] | None = None

    def current(self) -> Credentials:
        try:
            with self._lock:
                now = time.monotonic()
                if self._read is not None and now - self._looked_at < self._trusted_seconds:
                    return self._read[1]
                stamp = tuple([_stamp(file) for file in self._files])
                if self._read is None or self._read[0] != stamp:
                    self._read = (stamp, self._read_files())
                self._looked_at = now
                return self._read[1]
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsMissing(
                f"the credentials in {self._folder} can't be read: {error}", hint=_FOLDER_HINT
            ) from error

    def forget(self) -> None:
        with self._lock:
            self._read = None

    def expires_at(self) -> None:
        """A folder doesn't tell."""

    def _read_files(self) -> Credentials:
        """All fields from one version of the folder."""
        link = self._folder / "..data"
        is_mounted = link.exists()
        for attempt in range(_ATTEMPTS):
            try:
                credentials = _read_folder(link if is_mounted else self._folder)
            except FileNotFoundError:
                # A swap removes the old files under whoever is reading them.
                if not is_mounted or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return checked(credentials, f"the credentials in {self._folder}", _FOLDER_HINT)
        raise AssertionError


class ChainCredentials:
    """botocore's chain. Temporary credentials are refreshed before they expire, also in the middle of an upload."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._resolved: Any = None

    def current(self) -> Credentials:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - 25 MiB, see above

        try:
            with self._lock:
                if self._resolved is None:
                    self._resolved = _resolve()
                resolved = self._resolved
            frozen = resolved.get_frozen_credentials() if resolved is not None else None
        except (BotoCoreError, ClientError, OSError) as error:
            # ClientError: the token service refused. OSError: the file of the workload's token can't be read.
            raise CredentialsMissing(f"botocore found no credentials: {error}", hint=_CHAIN_HINT) from error
        if frozen is None:
            raise NoneFound("botocore found no credentials anywhere", hint=_CHAIN_HINT)
        credentials = Credentials(
            access_key_id=frozen.access_key or "",
            secret_access_key=frozen.secret_key or "",
            session_token=frozen.token or "",
        )
        return checked(credentials, "the credentials that botocore found", _CHAIN_HINT)

    def forget(self) -> None:
        with self._lock:
            self._resolved = None

    def expires_at(self) -> datetime | None:
        with self._lock:
            resolved = self._resolved
        # botocore has no public name for it; without the attribute nothing is known.
        ends = getattr(resolved, "_expiry_time", None)
        return ends if isinstance(ends, datetime) else None


def _resolve() -> Any:
    from botocore.session import Session  # noqa: PLC0415

    return Session().get_credentials()


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return ()
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read_folder(path: Path) -> Credentials:
    """All fields from behind one and the same opening of it."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return Credentials(
            access_key_id=_read_field(folder, KEY_ID_FILE),
            secret_access_key=_read_field(folder, SECRET_FILE),
            session_token=_read_field(folder, TOKEN_FILE, default=""),
        )
    finally:
        os.close(folder)


def _read_field(folder: int, name: str, *, default: str | None = None) -> str:
    try:
        file = os.open(name, os.O_RDONLY, dir_fd=folder)
    except FileNotFoundError:
        if default is None:
            raise
        return default
    try:
        return os.read(file, 64 * 2**10).decode().strip()
    finally:
        os.close(file)


def checked(credentials: Credentials, whose: str, hint: str) -> Credentials:
    """The same. Raises CredentialsMissing when no store could take them."""
    fields = (credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    if not fields[0] or not fields[1]:
        raise CredentialsMissing(f"{whose} are empty", hint=hint)
    if not all(field.isascii() and field.isprintable() and " " not in field for field in fields):
        raise CredentialsMissing(f"{whose} have characters that no credentials have", hint=hint)
    return credentials
