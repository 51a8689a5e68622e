"""Plays the part of nodes: pods of Experiments run, their sidecars report, and they end, all by written statuses.

Follows the pods of one API server in a thread. What a pod does is decided by `behave`.
"""

import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import urllib3

from pinnace.client import ApiError, Client
from pinnace.digests import manifest_sha256
from pinnace.naming import EXPERIMENT_ID_LABEL, ITERATION_ID_LABEL
from pinnace.records import Manifest, PodReport
from support.control_plane import ControlPlane


class Behaviour(StrEnum):
    #: Ends well at once.
    SUCCEED = "succeed"
    #: Runs until it is asked to end, and drains then.
    RUN = "run"
    #: Runs for ever, also when it is asked to end.
    HANG = "hang"


class PodPlayer:
    """Between `start` and `close`."""

    def __init__(self, plane: ControlPlane, api: Client, behave: Callable[[dict[str, Any]], Behaviour]) -> None:
        self.plane, self.api, self.behave = plane, api, behave
        self._http = urllib3.PoolManager(
            ca_certs=str(self.plane.authority),
            headers={"Authorization": f"Bearer {self.plane.token}", "User-Agent": "pod-player"},
            maxsize=4,
            retries=False,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="pods", daemon=True)
        self._done: set[str] = set()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(timeout=15)

    def _follow(self) -> None:
        query = f"labelSelector={EXPERIMENT_ID_LABEL}&watch=true&timeoutSeconds=5"
        while not self._ended.is_set():
            try:
                answer = self._http.request("GET", f"{self.plane.url}/api/v1/pods?{query}", preload_content=False)
                with answer:
                    for line in _lines(answer):
                        self._play(msgspec.json.decode(line))
            except (urllib3.exceptions.HTTPError, OSError, ApiError, msgspec.DecodeError):
                # An API server that is restarted, say: everything is shown again.
                self._ended.wait(0.2)

    def _play(self, event: dict[str, Any]) -> None:
        if event["type"] not in ("ADDED", "MODIFIED"):
            return
        pod = event["object"]
        meta, status = pod["metadata"], pod["status"]
        asked = "deletionTimestamp" in meta
        behaviour = self.behave(pod)
        if "nodeName" not in pod["spec"] and not asked:
            self._send(
                "POST",
                pod,
                "/binding",
                {"target": {"kind": "Node", "name": "nowhere"}, "metadata": {"name": meta["name"]}},
            )
        elif status.get("phase") == "Pending" and not asked:
            self._set(pod, "Running", {"running": {}})
        elif meta["uid"] not in self._done and (
            behaviour is Behaviour.SUCCEED or (asked and behaviour is Behaviour.RUN)
        ):
            self._done.add(meta["uid"])
            self._drain(pod, exit_code=143 if asked else 0)
        elif asked and behaviour is not Behaviour.HANG:
            self._send("DELETE", pod, "?gracePeriodSeconds=0")

    def _drain(self, pod: dict[str, Any], exit_code: int) -> None:
        iteration, uid = UUID(pod["metadata"]["labels"][ITERATION_ID_LABEL]), pod["metadata"]["uid"]
        manifest = Manifest(count=0, sha256=manifest_sha256([]))
        report = PodReport(iteration_id=iteration, pod_uid=uid, sequence=1, final=True, manifest=manifest)
        message = ""
        # A sidecar, too, waits for the row of its iteration.
        while not message and not self._ended.is_set():
            try:
                self.api.put_pod_report(report)
                message = msgspec.json.encode(report).decode()
            except ApiError:
                self._ended.wait(0.1)
        ended = {"terminated": {"exitCode": exit_code}}
        self._set(pod, "Failed" if exit_code else "Succeeded", ended, message)

    def _set(self, pod: dict[str, Any], phase: str, state: dict[str, Any], message: str = "") -> None:
        sidecar = {"terminated": {"exitCode": 0, "message": message}} if message else state
        status = {
            "phase": phase,
            "initContainerStatuses": [_container("pinnace-sidecar", sidecar)],
            "containerStatuses": [_container("train", state)],
        }
        self._send("PATCH", pod, "/status", {"status": status})

    def _send(self, method: str, pod: dict[str, Any], tail: str, body: dict[str, Any] | None = None) -> None:
        meta = pod["metadata"]
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        self._http.request(
            method,
            f"{self.plane.url}/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}{tail}",
            body=None if body is None else msgspec.json.encode(body),
            headers={**self._http.headers, "Content-Type": kind},
        )


def _container(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "ready": False,
        "restartCount": 0,
        "image": "training:1",
        "imageID": "training@sha256:1",
    }


def _lines(answer: Any) -> Any:
    rest = b""
    for chunk in answer.stream(65536):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
