"""What every edit has in common: merge patches (RFC 7396) of texts and tags, and what lies in the trash."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UnsetType

from pinnace.records import MAX_TAGS, Experiment, Lifecycle, Model, ModelVersion, Project
from pinnace_api.refusals import Invalid, Trashed
from pinnace_api.values import check_text

_T = TypeVar("_T")
#: What has a lifecycle.
_Kept = TypeVar("_Kept", Experiment, Model, ModelVersion, Project)


def edited(stored: _T, given: _T | UnsetType) -> _T:
    """What `stored` becomes: left out, it stays."""
    return stored if isinstance(given, UnsetType) else given


def edited_text(stored: str, given: str | UnsetType | None, field: str) -> str:
    """Null takes the text away. Raises Invalid for NUL."""
    return stored if isinstance(given, UnsetType) else check_text(given or "", field)


def edited_tags(stored: Mapping[str, str], given: Mapping[str, str | None] | UnsetType | None) -> dict[str, str]:
    """By key: another value replaces, null takes away; null for all of them leaves none. Raises Invalid."""
    if isinstance(given, UnsetType):
        return dict(stored)
    if given is None:
        return {}
    tags = merged(stored, given)
    check_tags(tags)
    if len(tags) > MAX_TAGS:
        raise Invalid(f"there would be {len(tags)} tags, and {MAX_TAGS} is the most", field="tags")
    return tags


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises Invalid for NUL."""
    for key, value in tags.items():
        check_text(key, "tags")
        check_text(value, f"tags.{key}")


def merged(stored: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`stored` with the keys of `patch`, each value as a whole; null takes a key away."""
    both = {**stored, **patch}
    return {key: value for key, value in both.items() if value is not None or key not in patch}


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """The patch that makes `after` of `before`."""
    gone: dict[str, str | None] = {key: None for key in before if key not in after}
    return {**gone, **{key: value for key, value in after.items() if before.get(key) != value}}


def check_writable(lifecycles: Mapping[str, Lifecycle]) -> None:
    """Raise Trashed when any of the things, by what they are called, lies in the trash."""
    for what, lifecycle in lifecycles.items():
        if lifecycle is Lifecycle.TRASHED:
            raise Trashed(f"{what} is in the trash", hint='take it back first: PATCH {"lifecycle": "ACTIVE"}')


def check_edit(stored: _Kept, edition: _Kept, around: Callable[[Lifecycle], Mapping[str, Lifecycle]]) -> None:
    """Raise Trashed when more than its lifecycle changes of something that is in the trash and stays there.

    `around` says what decides that, given the lifecycle that counts as its own.
    """
    if edition != msgspec.structs.replace(stored, lifecycle=edition.lifecycle):
        check_writable(around(deciding(stored.lifecycle, edition.lifecycle)))


def deciding(before: Lifecycle, after: Lifecycle) -> Lifecycle:
    """Which lifecycle decides whether the rest of an edit goes through: in the trash is what stays there."""
    return before if after is Lifecycle.TRASHED else after
