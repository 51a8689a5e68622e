"""Settings from the environment: parsed once, typed, every mistake reported together.

`load(Type, environ, prefix)` reads `<PREFIX><FIELD>` for each field of a msgspec struct; `dump` is its inverse, so the
operator writes a sidecar's environment from the same type that the sidecar parses.
"""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar, get_type_hints
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import Meta

from pinnace.errors import PinnaceError
from pinnace.setting_values import SECRET, expected, is_secret, parse, spelt

_T = TypeVar("_T", bound=msgspec.Struct)

SIDECAR_PREFIX: Final = "PINNACE_"
STORE_PREFIX: Final = "PINNACE_STORE_"
CLIENT_PREFIX: Final = "PINNACE_"

_PROXIES: Final = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY"}
_FOR_ALL: Final = ("ALL_PROXY", "NO_PROXY")


class SettingsError(PinnaceError):
    """One or more settings are missing or wrong; the message has a line for each. Trying again can't help."""


class WrongValues(ValueError):
    """What a type of settings finds wrong with its `settings`: a sentence each, which begins with a field's name."""

    def __init__(self, settings: Any, sentences: tuple[str, ...]) -> None:
        super().__init__("; ".join(sentences))
        self.settings = settings
        self.sentences = sentences


#: Whether to use what not every store knows. Not `on` and `off`: to YAML those are no words.
Switch = Literal["auto", "always", "never"]


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which bucket of which S3-compatible store. Credentials are never part of it."""

    #: `http://` or `https://`, host, optional port; no path. Empty: the region's public endpoint of AWS.
    endpoint: Annotated[str, Meta(max_length=512)] = ""
    #: What requests are signed for.
    region: Annotated[str, Meta(min_length=1, max_length=64)] = "us-east-1"
    #: It has to be there.
    bucket: Annotated[
        str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="3 to 63 of a-z, 0-9, . and -")
    ]
    #: Prepended to every key, without slashes at its ends.
    prefix: Annotated[str, Meta(max_length=512)] = ""
    #: `path`: endpoint/bucket/key; `virtual`: bucket.endpoint/key.
    addressing: Annotated[str, Meta(pattern="^(path|virtual)$")] = "path"
    #: A folder with the files AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and maybe AWS_SESSION_TOKEN (a mounted
    #: Secret). Empty: botocore's own chain (environment, files, web identity, instance).
    credentials_dir: str = ""
    #: PEM file with the authorities to trust instead of the system's. Empty: the system's.
    ca_file: str = ""
    #: Whether uploads carry a CRC32C for the store to compare, keep and tell. `auto`: as far as the store's first
    #: answers show that it knows it. `never` for a store that mishandles what it doesn't know.
    checksums: Switch = "auto"
    #: Whether objects are written on condition that nothing lies under their key; `auto` as above.
    conditional_writes: Switch = "auto"
    #: What the store is to encrypt objects with: `AES256` (its own key), `aws:kms` (the bucket's key of its KMS) or
    #: `aws:kms:KEYID`. Empty: as the bucket is configured.
    server_side_encryption: Annotated[str, Meta(pattern=r"^(AES256|aws:kms(:[!-~]+)?)?$(?!\n)", max_length=512)] = ""
    #: The HTTP proxy on the way to the endpoint, `http://HOST[:PORT]`. Empty: none. A proxy that asks who is there is
    #: told by the file PROXY_CREDENTIALS (`user:password`) in `credentials_dir`. `user:password@` before HOST is for
    #: processes of one's own, whose settings nobody else reads.
    proxy: Annotated[str, Meta(max_length=512, extra=SECRET)] = ""
    #: Hosts to reach directly: names (with all names below them), `.suffix`, addresses, networks (10.0.0.0/8), each
    #: maybe with `:PORT`; `*` for every host.
    no_proxy: tuple[str, ...] = ()
    #: What uploads and downloads of one process may take together. 0: all there is.
    bandwidth_bytes_per_second: Annotated[int, Meta(ge=0)] = 0
    #: Download each object after its upload and compare its SHA-256, whatever the store's checksums say.
    read_back: bool = False

    def __post_init__(self) -> None:
        if self.endpoint:
            check_http_url(self.endpoint, "endpoint")
        if self.proxy:
            check_proxy(self.proxy, "proxy")

    def __repr__(self) -> str:
        shown = ((field, without_user(value) if field == "proxy" else value) for field, value in _fields(self))
        return f"StoreSettings({', '.join(f'{field}={value!r}' for field, value in shown)})"


class SidecarSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one pod's sidecar is told. `PINNACE_<FIELD>`; the store's own settings are `PINNACE_STORE_<FIELD>`."""

    iteration_id: UUID
    pod_uid: Annotated[str, Meta(min_length=1, max_length=64)]
    #: Whether the pod is another owner's than the operator's, which its reports then say.
    injected: bool = False
    artifacts_dir: str = "/artifacts"
    buffer_dir: str = "/buffer"
    #: The buffer never grows beyond this many bytes; below the volume's own limit, where the pod would be evicted.
    buffer_limit_bytes: Annotated[int, Meta(ge=1)] = 9 * 2**30
    #: Globs on the path relative to `artifacts_dir`; `**` crosses folders. A file ships when it matches some
    #: `include` and no `exclude`.
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ("*.tmp", "*.part")
    #: A file is complete when inode, size and mtime stayed the same for this long.
    settle_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    #: Whether `<name>.done` marks `<name>` complete at once.
    markers: bool = True
    #: Whether content that the experiment has recorded already is not uploaded again.
    deduplicate: bool = True
    #: How hard zstd works on the copies of files that are not compressed already, 1 to 19. 0: they stay as they are.
    zstd_level: Annotated[int, Meta(ge=0, le=19)] = 0
    #: Files of metric lines to tail: globs like `include`.
    metrics_files: tuple[str, ...] = ("metrics.jsonl",)
    #: From SIGTERM to the end, at most.
    drain_timeout_seconds: Annotated[float, Meta(gt=0)] = 600.0
    #: Where the JSON report of the end goes: Kubernetes' termination message.
    termination_message: str = "/dev/termination-log"
    api_url: str
    #: A file with the bearer token, read again for each request because it is rotated.
    api_token_file: str = ""
    api_ca_file: str = ""
    #: The ArtifactStore that the API gives short-lived credentials for. Empty: the store's settings say whose to use.
    artifact_store: Annotated[str, Meta(max_length=253)] = ""
    #: Port of /healthz and /metrics on every address; 0: none.
    health_port: Annotated[int, Meta(ge=0, le=65535)] = 8085
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"

    def __post_init__(self) -> None:
        check_http_url(self.api_url, "api_url")


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the command line and the SDK reach the API: `PINNACE_API_URL`, `PINNACE_API_TOKEN` (or `…_TOKEN_FILE`)."""

    api_url: str = "http://127.0.0.1:8080"
    api_token: Annotated[str, Meta(extra=SECRET)] = ""
    api_token_file: str = ""
    api_ca_file: str = ""

    def __post_init__(self) -> None:
        check_http_url(self.api_url, "api_url")

    def __repr__(self) -> str:
        return f"ClientSettings(api_url={self.api_url!r})"


def check_http_url(url: str, field: str) -> None:
    """Raise ValueError unless `url` is http or https with a host and without credentials in it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"{field} must be http://HOST[:PORT] or https://HOST[:PORT] without a user in it, not {url!r}")


