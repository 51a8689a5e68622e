"""kubectl and helm as functions: text in, parsed JSON out. Which cluster: the KUBECONFIG that `cluster run` exports."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

Manifest = Mapping[str, Any]

#: Seconds that one command may take.
TIMEOUT_S = 120


class CommandFailed(RuntimeError):
    """A tool exited non-zero or took too long; the message has its own last words."""


def kubectl(*arguments: str, namespace: str = "", stdin: str = "", timeout: float = TIMEOUT_S) -> str:
    """Run kubectl and return what it printed. Raises CommandFailed."""
    scope = ["--namespace", namespace] if namespace else []
    return run(["kubectl", *scope, *arguments], stdin=stdin, timeout=timeout)


def apply(*manifests: Manifest, namespace: str = "") -> None:
    """Create or change objects (server-side apply)."""
    together = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", namespace=namespace, stdin=together)


def get(kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
    """One object, or None when it isn't there."""
    text = kubectl("get", kind, name, "--ignore-not-found", "--output=json", namespace=namespace)
    return json.loads(text) if text.strip() else None


def items(kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
    """All objects of a kind in a namespace, or those that carry the labels."""
    chosen = [f"--selector={selector}"] if selector else []
    found: list[dict[str, Any]] = json.loads(kubectl("get", kind, "--output=json", *chosen, namespace=namespace))[
        "items"
    ]
    return found


def helm(*arguments: str, timeout: float = 300) -> str:
    """Run helm and return what it printed. Raises CommandFailed."""
    return run(["helm", *arguments], timeout=timeout)


def run(command: Sequence[str], *, stdin: str = "", timeout: float) -> str:
    """Run a tool to its end. Raises CommandFailed with the end of its output."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as expired:
        raise CommandFailed(f"{' '.join(command[:4])} … took more than {timeout:.0f} s") from expired
    except FileNotFoundError as missing:
        raise CommandFailed(
            f"{command[0]} is not on the PATH; run this by `python3 -m cluster run -- …`, which brings it"
        ) from missing
    if done.returncode:
        raise CommandFailed(f"{' '.join(command[:6])}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
