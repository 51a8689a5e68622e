"""The stores of a soak: where they are, what another client than ours reads in them, and how they misbehave."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

import botocore.session
from botocore.config import Config

from pinnace.settings import StoreSettings
from support.minio_server import minio_server
from support.s3_server import ACCESS_KEY, SECRET_KEY, Fault, Misbehaviour, S3Server, s3_server
from support.weed_server import weed_server

BUCKET = "bucket"


class SoakStore(Protocol):
    """What a soak needs of its store."""

    settings: StoreSettings

    def objects(self) -> dict[str, tuple[str, int]]:
        """SHA-256 and size by key."""
        ...

    def uploads(self) -> list[str]:
        """Multipart uploads under way."""
        ...

    def strike(self, operation: str, action: Callable[[], None], seconds: float) -> bool:
        """Wait so long at most for a request of this kind; do `action` when it was carried out, before the answer.

        False when this store can't.
        """
        ...

    def misbehave(self) -> None:
        """Begin to fail at random, if it can."""
        ...

    def behave(self) -> dict[str, int]:
        """Stop failing; returns how often it failed in which way."""
        ...


def _credentials(folder: Path, access_key: str, secret_key: str, token: str = "") -> None:
    """As the kubelet swaps a Secret: each file as a whole."""
    folder.mkdir(exist_ok=True)
    values = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key, "AWS_SESSION_TOKEN": token}
    for name, value in values.items():
        if value:
            (folder / f".{name}").write_text(value)
            (folder / f".{name}").rename(folder / name)


@dataclass(slots=True)
class MisbehavingStore:
    """support.s3_server with something going wrong all the time."""

    settings: StoreSettings
    server: S3Server
    credentials: Path
    rng: random.Random
    _ended: Event = field(default_factory=Event)
    _thread: Thread | None = None
    _tokens: int = 0

    def objects(self) -> dict[str, tuple[str, int]]:
        with self.server.lock:
            return {
                key: (sha256(stored.body).hexdigest(), len(stored.body)) for key, stored in self.server.objects.items()
            }

    def uploads(self) -> list[str]:
        with self.server.lock:
            return [upload.key for upload in self.server.uploads.values()]

    def strike(self, operation: str, action: Callable[[], None], seconds: float) -> bool:
        struck = Event()

        def done(finished: str) -> None:
            if finished == operation and not struck.is_set():
                action()
                struck.set()

        self.server.on_done = done
        struck.wait(seconds)
        self.server.on_done = lambda operation: None
        return True

    def misbehave(self) -> None:
        self._thread = Thread(target=self._go_wrong, daemon=True)
        self._thread.start()

    def behave(self) -> dict[str, int]:
        self._ended.set()
        assert self._thread is not None
        self._thread.join()
        with self.server.lock:
            self.server.faults.clear()
            return {name: count for name, count in sorted(self.server.counts.items()) if name.startswith("fault: ")}

    def _go_wrong(self) -> None:
        wrongs = [self._fault] * 20 + [self._outage, self._expire, self._skew]
        while not self._ended.wait(self.rng.uniform(0.02, 0.3)):
            self.rng.choice(wrongs)()

    def _fault(self) -> None:
        # A store that keeps something else and acknowledges our checksum can only be found out by reading back.
        lies = {Misbehaviour.LOSES_BYTES, Misbehaviour.WRONG_CONTENT}
        kind = self.rng.choice([kind for kind in Misbehaviour if kind not in lies])
        operations = [
            "*",
            "*",
            "*",
            "Put",
            "Put",
            "Create",
            "PutPart",
            "PutPart",
            "Complete",
            "Complete",
            "Head",
            "ListParts",
        ]
        status, code = self.rng.choice(
            [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests"), (503, "ServiceUnavailable")]
        )
        fault = Fault(
            kind=kind,
            operation=self.rng.choice(operations),
            times=self.rng.randint(1, 2),
            status=status,
            code=code,
            headers={"Retry-After": "1"} if self.rng.random() < 0.3 else {},
            seconds=self.rng.uniform(0.0, 1.0),
        )
        with self.server.lock:
            # Rules that met no request make room for others.
            self.server.faults[:] = [*(old for old in self.server.faults if old.times > 0), fault][-5:]

    def _outage(self) -> None:
        everything = Fault(kind=Misbehaviour.RESET_BEFORE_BODY, times=10_000)
        self.server.faults.insert(0, everything)
        self._ended.wait(self.rng.uniform(0.2, 1.0))
        everything.times = 0

    def _expire(self) -> None:
        """The session's token runs out, and a while later there is a new one."""
        self.server.counts["fault: expired token"] += 1
        if self._tokens:
            self.server.expired_tokens.add(f"token-{self._tokens}")
            self._ended.wait(self.rng.uniform(0.1, 0.5))
        self._tokens += 1
        _credentials(self.credentials, ACCESS_KEY, SECRET_KEY, f"token-{self._tokens}")

    def _skew(self) -> None:
        self.server.counts["fault: skewed clock"] += 1
        self.server.clock_offset = timedelta(minutes=self.rng.choice([-90, -20, 20, 90]))
        self._ended.wait(self.rng.uniform(0.5, 1.5))
        self.server.clock_offset = timedelta()


@dataclass(slots=True)
class HonestStore:
    """A store of somebody else's, seen through botocore's client."""

    settings: StoreSettings
    client: Any

    def objects(self) -> dict[str, tuple[str, int]]:
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for entry in page.get("Contents", []):
                body = self.client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
                found[entry["Key"]] = (sha256(body).hexdigest(), len(body))
        return found

    def uploads(self) -> list[str]:
        # MinIO lists uploads of one whole key only, so each key is asked for.
        keys = ["", *self.objects()]
        pages = (self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=key) for key in keys)
        return sorted({upload["Key"] for page in pages for upload in page.get("Uploads", [])})

    def strike(self, operation: str, action: Callable[[], None], seconds: float) -> bool:
        return False

    def misbehave(self) -> None:
        """It works."""

    def behave(self) -> dict[str, int]:
        return {}


@contextmanager
def misbehaving(folder: Path, seed: int) -> Iterator[MisbehavingStore]:
    """The tests' own server."""
    credentials = folder / "credentials"
    _credentials(credentials, ACCESS_KEY, SECRET_KEY)
    with s3_server(bucket=BUCKET) as server:
        settings = StoreSettings(
            endpoint=server.endpoint, bucket=BUCKET, prefix="soak", credentials_dir=str(credentials)
        )
        yield MisbehavingStore(settings, server, credentials, random.Random(seed))


@contextmanager
def minio(folder: Path) -> Iterator[HonestStore]:
    """A real MinIO."""
    with minio_server(folder) as server:
        yield _honest(folder, server.endpoint, server.root_user, server.root_password)


@contextmanager
def weed(folder: Path) -> Iterator[HonestStore]:
    """A real SeaweedFS."""
    with weed_server(folder) as server:
        yield _honest(folder, server.endpoint, server.access_key, server.secret_key)


def _honest(folder: Path, endpoint: str, access_key: str, secret_key: str) -> HonestStore:
    _credentials(folder / "credentials", access_key, secret_key)
    client = botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=BUCKET)
    settings = StoreSettings(
        endpoint=endpoint, bucket=BUCKET, prefix="soak", credentials_dir=str(folder / "credentials")
    )
    return HonestStore(settings, client)
