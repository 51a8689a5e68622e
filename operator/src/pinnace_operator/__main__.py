"""`python -m pinnace_operator`: settings from the environment, objects made and connected, kopf started.

`python -m pinnace_operator release` takes the finalizers away before an uninstallation. Exit codes: 0 asked to end, or
everything released; 1 something broke, the log says what; 2 wrong settings; 3 another operator holds the Lease, so this
one ended at once.
"""

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime

import kopf
from kopf._core.engines.peering import Identity

from pinnace.artifact_stores import ARTIFACT_STORE_PLURAL
from pinnace.client import Client
from pinnace.naming import API_VERSION, PLURAL
from pinnace.probes import ProbeServer
from pinnace.settings import SettingsError
from pinnace_operator.admission.assembly import admission
from pinnace_operator.arrivals import Arrivals
from pinnace_operator.attendance import Attendance
from pinnace_operator.catalogue import Catalogue
from pinnace_operator.connection import login
from pinnace_operator.engines.kinds import Resource, resource_of
from pinnace_operator.handlers import LOOP_STUCK_S, Pulse, build_registry
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.leadership import HOLD_S, RENEW_S, Leadership, LostError, lease_name
from pinnace_operator.metrics import Meters
from pinnace_operator.ports import ClusterError
from pinnace_operator.reconcile import Reconciliation
from pinnace_operator.settings import OperatorSettings, Platform, from_env
from pinnace_operator.stores import Offers
from pinnace_operator.uninstalling import release_all
from pinnace_operator.watches import Watches

#: One request to the metadata API; an API that hangs must not hold up the Jobs of others.
API_TIMEOUT_S = 5.0

#: Between the end of the watches and their new beginning.
ANEW_S = 1.0

FAILED = 1
WRONG_SETTINGS = 2
LEASE_LOST = 3

_log = logging.getLogger("pinnace_operator")


