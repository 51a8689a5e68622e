"""What the API is told: `PINNACE_API_<FIELD>`. configuration.py says from where."""

import ipaddress
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
import sqlalchemy
from msgspec import Meta
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from pinnace.setting_sources import shown_path
from pinnace.setting_values import SECRET
from pinnace.settings import SettingsError, StoreSettings, WrongValues

PREFIX: Final = "PINNACE_API_"

#: The most that one request's body may hold; the largest sensible batch of artifacts or metrics stays below.
MAX_BODY_BYTES: Final = 32 * 2**20
#: A shorter admin token could be guessed.
MIN_TOKEN_LENGTH: Final = 16


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Raises WrongValues with every sentence about values that don't go together."""

    #: `sqlite:///FILE` (four slashes: an absolute path), or `postgresql://USER:PASSWORD@HOST/DATABASE`, which bears
    #: several replicas; what libpq knows (`?sslmode=verify-full`, PGPASSFILE, …) holds there too.
    database_url: Annotated[str, Meta(min_length=1, max_length=2048, extra=SECRET)] = "sqlite:///pinnace.db"
    #: Connections at most, and so requests at work at a time. 0: 40 on SQLite, 20 on PostgreSQL. All replicas together,
    #: and one more while they are replaced, must fit into the server's max_connections.
    database_connections: Annotated[int, Meta(ge=0, le=1000)] = 0
    #: How long PostgreSQL may take over one statement; then the request ends as 503.
    database_statement_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    #: Where to listen. Every IPv4 address: in a pod the network policy and the token guard it, and nobody could reach a
    #: narrower one.
    host: Annotated[str, Meta(min_length=1, max_length=253)] = "0.0.0.0"  # noqa: S104
    #: 0: any that is free, which is printed by `pinnace server` only.
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    #: A file with the admin's bearer token, read again when it changes. Empty: there is no admin.
    admin_token_file: str = ""
    #: The operator's service account, `system:serviceaccount:NAMESPACE:NAME`. Empty: there is no operator.
    operator_subject: Annotated[
        str,
        Meta(
            pattern="^(|system:serviceaccount:[^:]+:[^:]+)$",
            description="system:serviceaccount:NAMESPACE:NAME or empty",
        ),
    ] = ""
    #: Whether service-account tokens are accepted, by asking the Kubernetes that the API runs in.
    kubernetes: bool = False
    #: A folder with a folder for each key that ArtifactStores name, as their Secrets are mounted; the API buys pods
    #: short-lived credentials with them. Empty: there are none.
    store_keys_dir: str = ""
    #: How often the API looks for iterations whose signs of life have stopped.
    sweep_seconds: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    #: How often the API applies retention policies, one replica at a time. 0: never, `pinnace retention apply` does.
    retention_seconds: Annotated[float, Meta(ge=0, le=30 * 86_400)] = 0.0
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
    #: What the identity provider knows this API by.
    oidc_client_id: Annotated[str, Meta(max_length=255)] = ""
    #: A file with the client's secret, read again for each login. Empty: a public client, by PKCE alone.
    oidc_client_secret_file: str = ""
    #: What the API asks the provider for; `openid` must be there.
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
    #: Where the one-time token for the first admin is written, for its owner alone, when there is neither a user nor an
    #: admin's token. Empty: it is printed to standard error.
    setup_token_file: str = ""
    #: How long the database, and how long the store of new bytes, may take to answer before /readyz says no.
    ready_seconds: Annotated[float, Meta(gt=0, le=60)] = 2.0
    #: How long requests under way may go on when the process is asked to end. Uploads are told to resume after
    #: half of it. Kubernetes' terminationGracePeriodSeconds must be longer.
    grace_seconds: Annotated[float, Meta(gt=0, le=3600)] = 20.0
    #: From which level on lines are written.
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    #: `text`: a line for people and machines; `json`: an object a line.
    log_format: Annotated[str, Meta(pattern="^(text|json)$")] = "text"

    def __post_init__(self) -> None:
        if wrong := tuple(self._wrong()):
            raise WrongValues(self, wrong)

    @property
    def session_lifetime(self) -> timedelta:
        return timedelta(seconds=self.session_seconds)

    def _wrong(self) -> Iterator[str]:
        yield from _complaints(check_database_url, self.database_url)
        if self.artifacts_dir and not Path(self.artifacts_dir).is_absolute():
            yield "artifacts_dir must be absolute: a relative one would mean another folder elsewhere"
        if self.artifacts_backend == "filesystem" and not self.artifacts_dir:
            yield "artifacts_backend is filesystem, and artifacts_dir is not set"
        if self.artifacts_backend == "s3" and self.store is None:
            yield "artifacts_backend is s3, and PINNACE_STORE_BUCKET is not set"
        if self.public_url:
            yield from _complaints(check_public_url, self.public_url, "public_url")
        for origin in self.cors_origins:
            yield from _complaints(check_public_url, origin, "cors_origins")
        for network in self.trusted_proxies:
            yield from _complaints(check_network, network)
        if self.oidc_issuer:
            yield from self._wrong_oidc()

    def _wrong_oidc(self) -> Iterator[str]:
        parts = urlsplit(self.oidc_issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            yield "oidc_issuer must be https: over http anybody on the way could log in as anybody"
        if not self.oidc_client_id:
            yield "oidc_client_id is not set: what the identity provider calls this API"
        if not self.public_url:
            yield "public_url is not set: the identity provider sends browsers back there"
        if "openid" not in self.oidc_scopes:
            yield "oidc_scopes must hold openid"
        if not self.oidc_allowed_domains and not self.oidc_allowed_groups:
            yield 'oidc_allowed_domains or oidc_allowed_groups must say who may log in; "*" is everybody'

    def __repr__(self) -> str:
        return f"ApiSettings(host={self.host!r}, port={self.port})"  # the database's URL may hold a password

    def check_surroundings(self) -> None:
        """Raise SettingsError when files or folders that settings name can't be used."""
        if wrong := tuple(self.surroundings()):
            raise SettingsError("; ".join(wrong), hint="correct these settings and start again")

    def surroundings(self) -> Iterator[str]:
        """What is wrong with files and folders that settings name, a sentence each."""
        if self.admin_token_file:
            yield from self._wrong_admin_token()
        for field in ("oidc_client_secret_file", "oidc_ca_file"):
            if (file := getattr(self, field)) and not os.access(file, os.R_OK):
                yield f"{PREFIX}{field.upper()} is {shown_path(file)!r}, which is not there or can't be read"
        if (folder := self._database_folder()) and not os.access(folder, os.W_OK | os.X_OK):
            yield f"{PREFIX}DATABASE_URL lies in the folder {folder}, which is not there or can't be written to"
        if self.setup_token_file and not os.access(Path(self.setup_token_file).absolute().parent, os.W_OK | os.X_OK):
            yield f"{PREFIX}SETUP_TOKEN_FILE is {self.setup_token_file!r}, and nothing can be written in that folder"
        if self.artifacts_backend == "filesystem":
            above = next(
                each for each in (Path(self.artifacts_dir), *Path(self.artifacts_dir).parents) if each.exists()
            )
            if not os.access(above, os.W_OK | os.X_OK) or not above.is_dir():
                yield f"{PREFIX}ARTIFACTS_DIR is {self.artifacts_dir!r}, and nothing can be written there"

    def _wrong_admin_token(self) -> Iterator[str]:
        name, file = f"{PREFIX}ADMIN_TOKEN_FILE", self.admin_token_file
        try:
            token = Path(file).read_bytes().strip()
        except OSError as error:
            yield f"{name} is {shown_path(file)!r}, which can't be read: {error.strerror}"
        else:
            if len(token) < MIN_TOKEN_LENGTH:
                yield (
                    f"{name} is {shown_path(file)!r}, which holds a token of less than {MIN_TOKEN_LENGTH} characters:"
                    " make one with openssl rand -hex 32"
                )

    def _database_folder(self) -> Path | None:
        try:
            url = sqlalchemy.make_url(self.database_url)
        except (ArgumentError, ValueError):
            return None
        return Path(url.database).absolute().parent if url.get_backend_name() == "sqlite" and url.database else None


def _complaints(check: Callable[..., None], *values: str) -> Iterator[str]:
    try:
        check(*values)
    except ValueError as error:
        yield str(error)


def shown_database_url(url: str) -> str:
    """`url` without its passwords, wherever they stand."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (ArgumentError, ValueError):
        return "***"
    hidden = {name: "***" for name in parsed.query if "password" in name.lower()}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True)


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
