"""The cluster as kubectl reaches it: a process for each call, with the person's own kubeconfig, context and login.

Whoever runs a kubectl plugin has kubectl, and it knows every way to log in that there is; so nothing of that is ours.
All calls but the log end within TIMEOUT_S.

KubernetesError          kubectl, or the cluster, did not do what was asked
└── NotInCluster         what was asked for is not there
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from pinnace.errors import PinnaceError
from pinnace.kubectl.objects import Listed

#: What kubectl gets for one request, and what it gets altogether.
REQUEST_S: Final = 20
TIMEOUT_S: Final = 60

#: Objects of one page, and of one list.
PAGE: Final = 500
MAX_LISTED: Final = 10_000

_ItemT = TypeVar("_ItemT")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class KubernetesError(PinnaceError):
    """kubectl did not do what was asked. The message has its own last words."""


class NotInCluster(KubernetesError):
    """It is not there, or not in this namespace or context."""


class Kubectl(msgspec.Struct, frozen=True, kw_only=True):
    """kubectl with these options; empty ones are left to it."""

    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""

    def get(self, kind: str, name: str, type_: type[_ItemT]) -> _ItemT:
        """One object of the chosen namespace. Raises NotInCluster, KubernetesError."""
        if not _NAME.fullmatch(name):
            raise NotInCluster(f"{name!r} can't be the name of anything in Kubernetes", hint="give the object's name")
        return _decoded(self._run("get", "--output=json", "--", kind, name), type_)

    def listed(self, path: str, selector: Mapping[str, str], type_: type[_ItemT]) -> Sequence[_ItemT]:
        """What `path` lists with these labels, page by page; at most MAX_LISTED. Raises KubernetesError."""
        labels = quote(",".join(f"{name}={value}" for name, value in selector.items()))
        found: list[_ItemT] = []
        token = ""
        while len(found) < MAX_LISTED:
            after = f"&continue={quote(token, safe='')}" if token else ""
            answer = self._run("get", f"--raw={path}?labelSelector={labels}&limit={PAGE}{after}")
            page = _decoded(answer, Listed[type_])  # type: ignore[valid-type]
            found += page.items
            token = page.metadata.continue_
            if not token:
                break
        return found[:MAX_LISTED]

    def merge(self, kind: str, name: str, namespace: str, change: Mapping[str, Any]) -> None:
        """Merge `change` into the object. Safe to repeat. Raises NotInCluster, KubernetesError."""
        patch = msgspec.json.encode(change).decode()
        self._run("patch", f"--namespace={namespace}", "--type=merge", f"--patch={patch}", "--", kind, name)

    def logs(self, pod: str, namespace: str, container: str, arguments: Sequence[str]) -> int:
        """Write the log to our own output, for as long as it takes; kubectl's exit code."""
        scope = (f"--namespace={namespace}", f"--container={container}", "--pod-running-timeout=20s")
        return _process(self._command("logs", *scope, *arguments, "--", pod), capture=False, timeout=None).returncode

    def _run(self, verb: str, *arguments: str) -> bytes:
        command = self._command(verb, f"--request-timeout={REQUEST_S}s", *arguments)
        done = _process(command, capture=True, timeout=TIMEOUT_S)
        if done.returncode:
            raise _error(done.stderr.decode(errors="replace"))
        return done.stdout

    def _command(self, verb: str, *arguments: str) -> list[str]:
        options = {"--namespace": self.namespace, "--context": self.context, "--kubeconfig": self.kubeconfig}
        return ["kubectl", verb, *(f"{name}={value}" for name, value in options.items() if value), *arguments]


def _process(command: list[str], *, capture: bool, timeout: float | None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, check=False, capture_output=capture, stdin=subprocess.DEVNULL, timeout=timeout)
    except FileNotFoundError as error:
        raise KubernetesError("kubectl is not on the PATH", hint="install it, or add its folder to PATH") from error
    except subprocess.TimeoutExpired as error:
        raise KubernetesError(
            f"kubectl did not end within {timeout:g} s", hint="see whether `kubectl get namespaces` answers"
        ) from error


def _error(said: str) -> KubernetesError:
    lines = [line for line in said.splitlines() if line.strip()]
    message = (lines[-1] if lines else "kubectl failed and said nothing").removeprefix("error: ")
    if "(NotFound)" in message:
        return NotInCluster(message, hint="see --namespace and --context, and `kubectl get experiments -A`")
    if "have a resource type" in message:
        return KubernetesError(message, hint="Pinnace is not installed in this cluster: helm install")
    if "(Forbidden)" in message:
        return KubernetesError(message, hint="ask whoever administers the namespace for the role view, or edit")
    return KubernetesError(message, hint="see whether `kubectl get experiments` works")


def _decoded(text: bytes, type_: type[_ItemT]) -> _ItemT:
    try:
        return msgspec.json.decode(text, type=type_)
    except msgspec.DecodeError as error:
        raise KubernetesError(
            f"what the cluster answered can't be read: {error}",
            hint="the installed CRD is of another version than this command: upgrade the older one",
        ) from error
