"""Which image to take where two would do: the published one, or one that is built here."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cluster.errors import ClusterError, Exit


class Origin(StrEnum):
    """Where an image comes from."""

    #: From a registry.
    PUBLISHED = "published"
    #: Made on this machine.
    BUILT = "built"
    #: Named by the user.
    NAMED = "named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What there is to choose from."""

    #: What it is for, as in "the node image".
    purpose: str
    #: The variable that overrides the choice, and its value.
    variable: str
    wish: str
    published: str
    has_published: bool
    #: The image built here in its present version is in the engine.
    has_built: bool
    #: Why the published one could not work here, pulled or not; empty when it could.
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The image's origin, its name unless it is built here, and why, in one sentence."""

    origin: Origin
    image: str
    why: str


def choose(candidates: Candidates, *, has: Callable[[str], bool], pull: Callable[[str], str]) -> Choice:
    """Decide. `pull` is tried only where nothing else settles it; it returns why it failed, or "".

    Raises ClusterError when the user's wish can't be fulfilled, saying why and how to go on.
    """
    match candidates.wish:
        case "":
            return _by_itself(candidates, pull)
        case "built":
            return Choice(Origin.BUILT, "", f"{candidates.variable}=built")
        case "published":
            image, origin = candidates.published, Origin.PUBLISHED
            there = candidates.has_published
        case _:
            image, origin = candidates.wish, Origin.NAMED
            there = has(image)
    if not there and (why := pull(image)):
        known = (
            ""
            if origin is Origin.PUBLISHED
            else " (it is neither `published` nor `built`, so it is taken as an image's name)"
        )
        raise ClusterError(
            f"{candidates.variable}={candidates.wish}{known}, but Docker can't pull {image}: {why}",
            hint=f"unset {candidates.variable}, or set it to `built` to make {candidates.purpose} on this machine",
            code=Exit.USAGE,
        )
    return Choice(origin, image, f"{candidates.variable}={candidates.wish}")


def _by_itself(candidates: Candidates, pull: Callable[[str], str]) -> Choice:
    image = candidates.published
    other = f"{candidates.variable}=published asks for the other one"
    if candidates.obstacle:
        return Choice(Origin.BUILT, "", f"{image.partition('@')[0]} can't work here: {candidates.obstacle} ({other})")
    if candidates.has_published:
        return Choice(Origin.PUBLISHED, image, f"Docker has it already ({candidates.variable}=built makes one here)")
    if candidates.has_built:
        return Choice(
            Origin.BUILT, "", f"it was made here before, when Docker could not pull {image.partition('@')[0]} ({other})"
        )
    if why := pull(image):
        return Choice(Origin.BUILT, "", f"Docker can't pull {image.partition('@')[0]}: {why} ({other})")
    return Choice(Origin.PUBLISHED, image, f"Docker can pull it ({candidates.variable}=built makes one here instead)")
