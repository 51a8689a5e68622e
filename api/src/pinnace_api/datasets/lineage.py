"""Following a lineage from iteration to iteration, level by level: pure but for the two questions that it asks.

Upstream of an iteration lie the datasets that it consumed, and the iterations that produced those. Downstream lie the
datasets that it produced, and the iterations that consumed those.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pinnace.records import DatasetRole, Direction, Lineage, LineageStep
from pinnace_api.datasets.lineage_queries import Use

#: How many steps one answer holds.
MAX_STEPS: Final = 1000

#: The uses in a role by iterations, or of datasets.
Ask = Callable[[Collection[UUID], DatasetRole], Iterable[Use]]

_NEAR: Final = {Direction.UPSTREAM: DatasetRole.CONSUMED, Direction.DOWNSTREAM: DatasetRole.PRODUCED}
_FAR: Final = {Direction.UPSTREAM: DatasetRole.PRODUCED, Direction.DOWNSTREAM: DatasetRole.CONSUMED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What following a lineage asks the database."""

    by_iterations: Ask
    by_datasets: Ask
    #: The iterations that artifacts are of.
    makers: Callable[[Collection[UUID]], Collection[UUID]]


def follow(direction: Direction, begin: Iterable[Use], ask: Questions, *, depth: int) -> Lineage:
    """From the uses that something begins with; `depth` steps from iteration to iteration at most.

    Each use comes once, the nearest first, so a circle ends. `truncated` when there is more.
    """
    begun = list(begin)
    seen: set[tuple[UUID, UUID]] = set()
    steps: list[LineageStep] = []
    level = _unseen((use for use in begun if use.role is _NEAR[direction]), seen)
    datasets = {use.dataset for use in begun}
    for distance in range(depth + 1):
        steps += (_step(use, distance) for use in level)
        far = _unseen(ask.by_datasets(datasets, _FAR[direction]), seen)
        iterations = {use.iteration for use in far}
        if direction is Direction.UPSTREAM:
            # Whoever consumed an artifact may have said so where its maker did not.
            iterations |= set(ask.makers({use.artifact for use in level if use.artifact is not None}))
        if not iterations:
            return _lineage(steps, truncated=False)
        if distance == depth:
            break
        steps += (_step(use, distance + 1) for use in far)
        level = _unseen(ask.by_iterations(iterations, _NEAR[direction]), seen)
        datasets = {use.dataset for use in level}
        if not level or len(steps) > MAX_STEPS:
            return _lineage(steps, truncated=False)
    return _lineage(steps, truncated=True)


def _lineage(steps: list[LineageStep], *, truncated: bool) -> Lineage:
    return Lineage(steps=tuple(steps[:MAX_STEPS]), truncated=truncated or len(steps) > MAX_STEPS)


def _unseen(uses: Iterable[Use], seen: set[tuple[UUID, UUID]]) -> list[Use]:
    new: list[Use] = []
    for use in uses:
        if (use.iteration, use.dataset) not in seen:
            seen.add((use.iteration, use.dataset))
            new.append(use)
    return new


def _step(use: Use, distance: int) -> LineageStep:
    return LineageStep(
        distance=distance,
        iteration_id=use.iteration,
        dataset_id=use.dataset,
        dataset_name=use.name,
        role=use.role,
        artifact_id=use.artifact,
    )
