"""Which store an Experiment's files go to, and whose credentials its sidecars use. Pure.

An Experiment names an ArtifactStore, or describes a store of its own, or leaves both out: then it gets the default
ArtifactStore of its namespace, and where there is none, the operator's default store.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from pinnace.artifact_stores import AccessSource, ArtifactStore
from pinnace.errors import PinnaceError
from pinnace.settings import StoreSettings
from pinnace_operator.experiment_spec import ConfigMapKeyRef, Store
from pinnace_operator.settings import Platform

_FIELD: Final = "spec.artifacts.store"


class StoreError(PinnaceError):
    """There is no store for these files; `reason` is the condition's.

    `mendable`: not by the Experiment's spec alone, so what has begun goes on.
    """

    def __init__(self, reason: str, message: str, *, mendable: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.mendable = mendable


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The ArtifactStores that are offered to one namespace, by name."""

    namespace: str
    stores: Sequence[ArtifactStore] = ()


#: What a namespace is offered; None: the operator serves no ArtifactStores. May raise ClusterError.
OffersTo = Callable[[str], Offers | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenStore:
    #: Without credentials_dir and ca_file, which are the pod's.
    settings: StoreSettings
    #: The Secret in the Experiment's namespace. Empty: none is mounted.
    credentials_secret: str = ""
    #: The ArtifactStore whose credentials the API gives. Empty: it gives none.
    given_by: str = ""
    #: None: the authorities that the sidecar's image trusts.
    ca_bundle: ConfigMapKeyRef | None = None


def choose(wanted: Store, offers: Offers | None, platform: Platform) -> ChosenStore:
    """Raises StoreError. `offers` is None where the operator serves no ArtifactStores."""
    if wanted.ref is not None:
        return _offered(_named(wanted.ref, offers), wanted, offers, platform)
    default = None if _is_described(wanted) else _default(offers)
    if default is not None:
        return _offered(default, wanted, offers, platform)
    if (_is_described(wanted) or wanted.prefix is not None) and not platform.allow_inline_stores:
        raise StoreError(
            "OwnStoresNotAllowed",
            f"{_FIELD} describes a store, and the administrator allows ArtifactStores only: leave the fields out, and "
            f"name one in {_FIELD}.ref instead{_choice(offers)}",
            mendable=True,
        )
    return _described(wanted, offers, platform)


def may_use(wanted: Store, name: str) -> bool:
    """Whether a change of the ArtifactStore `name` can matter to who wants this."""
    return wanted.ref == name or (wanted.ref is None and not _is_described(wanted))


def _is_described(wanted: Store) -> bool:
    """A prefix alone says where below a store, and not which one."""
    return msgspec.structs.replace(wanted, ref=None, prefix=None) != Store()


def _named(name: str, offers: Offers | None) -> ArtifactStore:
    if offers is None:
        raise StoreError(
            "StoreNotOffered",
            f"{_FIELD}.ref: the operator serves no ArtifactStores: describe the store there instead, or have the "
            "administrator set artifactStores.enabled in Pinnace's chart",
            mendable=False,
        )
    for store in offers.stores:
        if store.name == name:
            return store
    # One that others are offered is told of in the words for one that is not there.
    raise StoreError(
        "StoreNotOffered",
        f"{_FIELD}.ref: no ArtifactStore {name} is offered to the namespace {offers.namespace}{_choice(offers)}; the "
        "administrator offers one by its spec.namespaces or spec.namespaceSelector",
        mendable=True,
    )


def _default(offers: Offers | None) -> ArtifactStore | None:
    defaults = [store for store in (offers.stores if offers else ()) if store.spec.default]
    if len(defaults) > 1:
        names = ", ".join(store.name for store in defaults)
        raise StoreError(
            "SeveralDefaultStores",
            f"{_FIELD}.ref is not set, and several ArtifactStores are the default of this namespace: {names}: name one "
            "there, or have the administrator leave spec.default true in one of them only",
            mendable=True,
        )
    return defaults[0] if defaults else None


def _offered(store: ArtifactStore, wanted: Store, offers: Offers | None, platform: Platform) -> ChosenStore:
    assert offers is not None
    below = wanted.prefix or ""
    if any(part in ("", ".", "..") for part in below.split("/")) and below:
        raise StoreError(
            "InvalidStore",
            f"{_FIELD}.prefix must be a path without empty parts, `.` and `..`: write for instance iris/trees",
            mendable=False,
        )
    try:
        settings = store.settings_in(offers.namespace, below)
    except ValueError as error:
        raise StoreError("InvalidStore", f"{_FIELD}.prefix: {error}: shorten it", mendable=False) from error
    if platform.default_store is not None:
        # How fast, and through which proxy, is the installation's say.
        settings = msgspec.structs.replace(
            settings,
            proxy=platform.default_store.proxy,
            no_proxy=platform.default_store.no_proxy,
            bandwidth_bytes_per_second=platform.default_store.bandwidth_bytes_per_second,
            read_back=platform.default_store.read_back,
        )
    access, bundle = store.spec.credentials, store.spec.ca_bundle_ref
    ca_bundle = ConfigMapKeyRef(name=bundle.name, key=bundle.key) if bundle is not None else None
    match access.source:
        case AccessSource.TENANT_SECRET:
            secret = access.tenant_secret_ref
            name = secret.name if secret is not None else platform.store_credentials_secret
            return ChosenStore(settings=settings, credentials_secret=name, ca_bundle=ca_bundle)
        case AccessSource.WORKLOAD_IDENTITY:
            return ChosenStore(settings=settings, ca_bundle=ca_bundle)
        case AccessSource.STS:
            return ChosenStore(settings=settings, given_by=store.name, ca_bundle=ca_bundle)


def _described(wanted: Store, offers: Offers | None, platform: Platform) -> ChosenStore:
    fields = msgspec.structs.asdict(platform.default_store) if platform.default_store else {}
    fields["credentials_dir"] = fields["ca_file"] = ""
    for name in ("endpoint", "region", "bucket", "prefix", "server_side_encryption"):
        value = getattr(wanted, name)
        if value is not None:
            fields[name] = value
    for name, choice in (("addressing", wanted.addressing), ("checksums", wanted.checksums)):
        if choice is not None:
            fields[name] = choice.value.lower()
    if "bucket" not in fields:
        raise StoreError(
            "StoreNotConfigured",
            f"{_FIELD}.bucket is not set and the operator has no default store: name a bucket there, "
            f"or have the administrator set the operator's default store{_choice(offers)}",
            mendable=offers is not None,
        )
    try:
        settings = msgspec.convert(fields, StoreSettings)
    except (msgspec.ValidationError, ValueError) as error:
        raise StoreError("InvalidStore", f"{_FIELD}: {error}: correct it there", mendable=False) from error
    reference = wanted.credentials_secret_ref
    return ChosenStore(
        settings=settings,
        credentials_secret=reference.name if reference else platform.store_credentials_secret,
        ca_bundle=wanted.ca_bundle_ref or platform.store_ca_bundle,
    )


def _choice(offers: Offers | None) -> str:
    names = [store.name for store in offers.stores] if offers else []
    return f" (offered are: {', '.join(names)})" if names else ""
