"""Where the API's settings come from, for every command that needs them.

What comes first wins: options of the command line; the environment; a settings file in TOML (`[api]`, `[store]`); what
follows from a data folder; the defaults. Everything that is wrong is said at once.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from sqlalchemy import URL

from pinnace.setting_sources import Gathered, Source, gather, toml_source
from pinnace.setting_values import spelt
from pinnace.settings import (
    STORE_PREFIX,
    SettingsError,
    StoreSettings,
    names_of,
    read,
    with_usual_proxy,
    without_user,
)
from pinnace_api.settings import PREFIX, ApiSettings, shown_database_url

#: The variable that names a settings file.
FILE_VARIABLE: Final = f"{PREFIX}CONFIG"
_NAMES: Final = (
    *(name for name in names_of(ApiSettings, PREFIX) if name != f"{PREFIX}STORE"),
    *names_of(StoreSettings, STORE_PREFIX),
)
#: Kubernetes announces a Service called `pinnace-api` to the pods of its namespace as
#: PINNACE_API_PORT=tcp://10.0.0.1:8080, which is not meant for us.
_ANNOUNCED: Final = re.compile(r"(tcp|udp|sctp)://")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it may be shown: secrets are hidden in `value`."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """`settings`, and each of them with where it came from."""

    settings: ApiSettings
    listing: tuple[Setting, ...]


def configured(
    environ: Mapping[str, str],
    *,
    options: Mapping[str, str] = MappingProxyType({}),
    file: Path | None = None,
    data: Path | None = None,
    surroundings: bool = False,
) -> Configuration:
    """Read the settings. `options` by the variables' names; `file` instead of the one that PINNACE_API_CONFIG names.

    `surroundings`: look at the files and folders that they name, too. Raises SettingsError with all that is wrong, a
    line each.
    """
    named = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    sources = [
        Source(called="command line", values=options),
        Source(called="environment", values={k: v for k, v in environ.items() if not _ANNOUNCED.match(v)}),
    ]
    if named is not None:
        sources.append(toml_source(named, {"api": PREFIX, "store": STORE_PREFIX}, _NAMES))
    if data is not None:
        sources.append(_of_data(data))
    gathered = gather(_NAMES, sources)
    mistakes = list(gathered.mistakes)
    settings = _read(gathered, environ, mistakes)
    if surroundings and settings is not None:
        mistakes += [each for each in settings.surroundings() if each.split()[0] not in " ".join(mistakes)]
    if mistakes or settings is None:
        raise SettingsError("\n".join(mistakes))
    return Configuration(settings=settings, listing=_listing(settings, gathered.origins))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where settings come from; `from_options` takes them."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"settings in TOML; else what {FILE_VARIABLE} names"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="database and artifacts lie in DIR unless another setting says where"
    )


def from_options(asked: argparse.Namespace, environ: Mapping[str, str]) -> ApiSettings:
    """The settings for a command that has `add_options`. Raises SettingsError."""
    return configured(environ, file=asked.config, data=asked.data).settings


def data_folder(environ: Mapping[str, str]) -> Path:
    """Where a person's data are when nothing else is said."""
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "pinnace"


def file_at_home(environ: Mapping[str, str]) -> Path | None:
    """A person's own settings file, where there is one and no other is named."""
    file = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pinnace" / "server.toml"
    return file if not environ.get(FILE_VARIABLE) and file.exists() else None


def _of_data(data: Path) -> Source:
    folder = data.absolute()
    values = {
        "DATABASE_URL": URL.create("sqlite", database=str(folder / "pinnace.db")).render_as_string(),
        "ARTIFACTS_BACKEND": "filesystem",
        "ARTIFACTS_DIR": str(folder / "artifacts"),
        "SETUP_TOKEN_FILE": str(folder / "first-admin-token"),
        "HOST": "127.0.0.1",
    }
    return Source(called=f"data folder {folder}", values={f"{PREFIX}{name}": value for name, value in values.items()})


def _read(gathered: Gathered, environ: Mapping[str, str], mistakes: list[str]) -> ApiSettings | None:
    store = None
    if gathered.values.get(f"{STORE_PREFIX}BUCKET"):
        store = read(StoreSettings, gathered.values, STORE_PREFIX, mistakes, origins=gathered.origins)
        if store is not None and not store.proxy:
            try:
                store = with_usual_proxy(store, environ)
            except SettingsError as error:
                mistakes.append(str(error))
    return read(ApiSettings, gathered.values, PREFIX, mistakes, origins=gathered.origins, store=store)


def _listing(settings: ApiSettings, origins: Mapping[str, str]) -> tuple[Setting, ...]:
    parts: list[tuple[msgspec.Struct, str]] = [(settings, PREFIX)]
    if settings.store is not None:
        parts.append((settings.store, STORE_PREFIX))
    return tuple(
        Setting(
            name=(name := prefix + field.name.upper()),
            value=_shown(name, getattr(part, field.name)),
            origin=origins.get(name, "default"),
        )
        for part, prefix in parts
        for field in msgspec.structs.fields(part)
        if field.name != "store"
    )


def _shown(name: str, value: object) -> str:
    match name:
        case "PINNACE_API_DATABASE_URL":
            return shown_database_url(str(value))
        case "PINNACE_STORE_PROXY":
            return without_user(str(value))
        case _:
            return spelt(value)
