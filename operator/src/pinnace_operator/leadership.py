"""One operator at a time, by a Lease (coordination.k8s.io).

Who holds it renews it every RENEW_S seconds and writes nothing once the last renewal is HOLD_S old; others take it when
it has not changed for the whole of its duration, which each measures by its own monotonic clock. So clocks that differ
do no harm. An API server that is away stops the writing and not the process; who finds the Lease in other hands ends.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from pinnace.errors import PinnaceError
from pinnace_operator.cluster_objects import convert
from pinnace_operator.manifest import Manifest, Metadata
from pinnace_operator.ports import ClusterError, RefusedError

#: How long a Lease counts after its last renewal.
DURATION_S: Final = 30
#: For how long its holder goes on writing; the difference is what a request under way may take.
HOLD_S: Final = 20.0
RENEW_S: Final = 10.0
#: Between two tries to get it.
RETRY_S: Final = 2.0

_log = logging.getLogger(__name__)


class LostError(PinnaceError):
    """Another process holds the Lease. This one must not write any more."""


class Leases(Protocol):
    """Raises ClusterError; RefusedError when it is not the version that was read."""

    def lease(self, namespace: str, name: str) -> dict[str, Any] | None: ...

    def put_lease(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create it, or replace the version that `manifest` has; as it is then."""


class _Spec(Manifest, frozen=True, kw_only=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None


class _Lease(Manifest, frozen=True, kw_only=True):
    metadata: Metadata
    spec: _Spec = _Spec()

    @property
    def holder(self) -> str:
        return self.spec.holder_identity or ""


def lease_name(selector: str, namespaces: Sequence[str]) -> str:
    """One for each set of Experiments, so that operators of different ones stand side by side."""
    if not selector and not namespaces:
        return "pinnace-operator"
    served = f"{selector}/{','.join(sorted(namespaces))}"
    return f"pinnace-operator-{hashlib.sha256(served.encode()).hexdigest()[:10]}"


class Leadership:
    """`attempt` and what calls it belong to one thread; `is_held` may be asked by all."""

    def __init__(
        self,
        leases: Leases,
        *,
        namespace: str,
        name: str,
        identity: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._leases = leases
        self._namespace, self._name, self._identity = namespace, name, identity
        self._now, self._monotonic = now, monotonic
        self._held_until: float | None = None
        #: As it was last written by us.
        self._ours: _Lease | None = None
        #: The version that another's Lease has had, and since when.
        self._seen: tuple[str, float] | None = None

    def is_held(self) -> bool:
        """Whether we may write."""
        return self._held_until is not None and self._monotonic() < self._held_until

    def acquire(self, stop: threading.Event) -> bool:
        """Wait until it is ours; False when `stop` came first."""
        while not stop.is_set():
            try:
                if self.attempt():
                    _log.info("lease.acquired name=%s/%s as=%s", self._namespace, self._name, self._identity)
                    return True
            except ClusterError as error:
                _log.warning("lease.failed name=%s/%s error=%s", self._namespace, self._name, error)
            stop.wait(RETRY_S)
        return False

    def keep(self, stop: threading.Event) -> None:
        """Renew it until `stop`. Raises LostError; an API server that does not answer is asked again."""
        pause = RENEW_S
        while not stop.wait(pause):
            try:
                pause = RENEW_S if self.attempt() else RETRY_S
            except ClusterError as error:
                _log.warning("lease.failed name=%s/%s error=%s", self._namespace, self._name, error)
                pause = RETRY_S

    def attempt(self, *, by_force: bool = False) -> bool:
        """Get it, or get it for longer; whether that succeeded. Raises ClusterError; LostError when it was ours.

        `by_force`: whoever holds it.
        """
        asked_at = self._monotonic()
        current = self._ours or self._read()
        if current is not None and current.holder not in ("", self._identity):
            if self._held_until is not None:
                raise LostError(
                    f"the Lease {self._namespace}/{self._name} is {current.holder}'s now",
                    hint="nothing is to be done: that one goes on, and this one waits when it has been started again",
                )
            if not by_force and not self._is_abandoned(current, asked_at):
                return False
        try:
            self._ours = self._write(current, self._identity)
        except RefusedError as error:
            if error.reason not in ("Conflict", "AlreadyExists"):
                raise
            # Somebody was faster, or has edited it: it has to be read again.
            self._ours = None
            return False
        self._held_until = asked_at + HOLD_S
        return True

    def release(self) -> None:
        """Leave it to the next one at once. Nothing may be written afterwards."""
        ours, self._ours, self._held_until = self._ours, None, None
        if ours is None:
            return
        try:
            self._write(ours, "")
        except ClusterError as error:
            _log.warning("lease.release.failed name=%s/%s error=%s", self._namespace, self._name, error)
        else:
            _log.info("lease.released name=%s/%s", self._namespace, self._name)

    def _read(self) -> _Lease | None:
        manifest = self._leases.lease(self._namespace, self._name)
        return None if manifest is None else convert(manifest, _Lease)

    def _is_abandoned(self, current: _Lease, now: float) -> bool:
        version = current.metadata.resource_version
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] >= (current.spec.lease_duration_seconds or DURATION_S)

    def _write(self, current: _Lease | None, holder: str) -> _Lease:
        before = _Spec() if current is None else current.spec
        moment = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        changes = (before.lease_transitions or 0) + (before.holder_identity != holder)
        metadata = {"name": self._name, "namespace": self._namespace}
        if current is not None:
            metadata["resourceVersion"] = current.metadata.resource_version
        manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": DURATION_S,
                "renewTime": moment,
                "leaseTransitions": changes,
            },
        }
        return convert(self._leases.put_lease(manifest), _Lease)
