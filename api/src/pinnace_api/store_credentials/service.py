"""Whose pods get credentials for which store."""

import logging
from typing import Final

from pinnace.artifact_stores import AccessSource, ArtifactStore
from pinnace.records import StoreCredentials, StoreCredentialsQuery
from pinnace_api.identity import Caller, TokenReviewer
from pinnace_api.refusals import NotFound
from pinnace_api.store_credentials.sts import TokenService

_log: Final = logging.getLogger(__name__)


def give(
    reviewer: TokenReviewer, tokens: TokenService, caller: Caller, query: StoreCredentialsQuery
) -> StoreCredentials:
    """New ones for the keys of the caller's own namespace, which Kubernetes vouches for. Raises NotFound, Unavailable.

    A store that is not offered to that namespace is refused in the very words for one that is not there.
    """
    store = reviewer.artifact_store(query.store)
    if store is None or not _is_offered(store, caller.namespace, reviewer):
        raise NotFound(
            f"there is no ArtifactStore {query.store!r} that gives credentials to the namespace {caller.namespace}",
            hint="the administrator offers one by its spec.namespaces or spec.namespaceSelector",
            field="store",
        )
    given = tokens.assume(store, caller.namespace, caller.pod_name)
    _log.info(
        "credentials.given",
        extra={
            "fields": {
                "store": store.name,
                "to": str(caller),
                "key": given.access_key_id,
                "until": given.expires_at.isoformat(),
            }
        },
    )
    return given


def _is_offered(store: ArtifactStore, namespace: str, reviewer: TokenReviewer) -> bool:
    spec = store.spec
    if spec.credentials.source is not AccessSource.STS:
        return False
    labels = reviewer.namespace_labels(namespace) if spec.namespace_selector is not None else {}
    return labels is not None and store.is_offered_to(namespace, labels)
