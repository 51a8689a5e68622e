"""AssumeRole with an inline session policy: keys that end by themselves and may do less than those that bought them.

The keys that buy lie in folders of their own, a mounted Secret each, and never leave this process.
"""

import threading
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from pinnace.artifact_stores import ArtifactStore, session_policy
from pinnace.records import StoreCredentials
from pinnace.stores.credentials import FolderCredentials
from pinnace.stores.store import CredentialsMissing
from pinnace_api.clock import now
from pinnace_api.refusals import Unavailable

_CONNECT_S: Final = 2.0
_READ_S: Final = 5.0
_MAX_NAME: Final = 64
#: In the folder of a key, beside it: the authorities (PEM) of an https token service of one's own.
CA_FILE: Final = "ca.crt"


@runtime_checkable
class TokenService(Protocol):
    """What gives credentials; TokenServices, or what stands for it in a test."""

    def assume(self, store: ArtifactStore, namespace: str, pod: str) -> StoreCredentials:
        """New ones for the namespace's keys in the store. Raises Unavailable, also for what somebody must mend."""


class TokenServices:
    """Safe to use from several threads. `keys`: the folder with a folder for each key; None: there are none."""

    def __init__(self, keys: Path | None) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._session: Any = None

    def assume(self, store: ArtifactStore, namespace: str, pod: str) -> StoreCredentials:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - 25 MiB, for those who use it

        sts = store.spec.credentials.sts
        role = {"RoleArn": sts.role_arn} if sts.role_arn else {}
        try:
            client = self._client(store)
            try:
                answer = client.assume_role(
                    **role,
                    # What the store's own log knows the pod by.
                    RoleSessionName=f"{namespace}.{pod}"[:_MAX_NAME],
                    Policy=session_policy(store, namespace),
                    DurationSeconds=sts.duration_seconds,
                )
            finally:
                client.close()
            given = msgspec.convert(answer["Credentials"], _Given)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "without a reason")
            raise _refused(store, f"refuses: {code}") from error
        except (BotoCoreError, msgspec.ValidationError, KeyError, ValueError) as error:
            raise _refused(store, f"does not answer as it should: {type(error).__name__}") from error
        return StoreCredentials(
            access_key_id=given.AccessKeyId,
            secret_access_key=given.SecretAccessKey,
            session_token=given.SessionToken,
            expires_at=given.Expiration,
            expires_in_seconds=max((given.Expiration - now()).total_seconds(), 0.0),
        )

    def _client(self, store: ArtifactStore) -> Any:
        from botocore.config import Config  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415

        spec, sts = store.spec, store.spec.credentials.sts
        options: dict[str, Any] = {}
        if sts.secret_ref is not None:
            folder = self._folder(sts.secret_ref.name, store)
            try:
                key = FolderCredentials(folder).current()
            except CredentialsMissing as error:
                raise _no_key(store, sts.secret_ref.name) from error
            options["aws_access_key_id"] = key.access_key_id
            options["aws_secret_access_key"] = key.secret_access_key
            options["aws_session_token"] = key.session_token or None
            if (folder / CA_FILE).exists():
                options["verify"] = str(folder / CA_FILE)
        # Stores of one's own give sessions at their own address.
        if endpoint := sts.endpoint or spec.endpoint:
            options["endpoint_url"] = endpoint
        with self._lock:
            # Making clients of one session is not safe from several threads, and making sessions is slow.
            if self._session is None:
                self._session = Session()
            return self._session.create_client(
                "sts",
                region_name=spec.region,
                # A role's name may be missing: MinIO takes none.
                config=Config(
                    connect_timeout=_CONNECT_S,
                    read_timeout=_READ_S,
                    retries={"total_max_attempts": 2},
                    parameter_validation=False,
                ),
                **options,
            )

    def _folder(self, name: str, store: ArtifactStore) -> Path:
        if self._keys is None or "/" in name or name.startswith("."):
            raise _no_key(store, name)
        return self._keys / name


class _Given(msgspec.Struct, frozen=True):
    """As a token service spells it."""

    AccessKeyId: str
    SecretAccessKey: str
    SessionToken: str
    Expiration: Any


def _refused(store: ArtifactStore, what: str) -> Unavailable:
    return Unavailable(
        f"the token service of ArtifactStore {store.name} {what}",
        hint="the administrator finds spec.credentials.sts of the ArtifactStore, and its key's rights, to be mended",
    )


def _no_key(store: ArtifactStore, name: str) -> Unavailable:
    return Unavailable(
        f"the API does not have the key of ArtifactStore {store.name}",
        hint=f"the administrator lists the Secret {name} in the chart's value artifactStores.keys, and makes sure that "
        "it is in Pinnace's own namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )
