"""How an iteration may change: pure decisions.

A state is followed by those in TRANSITIONS. `PENDING` and `RUNNING` may follow each other in both directions (a
suspended Job is pending again); `SUCCEEDED`, `FAILED` and `KILLED` are ends that are never left; `LOST` is what one
sweep says of an iteration whose signs of life stopped, and any later word about it counts more.

What has ended is locked: state, times, error, parameters and environment stay. The system's own parts report what
happened and are not refused for that; the end that came first stays.
"""

from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace.records import ENDED_STATES, IterationPatch, IterationState, IterationWrite
from pinnace_api.edits import edited, edited_text, merged
from pinnace_api.refusals import Conflict, Ended
from pinnace_api.values import canonical

_OPEN: Final = frozenset(IterationState) - {IterationState.LOST}
#: What may follow a state, beside itself. Nobody says LOST; the sweep finds it.
TRANSITIONS: Final = MappingProxyType(
    {
        IterationState.PENDING: _OPEN,
        IterationState.RUNNING: _OPEN,
        IterationState.LOST: _OPEN,
        IterationState.SUCCEEDED: frozenset[IterationState](),
        IterationState.FAILED: frozenset[IterationState](),
        IterationState.KILLED: frozenset[IterationState](),
    }
)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What of an iteration an end locks."""

    parameters: dict[str, Any]
    state: IterationState
    started_at: datetime | None
    ended_at: datetime | None
    error: str = ""
    environment: dict[str, Any] = {}


def advance(iteration: UUID, stored: Progress, write: IterationWrite, *, by_part: bool = False) -> Progress:
    """What `stored` becomes by a PUT. Raises Conflict when that is not allowed.

    A parameter is set once; more of them may join until the end. A time that isn't given stays.
    """
    has_ended = stored.state in ENDED_STATES
    state = _follow(iteration, stored.state, write.state, keep_end=by_part)
    progress = msgspec.structs.replace(
        stored,
        parameters=_joined(iteration, stored.parameters, write.parameters),
        state=state,
        started_at=write.started_at or stored.started_at,
        ended_at=write.ended_at or stored.ended_at,
        error=stored.error if has_ended else write.error or stored.error,
    )
    if has_ended and not by_part:
        _check_locked(iteration, stored, progress)
    return progress


def edit(iteration: UUID, stored: Progress, change: IterationPatch, *, override: bool, by_part: bool) -> Progress:
    """What `stored` becomes by a PATCH. Raises Conflict when that is not allowed.

    `override` lets parameters change that are set.
    """
    parameters = {} if isinstance(change.parameters, msgspec.UnsetType) else change.parameters
    environment = {} if isinstance(change.environment, msgspec.UnsetType) else change.environment
    if not override:
        _joined(iteration, stored.parameters, parameters)
    progress = Progress(
        parameters=merged(stored.parameters, parameters),
        state=_follow(iteration, stored.state, edited(stored.state, change.state), keep_end=by_part),
        started_at=edited(stored.started_at, change.started_at),
        ended_at=edited(stored.ended_at, change.ended_at),
        error=edited_text(stored.error, change.error, "error"),
        environment=merged(stored.environment, environment),
    )
    if stored.state in ENDED_STATES and not by_part:
        _check_locked(iteration, stored, progress)
    return progress


def stamped(before: IterationState, progress: Progress, now: datetime) -> Progress:
    """With the times that its state asks for, where nobody gave them: state and times never contradict each other."""
    if progress.state is before:
        return progress
    if progress.state is IterationState.RUNNING and progress.started_at is None:
        return msgspec.structs.replace(progress, started_at=now)
    if progress.state in ENDED_STATES and progress.ended_at is None:
        return msgspec.structs.replace(progress, ended_at=now)
    return progress


def _follow(iteration: UUID, before: IterationState, after: IterationState, *, keep_end: bool) -> IterationState:
    if after is before or after in TRANSITIONS[before]:
        return after
    if before not in ENDED_STATES:
        raise Conflict("whether an iteration is lost is found out by the API", field="state")
    if keep_end:
        return before
    raise Ended(
        f"iteration {iteration} has ended as {before} and can't become {after}",
        field="state",
        hint="a new attempt is a new iteration",
    )


def _joined(iteration: UUID, stored: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name in stored and canonical(stored[name]) != canonical(value):
            raise Conflict(
                f"parameter {name!r} of iteration {iteration} is set and can't change",
                field=f"parameters.{name}",
                hint="other parameters are another iteration; a PATCH with ?override=true corrects a mistake",
            )
    return {**stored, **given}


def _check_locked(iteration: UUID, stored: Progress, progress: Progress) -> None:
    for field in Progress.__struct_fields__:
        if getattr(stored, field) != getattr(progress, field):
            raise Ended(
                f"iteration {iteration} has ended as {stored.state}: its {field} can't change any more",
                field=field,
                hint="name, notes and tags still can",
            )
