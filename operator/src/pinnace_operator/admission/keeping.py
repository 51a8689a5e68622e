"""Where the served certificate comes from: made by ourselves and kept in a Secret, or a folder that somebody fills."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from pinnace_operator.admission.certificates import Serving
from pinnace_operator.admission.ports import Certificates
from pinnace_operator.admission.rotation import Keep, Kept, Plan, Publish, next_step
from pinnace_operator.ports import ClusterError, RefusedError

#: From one look to the next, at most: it costs three requests.
CHECK: Final = timedelta(minutes=5)

#: While there is something amiss.
RETRY: Final = timedelta(seconds=2)

#: Steps of one look: issue, publish, and the same again where another replica was faster.
_STEPS: Final = 8

_log = logging.getLogger(__name__)


class Keeper(Protocol):
    def look(self) -> tuple[Serving | None, timedelta]:
        """What to serve now, None where there is nothing yet, and when to look again. Never raises."""


@dataclass(slots=True)
class SecretKeeper:
    """Of several replicas each looks; who writes first wins, and the others take over what was written."""

    cluster: Certificates
    plan: Plan
    now: Callable[[], datetime]
    _latest: Serving | None = None

    def look(self) -> tuple[Serving | None, timedelta]:
        try:
            for _ in range(_STEPS):
                if self._is_settled():
                    return self._latest, min(CHECK, self.plan.lifetime / 100)
        except ClusterError as error:
            _log.warning("webhook.certificate.failed error=%s", error)
        return self._latest, min(RETRY, self.plan.lifetime / 100)

    def _is_settled(self) -> bool:
        """Take one step; True when there was none to take."""
        data, version = self.cluster.secret()
        kept = Kept.from_secret(data)
        match next_step(kept, self.cluster.authorities(), self.plan, self.now()):
            case Keep(kept=changed):
                try:
                    self.cluster.write_secret(changed.to_secret(), version)
                except RefusedError as error:
                    if error.reason != "Conflict":
                        raise
                else:
                    _log.info("webhook.certificate.changed authorities=%d", len(changed.authorities))
            case Publish(bundle=bundle):
                self.cluster.write_authorities(bundle)
                _log.info("webhook.authorities.published")
            case None:
                self._latest = kept.current
                return True
        return False


@dataclass(frozen=True, slots=True)
class FolderKeeper:
    """`tls.crt` and `tls.key` in a folder, which the kubelet brings up to date: another certifies us."""

    folder: Path

    def look(self) -> tuple[Serving | None, timedelta]:
        try:
            certificate, key = ((self.folder / name).read_bytes() for name in ("tls.crt", "tls.key"))
        except OSError as error:
            _log.warning("webhook.certificate.missing error=%s", error)
            return None, RETRY
        return Serving(certificate=certificate, authority=b"", _key=key), timedelta(minutes=1)
