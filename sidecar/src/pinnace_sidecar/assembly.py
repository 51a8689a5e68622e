"""A sidecar put together from the environment, with the real world around it."""

import os
import random
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from threading import Event
from typing import Final

from msgspec.structs import replace

from pinnace.client import Client
from pinnace.settings import ClientSettings, SidecarSettings, StoreSettings, load, load_store
from pinnace.stores.credentials import CredentialsSource, credentials_for
from pinnace.stores.s3 import S3Store
from pinnace_sidecar import heap, log_lines, settings
from pinnace_sidecar.api_calls import Api
from pinnace_sidecar.clock import SystemClock
from pinnace_sidecar.crash import Crash, CrashPoint, never
from pinnace_sidecar.disk import LocalDisk
from pinnace_sidecar.files import Volume
from pinnace_sidecar.handed import HandedCredentials, handed_folder
from pinnace_sidecar.inotify import Watcher
from pinnace_sidecar.journal import Journal
from pinnace_sidecar.sidecar import Sidecar, World, files_folder
from pinnace_sidecar.upload_calls import ApiFiles
from pinnace_sidecar.vended import VendedCredentials
from pinnace_sidecar.workers import ThreadWorkers

API_TIMEOUT_S: Final = 15.0


def open_journal(own: SidecarSettings) -> Journal:
    """The journal in the buffer, which is made when it isn't there; from now on the log is as the settings want it."""
    log_lines.begin(own.log_level)
    files_folder(own).mkdir(parents=True, exist_ok=True)
    return Journal.open(Path(own.buffer_dir) / "journal.db")


def sidecar_of(
    own: SidecarSettings,
    environ: Mapping[str, str],
    journal: Journal,
    bell: Event,
    *,
    volume: Volume,
    watcher: Watcher,
    api: Api | None = None,
    files: ApiFiles | None = None,
) -> Sidecar:
    """`api`: None is the API that the settings name, as the pod's sidecar. `files`: where copies go instead of a store.
    Raises SettingsError.
    """
    store = load_store(environ) if files is None else StoreSettings(endpoint=own.api_url, bucket="none")
    tuning = load(settings.Tuning, environ, settings.PREFIX)
    if files is not None:
        tuning = replace(tuning, multipart_bytes=sys.maxsize)  # an upload goes on by itself where it broke off
    client = Client(
        ClientSettings(api_url=own.api_url, api_token_file=own.api_token_file, api_ca_file=own.api_ca_file),
        timeout=API_TIMEOUT_S,
    )
    credentials = credentials_of(own, store, client)
    world = World(
        volume=volume,
        watcher=watcher,
        disk=LocalDisk(),
        store=files or S3Store(store, credentials),
        api=api or client,
        clock=SystemClock(),
        rng=random.Random(),  # noqa: S311 - spreads retries, keeps no secret
        crash=_crash_at(environ.get("PINNACE_CRASH_AT", "")),
        workers=lambda size, name: ThreadWorkers(size, name, bell.set),
        credentials_expire_at=lambda: ends.timestamp() if (ends := credentials.expires_at()) else None,
        give_back=heap.give_back,
    )
    return Sidecar(own, tuning, store, world, journal)


def credentials_of(own: SidecarSettings, store: StoreSettings, api: Client) -> CredentialsSource:
    """Where the credentials of this pod's requests to the store come from."""
    if own.artifact_store:
        return VendedCredentials(lambda: api.store_credentials(own.iteration_id, own.artifact_store))
    if store.credentials_dir:
        return HandedCredentials(handed_folder(Path(own.buffer_dir)), Path(store.credentials_dir))
    return credentials_for(store)


def _crash_at(text: str) -> Crash:
    """`NAME` or `NAME:N`: end the process at once at the point's first or Nth passing. For tests of restarts only."""
    if not text:
        return never
    name, _, number = text.partition(":")
    wanted, at = CrashPoint(name), int(number or 1)
    passings = count(1)

    def crash(point: CrashPoint) -> None:
        if point is wanted and next(passings) == at:
            os._exit(137)

    return crash
