"""The admission webhooks put together from the settings, with the real world around them."""

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from pinnace_operator.admission import experiments
from pinnace_operator.admission.keeping import FolderKeeper, Keeper, SecretKeeper
from pinnace_operator.admission.kubernetes_admission import TIMEOUT_S, KubernetesCertificates, KubernetesLookup
from pinnace_operator.admission.pods import PodHook
from pinnace_operator.admission.rotation import Plan
from pinnace_operator.admission.server import AdmissionServer, Hook, Note
from pinnace_operator.connection import Login
from pinnace_operator.settings import OperatorSettings, Platform
from pinnace_operator.stores import OffersTo

#: The chart's webhook configurations name them.
EXPERIMENTS_PATH: Final = "/experiments"
PODS_PATH: Final = "/pods"


def admission(
    settings: OperatorSettings, platform: Platform, offers: OffersTo, login: Login, note: Note
) -> AbstractContextManager[object]:
    """They answer within the context, and tell `note`. It does nothing where they are switched off."""
    if not settings.webhook_port:
        return nullcontext()
    hooks: dict[str, Hook] = {
        EXPERIMENTS_PATH: partial(experiments.decide, platform=platform, offers=offers),
        PODS_PATH: PodHook(KubernetesLookup(login, read_timeout=TIMEOUT_S), platform, offers).decide,
    }
    return AdmissionServer(hooks, _keeper(settings, login), port=settings.webhook_port, note=note)


def _keeper(settings: OperatorSettings, login: Login) -> Keeper:
    if settings.webhook_certificate_dir:
        return FolderKeeper(Path(settings.webhook_certificate_dir))
    namespace, _, name = settings.webhook_secret.partition("/")
    cluster = KubernetesCertificates(login, namespace=namespace, secret=name, webhooks=settings.webhook_configuration)
    lifetime = timedelta(seconds=settings.webhook_certificate_seconds)
    return SecretKeeper(cluster, Plan(hosts=settings.webhook_hosts, lifetime=lifetime), now=lambda: datetime.now(UTC))