def main(arguments: list[str]) -> int:
    try:
        settings, platform = from_env(os.environ)
    except SettingsError as error:
        print(f"pinnace-operator: {error}", file=sys.stderr)
        return WRONG_SETTINGS
    if arguments not in ([], ["release"]):
        print(f"pinnace-operator: {' '.join(arguments)!r} is no command: give none, or `release`", file=sys.stderr)
        return WRONG_SETTINGS
    kopf.configure(
        debug=settings.log_level == "debug",
        quiet=settings.log_level in ("warning", "error"),
        log_format=kopf.LogFormat.JSON,
    )
    if settings.log_level != "debug":
        # One line for each event drowns what happened.
        for chatty in ("kopf.objects", "kopf.activities"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
    ended = threading.Event()
    _listen(ended)
    cluster = KubernetesCluster(_login)
    return _release(settings, cluster, ended) if arguments else _operate(settings, platform, cluster, ended)


def _operate(settings: OperatorSettings, platform: Platform, cluster: KubernetesCluster, ended: threading.Event) -> int:
    identity = _identity(settings)
    leadership = _leadership(settings, cluster, identity) if settings.lease_namespace else None
    meters, watches, pulse = Meters(), Watches(), Pulse()
    catalogue = Catalogue() if settings.artifact_stores else None

    def offers(namespace: str) -> Offers | None:
        return None if catalogue is None else catalogue.offers_now(namespace, cluster, _now())

    # Replicas that wait for the Lease answer the webhooks, too.
    webhooks = admission(settings, platform, offers, _login, meters.note_admission)
    with Client(settings.client, timeout=API_TIMEOUT_S) as api, webhooks:
        reconciliation = Reconciliation(
            cluster=cluster,
            api=api,
            platform=platform,
            now=_now,
            instance=socket.gethostname(),
            note=meters.note,
            catalogue=catalogue,
        )
        attendance = Attendance(meters.measured(reconciliation))
        meters.watch(attendance, watches, lambda: leadership is None or leadership.is_held())
        probes = ProbeServer(settings.health_port, meters.text, lambda: _complaint(attendance, watches, pulse))
        keeper = threading.Thread(target=_keep, args=(leadership, ended), name="lease", daemon=True)
        try:
            if leadership is not None:
                cluster.may_write = leadership.is_held
                if not leadership.acquire(ended):
                    return 0
                keeper.start()
            while True:
                watches.forget()
                arrivals = Arrivals(_wanted(settings), watches, cluster.serves)
                kopf.run(
                    registry=build_registry(
                        attendance,
                        _login,
                        catalogue,
                        selector=settings.selector,
                        engines=settings.engines,
                        watches=watches,
                        pulse=pulse,
                        beside=[arrivals.look_out],
                    ),
                    standalone=True,
                    # Kept for each object; nothing is written into it.
                    memo=(),
                    # kopf would ask for the name of the user that it runs as, and a container's user id has none.
                    identity=Identity(identity),
                    clusterwide=not settings.namespaces,
                    namespaces=settings.namespaces,
                    stop_flag=arrivals.changed,
                )
                # kopf has put its own in the place of ours.
                _listen(ended)
                if not arrivals.changed.is_set() or ended.wait(ANEW_S):
                    break
            if leadership is not None:
                # It may be the last that this operator does.
                if cluster.namespace_ends(settings.lease_namespace):
                    release_all(cluster, settings.namespaces, settings.selector)
                ended.set()
                keeper.join(timeout=RENEW_S)
                leadership.release()
        finally:
            probes.close()
    return 0


def _listen(ended: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())


def _wanted(settings: OperatorSettings) -> list[Resource]:
    """What has to be watched, whenever it comes."""
    ours = [PLURAL, *([ARTIFACT_STORE_PLURAL] if settings.artifact_stores else [])]
    return [*(Resource(api_version=API_VERSION, plural=plural) for plural in ours), *map(resource_of, settings.engines)]


def _keep(leadership: Leadership | None, ended: threading.Event) -> None:
    assert leadership is not None
    try:
        leadership.keep(ended)
    except LostError as error:
        _log.error("lease.lost %s; %s", error, error.hint)
        # At once: what would be finished first would be written beside the other.
        os._exit(LEASE_LOST)
    except Exception:  # noqa: BLE001 - without a renewal nothing may go on
        _log.exception("lease.broken")
        os._exit(FAILED)


def _release(settings: OperatorSettings, cluster: KubernetesCluster, ended: threading.Event) -> int:
    try:
        if settings.lease_namespace:
            leadership = _leadership(settings, cluster, f"release-{secrets.token_hex(4)}")
            while not leadership.attempt(by_force=True) and not ended.is_set():
                pass
            cluster.may_write = leadership.is_held
            # Whoever held it has noticed by then, and puts no finalizer back.
            ended.wait(HOLD_S)
            leadership.attempt()
        release_all(cluster, settings.namespaces, settings.selector)
    except (ClusterError, LostError) as error:
        print(f"pinnace-operator: {error}", file=sys.stderr)
        return FAILED
    return 0


def _leadership(settings: OperatorSettings, cluster: KubernetesCluster, identity: str) -> Leadership:
    return Leadership(
        cluster,
        namespace=settings.lease_namespace,
        name=lease_name(settings.selector, settings.namespaces),
        identity=identity,
        now=_now,
        monotonic=time.monotonic,
    )


def _identity(settings: OperatorSettings) -> str:
    return settings.identity or f"{socket.gethostname()}-{secrets.token_hex(4)}"


def _complaint(attendance: Attendance, watches: Watches, pulse: Pulse) -> str:
    """Why this process had better be restarted; empty: it is well. One that waits for the Lease always is."""
    if pulse.age() > LOOP_STUCK_S:
        return f"the loop has not turned for {pulse.age():.0f} seconds"
    if stuck := attendance.stuck():
        return f"looks at {', '.join(stuck)} hang"
    if stale := watches.stale():
        return f"the watches of {', '.join(stale)} are stale"
    return ""


def _login() -> kopf.ConnectionInfo:
    return login(os.environ)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
