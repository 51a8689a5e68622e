"""What the API is told: `PINNACE_API_<FIELD>` in the environment."""

import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

import msgspec
import sqlalchemy
from msgspec import Meta
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from pinnace import settings
from pinnace.settings import SettingsError, StoreSettings

PREFIX: Final = "PINNACE_API_"

#: The most that one request's body may hold; the largest sensible batch of artifacts or metrics stays below.
MAX_BODY_BYTES: Final = 32 * 2**20
#: A shorter admin token could be guessed.
MIN_TOKEN_LENGTH: Final = 16


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`from_env` reads it; every mistake is reported together as SettingsError."""

    #: `sqlite:///FILE` (four slashes: an absolute path), or `postgresql://USER:PASSWORD@HOST/DATABASE`, which bears
    #: several replicas; what libpq knows (`?sslmode=verify-full`, PGPASSFILE, …) holds there too.
    database_url: Annotated[str, Meta(min_length=1, max_length=2048)] = "sqlite:///pinnace.db"
    #: A file that holds the URL, such as a mounted Secret, in place of `database_url`.
    database_url_file: str = ""
    #: Connections at most, and so requests at work at a time. 0: 40 on SQLite, 20 on PostgreSQL. All replicas together,
    #: and one more while they are replaced, must fit into the server's max_connections.
    database_connections: Annotated[int, Meta(ge=0, le=1000)] = 0
    #: How long PostgreSQL may take over one statement; then the request ends as 503.
    database_statement_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    #: Every IPv4 address: in a pod the network policy and the token guard it, and nobody could reach a narrower one.
    host: Annotated[str, Meta(min_length=1, max_length=253)] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    #: A file with the admin's bearer token, read again when it changes. Empty: there is no admin.
    admin_token_file: str = ""
    #: The operator's service account, `system:serviceaccount:NAMESPACE:NAME`. Empty: there is no operator.
    operator_subject: Annotated[str, Meta(pattern="^(|system:serviceaccount:[^:]+:[^:]+)$")] = ""
    #: Whether service-account tokens are accepted, by asking the Kubernetes that the API runs in.
    kubernetes: bool = False
    #: How often the API looks for iterations whose signs of life have stopped.
    sweep_seconds: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    #: How the outside reaches the API: `https://HOST[:PORT]`, http only for a loopback address. Empty: nobody logs in
    #: with a browser at an identity provider, and cookies want https.
    public_url: Annotated[str, Meta(max_length=512)] = ""
    #: How long a login lasts.
    session_seconds: Annotated[int, Meta(ge=60, le=30 * 86_400)] = 12 * 3600
    #: Addresses and networks of proxies whose X-Forwarded-For is believed. Empty: nobody's is.
    trusted_proxies: tuple[str, ...] = ()
    #: Origins of other sites whose pages may use the API with a token, `https://HOST[:PORT]`. Empty: none (no CORS).
    cors_origins: tuple[str, ...] = ()
    #: The identity provider's name as it writes it itself, https; empty: there is none.
    oidc_issuer: Annotated[str, Meta(max_length=512)] = ""
    oidc_client_id: Annotated[str, Meta(max_length=255)] = ""
    #: A file with the client's secret, read again for each login. Empty: a public client, by PKCE alone.
    oidc_client_secret_file: str = ""
    oidc_scopes: tuple[str, ...] = ("openid", "profile", "email")
    #: The claim that lists a user's groups; each is called `oidc:NAME` here.
    oidc_groups_claim: Annotated[str, Meta(min_length=1, max_length=255)] = "groups"
    #: Domains of verified e-mail addresses whose users may log in; `*`: whoever the provider knows.
    oidc_allowed_domains: tuple[str, ...] = ()
    #: The provider's groups whose users may log in.
    oidc_allowed_groups: tuple[str, ...] = ()
    #: The provider's groups whose users are admins, and nobody else of its users. Empty: it does not decide that.
    oidc_admin_groups: tuple[str, ...] = ()
    #: PEM file with the authorities to trust for the provider instead of the system's.
    oidc_ca_file: str = ""
    #: Where new artifacts' bytes go: `inline` (the database), `filesystem` or `s3`. Where old ones lie stands in their
    #: rows, so what held them stays configured until `pinnace migrate-artifacts` has moved them.
    artifacts_backend: Annotated[str, Meta(pattern="^(inline|filesystem|s3)$")] = "inline"
    #: The folder of `filesystem`, absolute; every replica must see the same one.
    artifacts_dir: str = ""
    #: Other addresses of stores that rows may name (as sidecars recorded them) and that the API's key can read. Nothing
    #: is ever asked of an address that is neither here nor PINNACE_STORE_ENDPOINT.
    store_endpoints: tuple[str, ...] = ()
    #: The store of `s3`: `PINNACE_STORE_…`, as sidecars have it. None without PINNACE_STORE_BUCKET.
    store: StoreSettings | None = None
    #: The largest file that is taken. 0: as much as there is room for.
    artifact_limit_bytes: Annotated[int, Meta(ge=0)] = 0
    #: How long an upload in several requests may rest before what arrived is thrown away.
    upload_expiry_seconds: Annotated[int, Meta(ge=60)] = 7 * 86_400
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"

    def __post_init__(self) -> None:
        check_database_url(self.database_url)
        self._check_artifacts()
        if self.public_url:
            check_public_url(self.public_url, "public_url")
        for origin in self.cors_origins:
            check_public_url(origin, "cors_origins")
        for network in self.trusted_proxies:
            check_network(network)
        if self.oidc_issuer:
            self._check_oidc()

    @property
    def session_lifetime(self) -> timedelta:
        return timedelta(seconds=self.session_seconds)

    def _check_artifacts(self) -> None:
        if self.artifacts_dir and not Path(self.artifacts_dir).is_absolute():
            raise ValueError("artifacts_dir must be absolute: a relative one would mean another folder elsewhere")
        if self.artifacts_backend == "filesystem" and not self.artifacts_dir:
            raise ValueError("artifacts_backend is filesystem, and artifacts_dir is not set")
        if self.artifacts_backend == "s3" and self.store is None:
            raise ValueError("artifacts_backend is s3, and PINNACE_STORE_BUCKET is not set")

    def _check_oidc(self) -> None:
        parts = urlsplit(self.oidc_issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise ValueError("oidc_issuer must be https: over http anybody on the way could log in as anybody")
        if not self.oidc_client_id:
            raise ValueError("oidc_client_id is not set: what the identity provider calls this API")
        if not self.public_url:
            raise ValueError("public_url is not set: the identity provider sends browsers back there")
        if "openid" not in self.oidc_scopes:
            raise ValueError("oidc_scopes must hold openid")
        if not self.oidc_allowed_domains and not self.oidc_allowed_groups:
            raise ValueError('oidc_allowed_domains or oidc_allowed_groups must say who may log in; "*" is everybody')

    def __repr__(self) -> str:
        return f"ApiSettings(host={self.host!r}, port={self.port})"  # the database's URL may hold a password

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises SettingsError naming every variable that is wrong."""
        # Kubernetes announces a Service called `pinnace-api` to the pods of its namespace as
        # PINNACE_API_PORT=tcp://10.0.0.1:8080, which is not meant for us.
        announced = re.compile(r"(tcp|udp|sctp)://")
        own = {name: value for name, value in environ.items() if not announced.match(value)}
        store = settings.load_store(environ) if environ.get(f"{settings.STORE_PREFIX}BUCKET") else None
        return settings.load(cls, own, PREFIX, store=store)

    def effective_database_url(self) -> str:
        """The URL, from its file where there is one. Raises SettingsError, which does not show it."""
        if not self.database_url_file:
            return self.database_url
        try:
            url = Path(self.database_url_file).read_text(encoding="utf-8").strip()
            check_database_url(url)
        except OSError as error:
            raise SettingsError(f"{PREFIX}DATABASE_URL_FILE can't be read: {error}") from error
        except ValueError as error:
            raise SettingsError(f"{PREFIX}DATABASE_URL_FILE: {error}") from error
        return url

    def check_surroundings(self) -> None:
        """Raise SettingsError when a file or folder that a setting names can't be used."""
        if self.admin_token_file:
            try:
                token = Path(self.admin_token_file).read_bytes().strip()
            except OSError as error:
                raise SettingsError(f"{PREFIX}ADMIN_TOKEN_FILE can't be read: {error}") from error
            if len(token) < MIN_TOKEN_LENGTH:
                raise SettingsError(
                    f"{PREFIX}ADMIN_TOKEN_FILE holds a token of less than {MIN_TOKEN_LENGTH} characters",
                    hint="make one with: openssl rand -hex 32",
                )
        url = sqlalchemy.make_url(self.effective_database_url())
        if url.get_backend_name() == "sqlite" and url.database:
            folder = Path(url.database).absolute().parent
            if not os.access(folder, os.W_OK | os.X_OK):
                raise SettingsError(
                    f"{PREFIX}DATABASE_URL lies in the folder {folder}, which is not there or can't be written to"
                )


