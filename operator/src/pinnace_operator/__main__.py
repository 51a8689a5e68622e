"""`python -m pinnace_operator`: settings from the environment, objects made and connected, kopf started."""

import logging
import os
import socket
import sys
from datetime import UTC, datetime

import kopf
from kopf._core.engines.peering import Identity

from pinnace.client import Client
from pinnace.settings import SettingsError
from pinnace_operator.admission.assembly import admission
from pinnace_operator.catalogue import Catalogue
from pinnace_operator.handlers import build_registry
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.reconcile import Reconciliation
from pinnace_operator.settings import from_env
from pinnace_operator.stores import Offers

#: One request to the metadata API; an API that hangs must not hold up the Jobs of others.
API_TIMEOUT_S = 5.0


def main() -> int:
    try:
        settings, platform = from_env(os.environ)
    except SettingsError as error:
        print(f"pinnace-operator: {error}", file=sys.stderr)
        return 2
    kopf.configure(
        debug=settings.log_level == "debug",
        quiet=settings.log_level in ("warning", "error"),
        log_format=kopf.LogFormat.JSON,
    )
    instance = socket.gethostname()
    if settings.log_level != "debug":
        # One line for each event and each probe drowns what happened.
        for chatty in ("kopf.objects", "kopf.activities", "aiohttp.access"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
    cluster = KubernetesCluster.connected()
    catalogue = Catalogue() if settings.artifact_stores else None

    def offers(namespace: str) -> Offers | None:
        return None if catalogue is None else catalogue.offers_now(namespace, cluster, _now())

    with Client(settings.client, timeout=API_TIMEOUT_S) as api, admission(settings, platform, offers):
        reconciliation = Reconciliation(
            cluster=cluster,
            api=api,
            platform=platform,
            now=_now,
            instance=instance,
            catalogue=catalogue,
        )
        kopf.run(
            registry=build_registry(reconciliation),
            standalone=True,
            # kopf would ask for the name of the user that it runs as, and a container's user id has none.
            identity=Identity(instance),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
        )
    return 0


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
