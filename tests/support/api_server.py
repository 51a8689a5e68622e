"""The real metadata API on a port of this machine, with a Kubernetes made of dictionaries and a temporary SQLite unless
it is given a `database_url`.

    with api_server(tmp_path) as api:
        client = api.admin()
        sidecar = api.sidecar(iteration_id, namespace="ml", pod_uid="pod-1")

`stop()` and `start()` take the API away and bring it back at the same address, with the same database.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import uvicorn

from pinnace.artifact_stores import ArtifactStore
from pinnace.client import Client
from pinnace.records import WriterEnd
from pinnace.settings import ClientSettings
from pinnace_api import serving
from pinnace_api.app import create_app
from pinnace_api.identity import Pod, ServiceAccount
from pinnace_api.refusals import Unavailable
from pinnace_api.settings import ApiSettings
from support.eventually import eventually
from support.ports import free_port

ADMIN_TOKEN = "admin-token-of-the-tests"
OPERATOR_TOKEN = "operator-token-of-the-tests"
OPERATOR_SUBJECT = "system:serviceaccount:pinnace-system:pinnace-operator"


class FakeCluster:
    """A TokenReviewer over dictionaries. `away` makes every question fail as an unreachable Kubernetes does."""

    def __init__(self) -> None:
        self.accounts: dict[str, ServiceAccount] = {OPERATOR_TOKEN: ServiceAccount(subject=OPERATOR_SUBJECT)}
        self.pods: dict[tuple[str, str], Pod] = {}
        self.stores: dict[str, ArtifactStore] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.away = False
        self.reviews = 0

    def review(self, token: str) -> ServiceAccount | None:
        self._answer()
        self.reviews += 1
        return self.accounts.get(token)

    def pod(self, namespace: str, name: str) -> Pod | None:
        self._answer()
        return self.pods.get((namespace, name))

    def artifact_store(self, name: str) -> ArtifactStore | None:
        self._answer()
        return self.stores.get(name)

    def namespace_labels(self, namespace: str) -> dict[str, str] | None:
        self._answer()
        return self.namespaces.get(namespace)

    def add_pod(self, iteration: UUID | None, *, namespace: str, pod_uid: str) -> str:
        """A running pod called `pod-<uid>`; returns the token of its sidecar."""
        name = f"pod-{pod_uid}"
        self.pods[namespace, name] = Pod(uid=pod_uid, iteration=iteration, writers=WriterEnd.RUNNING)
        token = f"token-of-{namespace}-{pod_uid}"
        self.accounts[token] = ServiceAccount(
            subject=f"system:serviceaccount:{namespace}:default", pod_name=name, pod_uid=pod_uid
        )
        return token

    def add_rescuer(self, iteration: UUID | None, *, namespace: str, rescues: str, name: str | None = None) -> str:
        """A running pod that says it rescues the files of pod `rescues`, called `name`; the token of its sidecar."""
        uid = f"rescue-of-{rescues}-{iteration}-{name}"
        token = self.add_pod(iteration, namespace=namespace, pod_uid=uid)
        pod = self.pods[namespace, f"pod-{uid}"]
        called = f"pod-{rescues}" if name is None else name
        self.pods[namespace, f"pod-{uid}"] = replace(pod, rescues=rescues, rescues_name=called)
        return token

    def end_pod(self, *, namespace: str, pod_uid: str, ended: WriterEnd = WriterEnd.FAILED) -> None:
        """All containers of the pod have ended, its writers so."""
        key = (namespace, f"pod-{pod_uid}")
        self.pods[key] = replace(self.pods[key], writers=ended, ended=True)

    def end_writers(self, *, namespace: str, pod_uid: str, ended: WriterEnd) -> None:
        key = (namespace, f"pod-{pod_uid}")
        self.pods[key] = replace(self.pods[key], writers=ended)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("Kubernetes can't be reached")


class ApiServer:
    """One API; `start` it before use. `url` stays the same over restarts."""

    def __init__(self, folder: Path, *, cluster: FakeCluster | None = None, **settings: Any) -> None:
        self.cluster = cluster or FakeCluster()
        self.token_file = folder / "admin-token"
        self.token_file.write_text(ADMIN_TOKEN)
        self.database_file = folder / "api.db"
        self._port = free_port()
        self.settings = ApiSettings(
            **{
                "database_url": f"sqlite:///{self.database_file}",
                "host": "127.0.0.1",
                "port": self._port,
                "admin_token_file": str(self.token_file),
                "operator_subject": OPERATOR_SUBJECT,
                "grace_seconds": 5.0,
                **settings,
            }
        )
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        app = create_app(self.settings, reviewer=self.cluster)
        server = serving.Server(app, self.settings)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
        thread.start()
        self._server, self._thread = server, thread
        eventually(lambda: server.started or not thread.is_alive(), what="the API's start")
        assert server.started, "the API did not start"

    def stop(self) -> None:
        """Safe to call twice."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(timeout=15)
        assert not self._thread.is_alive(), "the API did not stop"
        self._server = self._thread = None

    def client(self, token: str, **options: Any) -> Client:
        return Client(ClientSettings(api_url=self.url, api_token=token), **options)

    def admin(self) -> Client:
        return self.client(ADMIN_TOKEN)

    def operator(self) -> Client:
        return self.client(OPERATOR_TOKEN)

    def sidecar(self, iteration: UUID, *, namespace: str, pod_uid: str) -> Client:
        """A client as the sidecar of a new pod of `iteration`."""
        return self.client(self.cluster.add_pod(iteration, namespace=namespace, pod_uid=pod_uid))


@contextmanager
def api_server(folder: Path, *, cluster: FakeCluster | None = None, **settings: Any) -> Iterator[ApiServer]:
    """A running API; stopped at the end."""
    server = ApiServer(folder, cluster=cluster, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()