def check_public_url(url: str, field: str) -> None:
    """Raise ValueError unless `url` is an origin that secrets may travel to: https, or http to this very computer."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or url != f"{parts.scheme}://{parts.netloc}" or not parts.hostname:
        raise ValueError(f"{field} must be https://HOST[:PORT] without a path, not {url!r}")
    if "@" in parts.netloc:
        raise ValueError(f"{field} must not hold a user")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"{field} must be https: over http anybody on the way reads passwords and tokens")


def is_loopback(host: str) -> bool:
    """Whether `host` is this very computer."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_network(text: str) -> None:
    """Raise ValueError unless `text` is an address or a network, and not all there are."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"trusted_proxies: {error}") from None
    if network.prefixlen == 0:
        raise ValueError("trusted_proxies must not be every address: anybody could then claim any")


def check_database_url(url: str) -> None:
    """Raise ValueError unless SQLAlchemy understands `url`, its driver is installed and the tables can live there."""
    try:
        parsed = sqlalchemy.make_url(url)
        parsed.get_dialect().import_dbapi()
    except ArgumentError:
        raise ValueError("database_url is not a database URL; example: sqlite:////var/lib/pinnace/pinnace.db") from None
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ValueError(f"database_url asks for a driver that is not installed: {error}") from None
    except ValueError:  # a port that is no number; the message would show what stands before it
        raise ValueError("database_url has a port that is not a number") from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ValueError(f"database_url must be of sqlite or postgresql, not {backend}")
    if backend == "postgresql" and parsed.get_driver_name() != "psycopg":
        raise ValueError("database_url must be postgresql://… or postgresql+psycopg://…")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ValueError("database_url must name a file: what is in memory would be lost")