def check_proxy(url: str, field: str) -> None:
    """Raise ValueError, without showing a password, unless `url` is http with a host; a user may be in it."""
    parts = urlsplit(url)
    try:
        is_right = parts.scheme == "http" and bool(parts.hostname) and parts.path in ("", "/") and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError(f"{field} must be http://HOST[:PORT], not {without_user(url)!r}")


def without_user(url: str) -> str:
    """`url` as it may be shown."""
    before, _, rest = url.rpartition("@")
    return f"{before.partition('://')[0]}://***@{rest}" if before else url


def load_store(environ: Mapping[str, str]) -> StoreSettings:
    """The store's settings; without a proxy in them, that of the usual variables (`https_proxy`, `no_proxy`, …)."""
    settings = load(StoreSettings, environ, STORE_PREFIX)
    return settings if settings.proxy else with_usual_proxy(settings, environ)


def with_usual_proxy(settings: StoreSettings, environ: Mapping[str, str]) -> StoreSettings:
    """`settings` with the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY name for their endpoint, except NO_PROXY.

    In lower case these variables go before those in upper case. SettingsError when it is no proxy that we can use.
    """
    scheme = "http" if settings.endpoint.startswith("http:") else "https"
    usual = {name: environ.get(name.lower()) or environ.get(name, "") for name in (*_PROXIES.values(), *_FOR_ALL)}
    name = next((name for name in (_PROXIES[scheme], _FOR_ALL[0]) if usual[name]), "")
    if not name:
        return settings
    url = usual[name] if "://" in usual[name] else f"http://{usual[name]}"
    no_proxy = (*settings.no_proxy, *(entry.strip() for entry in usual[_FOR_ALL[1]].split(",") if entry.strip()))
    try:
        check_proxy(url, name)
    except ValueError as error:
        raise SettingsError(str(error), hint="only plain HTTP proxies are spoken to") from error
    return msgspec.structs.replace(settings, proxy=url, no_proxy=no_proxy)


