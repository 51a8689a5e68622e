"""How an iteration may change: pure decisions.

`PENDING` and `RUNNING` may follow each other in both directions (a suspended Job is pending again); `SUCCEEDED` and
`FAILED` are ends that are never left. A parameter is set once; more of them may join. A time that isn't given stays.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace.records import IterationState, IterationWrite
from pinnace_api.refusals import Conflict
from pinnace_api.values import canonical

_ENDS: Final = frozenset({IterationState.SUCCEEDED, IterationState.FAILED})


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What of an iteration can change."""

    parameters: dict[str, Any]
    state: IterationState
    started_at: datetime | None
    ended_at: datetime | None


def advance(iteration: UUID, stored: Progress, write: IterationWrite) -> Progress:
    """What `stored` becomes by `write`. Raises Conflict when that is not allowed."""
    if stored.state in _ENDS and write.state != stored.state:
        raise Conflict(
            f"iteration {iteration} has ended as {stored.state} and can't become {write.state}",
            field="state",
            hint="a new attempt is a new iteration",
        )
    for name, value in write.parameters.items():
        if name in stored.parameters and canonical(stored.parameters[name]) != canonical(value):
            raise Conflict(
                f"parameter {name!r} of iteration {iteration} is set and can't change",
                field=f"parameters.{name}",
                hint="other parameters are another iteration",
            )
    return Progress(
        parameters={**stored.parameters, **write.parameters},
        state=write.state,
        started_at=write.started_at or stored.started_at,
        ended_at=write.ended_at or stored.ended_at,
    )
