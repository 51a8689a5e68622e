"""Exit codes, in one place: what they mean, what `--help` says of them, and which error ends with which."""

from enum import IntEnum

from pinnace.client import ApiError, NotFound
from pinnace.errors import PinnaceError
from pinnace.extras import MissingExtra
from pinnace.kubectl.calls import KubernetesError, NotInCluster
from pinnace.porting.source import UnreadableSource
from pinnace.settings import SettingsError
from pinnace.stores.retrieval import DigestMismatch, LocalFileError
from pinnace.stores.store import StoreError
from pinnace.tables import UnreadableTable
from pinnace.tracking.errors import SpoolError
from pinnace.tracking.reproduction import NotReproducible


class Exit(IntEnum):
    """How `pinnace` ends. Each member carries what it means."""

    OK = 0, "done"
    DEFECT = 1, "an unexpected failure: a defect"
    USAGE = 2, "the command line or a setting is wrong, a name means several things, or a package is missing"
    NOT_FOUND = 3, "what was asked for does not exist"
    API = 4, "the API refused or could not be reached"
    DIGEST = 5, "the store's bytes are not those that were recorded; no file is left"
    STORE = 6, "the object store refused or could not be reached"
    FILE = 7, "the local file exists already or could not be read or written"
    UNFINISHED = 8, "part of it is not, or could not be, delivered; what is left stays where it is"
    KUBERNETES = 9, "kubectl is missing, or Kubernetes refused or could not be reached"

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "Exit":
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


class AmbiguousName(PinnaceError):
    """A name that several things have."""


class NothingFound(PinnaceError):
    """A name that nothing has."""


def exit_for(error: PinnaceError) -> Exit:
    """The code that `error` ends with."""
    for kinds, code in (
        ((NothingFound, NotFound, NotInCluster, NotReproducible), Exit.NOT_FOUND),
        ((AmbiguousName, MissingExtra, SettingsError), Exit.USAGE),
        (ApiError, Exit.API),
        (KubernetesError, Exit.KUBERNETES),
        (DigestMismatch, Exit.DIGEST),
        (StoreError, Exit.STORE),
        ((LocalFileError, SpoolError, UnreadableSource, UnreadableTable), Exit.FILE),
    ):
        if isinstance(error, kinds):
            return code
    return Exit.DEFECT


def explanation() -> str:
    """The table for `--help`; the mark keeps click from joining its lines."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code.value}  {code.meaning}" for code in Exit)
