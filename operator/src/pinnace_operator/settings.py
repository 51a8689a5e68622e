"""What the operator is told: `PINNACE_OPERATOR_<FIELD>`, and `PINNACE_STORE_<FIELD>` for the default store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from pinnace.settings import STORE_PREFIX, ClientSettings, SettingsError, StoreSettings, check_http_url, load
from pinnace_operator.experiment_spec import ConfigMapKeyRef, EngineKind

OPERATOR_PREFIX: Final = "PINNACE_OPERATOR_"

DEFAULT_RESOURCES: Final = '{"requests":{"cpu":"50m","memory":"64Mi"},"limits":{"memory":"256Mi"}}'


class OperatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    #: The metadata API, as the operator reaches it.
    api_url: str
    #: A file with the operator's bearer token, read again for each request because it is rotated.
    api_token_file: str = ""
    api_ca_file: str = ""
    #: The metadata API, as sidecars reach it. Empty: like `api_url`.
    sidecar_api_url: str = ""
    sidecar_image: Annotated[str, Meta(min_length=1)]
    sidecar_image_pull_policy: Annotated[str, Meta(pattern="^(Always|IfNotPresent|Never)$")] = "IfNotPresent"
    #: A ResourceRequirements as a JSON object.
    sidecar_resources: str = DEFAULT_RESOURCES
    #: The namespaces to serve, as a JSON list. Empty: all of them.
    namespaces: tuple[str, ...] = ()
    #: What may run iterations beside Jobs, as a JSON list. Their objects are watched, which takes rights.
    engines: tuple[EngineKind, ...] = ()
    #: The Secret, in each Experiment's own namespace, with the credentials of the store.
    store_credentials_secret: Annotated[str, Meta(min_length=1, max_length=253)] = "pinnace-store"  # noqa: S105 - a name
    #: The ConfigMap, in each Experiment's own namespace, with the authorities that sign the store's certificate, and
    #: its key. Empty: those that the sidecar's image trusts.
    store_ca_config_map: Annotated[str, Meta(max_length=253)] = ""
    store_ca_key: Annotated[str, Meta(min_length=1, max_length=253)] = "ca.crt"
    #: Only Experiments that this label selector picks are served. Empty: all.
    selector: Annotated[str, Meta(max_length=4096)] = ""
    #: Where the Lease lies by which one operator works at a time. Empty: there is no other.
    lease_namespace: Annotated[str, Meta(max_length=63)] = ""
    #: Who holds the Lease: of two processes that live at the same time never the same. Empty: made up.
    identity: Annotated[str, Meta(max_length=200)] = ""
    #: Whether Experiments may name ArtifactStores; they and the labels of namespaces are watched then.
    artifact_stores: bool = False
    #: Whether Experiments may describe stores of their own.
    allow_inline_stores: bool = True
    #: Port of /healthz and /metrics on every address.
    health_port: Annotated[int, Meta(ge=1, le=65535)] = 8080
    #: How often to ask the API how the artifacts of an unfinished Experiment stand.
    poll_seconds: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    #: Port of the admission webhooks, HTTPS, on every address. 0: there are none.
    webhook_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    #: The names under which the API server calls them.
    webhook_hosts: tuple[str, ...] = ()
    #: The Secret, `NAMESPACE/NAME`, in which the certificate is kept that the operator makes for them. It has to exist.
    webhook_secret: Annotated[str, Meta(pattern="^([^/]+/[^/]+)?$")] = ""
    #: The name of both webhook configurations, whose authorities the operator keeps up to date.
    webhook_configuration: str = ""
    #: How long a certificate is valid; it is replaced after two thirds of that.
    webhook_certificate_seconds: Annotated[float, Meta(ge=1)] = 90 * 86400.0
    #: A folder with `tls.crt` and `tls.key` that somebody else keeps up to date. Set: the operator makes none.
    webhook_certificate_dir: str = ""

    def __post_init__(self) -> None:
        own = bool(self.webhook_secret and self.webhook_configuration and self.webhook_hosts)
        if self.webhook_port and not own and not self.webhook_certificate_dir:
            raise ValueError(
                "webhook_port needs a certificate: set webhook_secret, webhook_configuration and webhook_hosts, "
                "or webhook_certificate_dir"
            )
        check_http_url(self.api_url, "api_url")
        if self.sidecar_api_url:
            check_http_url(self.sidecar_api_url, "sidecar_api_url")
        _object(self.sidecar_resources, "sidecar_resources")

    @property
    def client(self) -> ClientSettings:
        return ClientSettings(api_url=self.api_url, api_token_file=self.api_token_file, api_ca_file=self.api_ca_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What every Job gets from this installation, whatever its Experiment says."""

    sidecar_image: str
    sidecar_image_pull_policy: str
    sidecar_resources: Mapping[str, Any]
    sidecar_api_url: str
    store_credentials_secret: str
    #: None: each Experiment must name its bucket.
    default_store: StoreSettings | None
    poll_seconds: float
    store_ca_bundle: ConfigMapKeyRef | None = None
    allow_inline_stores: bool = True
    #: Those that are enabled beside Jobs.
    engines: frozenset[EngineKind] = frozenset()
    #: Whether pods of other owners get the sidecar.
    injects: bool = False

    def runs(self, engine: EngineKind) -> bool:
        return engine is EngineKind.JOB or engine in self.engines

    @classmethod
    def from_settings(cls, settings: OperatorSettings, default_store: StoreSettings | None) -> "Platform":
        return cls(
            sidecar_image=settings.sidecar_image,
            sidecar_image_pull_policy=settings.sidecar_image_pull_policy,
            sidecar_resources=_object(settings.sidecar_resources, "sidecar_resources"),
            sidecar_api_url=settings.sidecar_api_url or settings.api_url,
            store_credentials_secret=settings.store_credentials_secret,
            default_store=default_store,
            poll_seconds=settings.poll_seconds,
            allow_inline_stores=settings.allow_inline_stores,
            store_ca_bundle=ConfigMapKeyRef(name=settings.store_ca_config_map, key=settings.store_ca_key)
            if settings.store_ca_config_map
            else None,
            engines=frozenset(settings.engines),
            injects=settings.webhook_port > 0,
        )


def from_env(environ: Mapping[str, str]) -> tuple[OperatorSettings, Platform]:
    """Raises SettingsError naming every variable that is wrong."""
    settings = load(OperatorSettings, environ, OPERATOR_PREFIX)
    has_store = bool(environ.get(f"{STORE_PREFIX}BUCKET"))
    default_store = load(StoreSettings, environ, STORE_PREFIX) if has_store else None
    if default_store is not None and "@" in default_store.proxy:
        raise SettingsError(
            f"{STORE_PREFIX}PROXY has a user in it, which everybody who may read pods could read",
            hint="take it out, and put `user:password` as PROXY_CREDENTIALS into the Secret of the store",
        )
    return settings, Platform.from_settings(settings, default_store)


def _object(text: str, field: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"{field} must be a JSON object, not {text[:80]!r}: {error}") from error
