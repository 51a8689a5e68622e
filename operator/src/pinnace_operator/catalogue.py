"""The ArtifactStores that there are and the labels of namespaces, as the watches show them: who is offered what.

Nobody is told that a store is not offered before all of them have been listed. Watches lose things now and then, so
they are listed again every `RELIST`; whatever comes late or twice is told by its version.
"""

import logging
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from pinnace.artifact_stores import ArtifactStore, MalformedStoreError
from pinnace_operator.ports import GoneError
from pinnace_operator.sightings import RELIST
from pinnace_operator.stores import Offers

_log: Final = logging.getLogger(__name__)

_ValueT = TypeVar("_ValueT")

#: By name: the version of the object, and what we keep of it. None: there is nothing to keep, or it was deleted.
_Seen = dict[str, tuple[int, _ValueT | None]]


class Lists(Protocol):
    """The part of ports.Cluster that is asked: all objects, and the version of the list. Raises ClusterError."""

    def artifact_stores(self) -> tuple[list[dict[str, Any]], int]: ...

    def namespaces(self) -> tuple[list[dict[str, Any]], int]: ...


class Catalogue:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listed_at: datetime | None = None
        self._stores: _Seen[ArtifactStore] = {}
        self._labels: _Seen[Mapping[str, str]] = {}

    def refresh(self, cluster: Lists, now: datetime) -> None:
        """List all when that is due. Raises ClusterError."""
        if self._listed_at is not None and now - self._listed_at <= RELIST:
            return
        try:
            stores, stores_version = cluster.artifact_stores()
        except GoneError:
            # The definition is not installed.
            stores, stores_version = [], 0
        namespaces, namespaces_version = cluster.namespaces()
        with self._lock:
            self._stores = _listed(self._stores, {_name(each): _seen(each, _store) for each in stores}, stores_version)
            labels = {_name(each): _seen(each, _labels) for each in namespaces}
            self._labels = _listed(self._labels, labels, namespaces_version)
            self._listed_at = now

    def offers_now(self, namespace: str, cluster: Lists, now: datetime) -> Offers:
        """The same as `offers`, for who does not know whether all have been listed. Raises ClusterError."""
        self.refresh(cluster, now)
        return self.offers(namespace)

    def see_store(self, manifest: dict[str, Any], *, deleted: bool = False) -> bool:
        """Whether that changes what somebody is offered."""
        version, store = _seen(manifest, _store)
        with self._lock:
            return _take(self._stores, _name(manifest), version, None if deleted else store)

    def see_namespace(self, manifest: dict[str, Any], *, deleted: bool = False) -> bool:
        """Whether that changes its labels."""
        version, labels = _seen(manifest, _labels)
        with self._lock:
            return _take(self._labels, _name(manifest), version, None if deleted else labels)

    def offers(self, namespace: str) -> Offers:
        """What the namespace is offered now."""
        with self._lock:
            _, labels = self._labels.get(namespace, (0, None))
            stores = [store for _, store in self._stores.values() if store is not None]
        offered = [store for store in stores if store.is_offered_to(namespace, labels or {})]
        return Offers(namespace=namespace, stores=tuple(sorted(offered, key=lambda store: store.name)))


def _take(seen: _Seen[_ValueT], name: str, version: int, value: _ValueT | None) -> bool:
    known, before = seen.get(name, (0, None))
    if known > version:
        return False
    seen[name] = (version, value)
    return before != value


def _listed(seen: _Seen[_ValueT], listed: _Seen[_ValueT], version: int) -> _Seen[_ValueT]:
    """The list is the truth, except for what is newer."""
    newer = {name: entry for name, entry in seen.items() if entry[0] > max(version, listed.get(name, (0, None))[0])}
    return listed | newer


def _seen(manifest: dict[str, Any], view: Any) -> tuple[int, Any]:
    version = str(manifest["metadata"].get("resourceVersion", "0"))
    return int(version) if version.isdigit() else 0, view(manifest)


def _store(manifest: dict[str, Any]) -> ArtifactStore | None:
    """What can't be read is offered to nobody."""
    try:
        return ArtifactStore.from_manifest(manifest)
    except MalformedStoreError as error:
        _log.warning("artifact_store.malformed error=%s; %s", error, error.hint)
        return None


def _labels(manifest: dict[str, Any]) -> Mapping[str, str]:
    return manifest["metadata"].get("labels") or {}


def _name(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["name"])
