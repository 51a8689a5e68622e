"""What recording takes from the environment: in a pod what the operator sets, elsewhere what a person does."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from pinnace.settings import load


class TrackingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`PINNACE_<FIELD>`."""

    #: Nothing goes to the API: it stays in the spool for `pinnace sync`.
    offline: bool = False
    #: Where spools are made. Empty: `pinnace/spool` below $XDG_STATE_HOME, else ~/.local/state.
    spool_dir: str = ""
    #: Where nobody says so in the call.
    project: str = ""
    experiment: str = ""
    #: Set by the operator in a pod.
    iteration_id: UUID | None = None
    artifacts_dir: str = ""
    params: str = ""

    @property
    def in_pod(self) -> bool:
        """Whether there is a volume that a sidecar brings ashore."""
        return self.iteration_id is not None and bool(self.artifacts_dir)

    @property
    def parameters(self) -> dict[str, Any]:
        """The pod's. Raises ValueError."""
        return msgspec.json.decode(self.params, type=dict[str, Any]) if self.params else {}


def tracking_settings(environ: Mapping[str, str] | None = None) -> TrackingSettings:
    """Raises SettingsError."""
    return load(TrackingSettings, os.environ if environ is None else environ, "PINNACE_")


def spool_folder(settings: TrackingSettings) -> Path:
    """Where spools are made when no call says where."""
    if settings.spool_dir:
        return Path(settings.spool_dir)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pinnace" / "spool"