def load(type_: type[_T], environ: Mapping[str, str], prefix: str, **given: Any) -> _T:
    """Read `type_` from `environ`; a variable that is absent or empty leaves the field's default.

    Fields that are `given` are not read.

    Lists are JSON; a plain word is taken for a list of one. Raises SettingsError naming every variable that is wrong.
    """
    mistakes: list[str] = []
    settings = read(type_, environ, prefix, mistakes, **given)
    if settings is None or mistakes:
        raise SettingsError("; ".join(mistakes), hint="correct these settings and start again")
    return settings


def read(
    type_: type[_T],
    environ: Mapping[str, str],
    prefix: str,
    mistakes: list[str],
    *,
    origins: Mapping[str, str] = MappingProxyType({}),
    **given: Any,
) -> _T | None:
    """As `load`, but what is wrong is added to `mistakes`; `origins` says where each variable came from.

    The result has the defaults of fields whose variables are wrong; it is None when there can be none.
    """
    hints = get_type_hints(type_, include_extras=True)
    values = dict(given)
    bad: set[str] = set()
    for field in msgspec.structs.fields(type_):
        name = prefix + field.name.upper()
        text = environ.get(name, "")
        if not text or field.name in given:
            if field.required and field.name not in given:
                mistakes.append(f"{name} is not set")
                bad.add(field.name)
            continue
        try:
            values[field.name] = parse(text, hints[field.name])
        except ValueError:
            shown = "***" if is_secret(hints[field.name]) else repr(text)
            origin = f" ({origins[name]})" if name in origins else ""
            mistakes.append(f"{name} is {shown}{origin}, and must be {expected(hints[field.name])}")
            bad.add(field.name)
    return _made(type_, values, prefix, mistakes, bad)


def _made(
    type_: type[_T], values: Mapping[str, Any], prefix: str, mistakes: list[str], bad: Collection[str]
) -> _T | None:
    """What the type itself finds wrong is left out where it speaks of a field that is known to be."""
    settings: _T | None = None
    try:
        settings = type_(**values)
    except WrongValues as error:
        wrong, settings = error.sentences, error.settings
    except ValueError as error:
        wrong = (str(error),)
    except TypeError:  # a required field is missing, which has been said
        return None
    else:
        return settings
    for sentence in wrong:
        if not any(re.search(rf"\b{field}\b", sentence) for field in bad):
            mistakes.append(re.sub(r"^(\w+)", lambda match: prefix + match[1].upper(), sentence))
    return settings


def names_of(type_: type[msgspec.Struct], prefix: str) -> tuple[str, ...]:
    """What the variables for the fields of `type_` are called."""
    return tuple(prefix + field.name.upper() for field in msgspec.structs.fields(type_))


def dump(settings: msgspec.Struct, prefix: str) -> dict[str, str]:
    """The environment from which `load` makes equal settings. Fields at their default are left out."""
    return {
        prefix + field.name.upper(): spelt(value)
        for field in msgspec.structs.fields(settings)
        if (value := getattr(settings, field.name)) != field.default
    }


def _fields(settings: msgspec.Struct) -> list[tuple[str, Any]]:
    return [(field.name, getattr(settings, field.name)) for field in msgspec.structs.fields(settings)]
