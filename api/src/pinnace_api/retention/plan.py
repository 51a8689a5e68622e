"""What a policy would do to one experiment: pure, from facts to steps.

Nothing is removed of an iteration that has not ended, whose artifacts have not all come ashore, that is held, or that a
version of a model needs; no artifact that something needs, and none of a set of which something needs one; no version
that is in production, has an alias or is held.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from pinnace.records import Location, ModelStage, RetentionTarget

_DAY: Final = timedelta(days=1)


class Because(StrEnum):
    """Why something stays."""

    #: It has not ended: it may be running, or waiting to.
    NOT_ENDED = "not-ended"
    #: Not everything that its pods wrote is proven to be recorded, or an upload to it is under way.
    NOT_SYNCED = "not-synced"
    #: A legal hold.
    HELD = "held"
    #: A version of a model is made of it.
    MODEL_VERSION = "model-version"
    #: A dataset was made of it, or is it.
    DATASET = "dataset"
    #: Something that it lies in a set with stays.
    SET = "set"
    #: Something in it stays, so what it lies in stays too.
    IN_PART = "in-part"
    #: A version of a model that is in production or has an alias.
    IN_USE = "in-use"
    #: Among those to keep.
    KEPT = "kept"
    #: Not old enough.
    YOUNG = "young"
    #: Something happened to it between the plan and its turn.
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a policy asks, but for its filters."""

    target: RetentionTarget
    age: timedelta | None = None
    keep: int | None = None
    stages: Collection[ModelStage] = ()

    @classmethod
    def of(
        cls, target: RetentionTarget, days: float | None, keep: int | None, stages: Collection[ModelStage] = ()
    ) -> "Rule":
        return cls(target=target, age=None if days is None else days * _DAY, keep=keep, stages=stages)

    def is_old(self, since: datetime | None, now: datetime) -> bool:
        return self.age is None or (since is not None and now - since >= self.age)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An iteration that the filters match."""

    id: UUID
    #: When it ended.
    ended_at: datetime
    is_ended: bool
    is_synced: bool
    is_held: bool = False
    #: A version of a model names it; `is_whole`: and no artifact of it, so all of it is meant.
    is_registered: bool = False
    is_whole: bool = False
    #: Since when it lies in the trash, by itself or with what it lies in.
    trashed_at: datetime | None = None
    is_purged: bool = False
    #: How many artifacts it has that are not deleted.
    artifacts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An artifact that is not deleted."""

    id: UUID
    #: Bytes that its object takes up.
    size: int
    location: Location
    #: How many artifacts have that object.
    users: int = 1
    #: Why it stays; None: nothing needs it.
    because: Because | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The artifacts of an iteration, and its sets: each the ids of a manifest and its members."""

    pieces: Sequence[Piece] = ()
    sets: Sequence[Collection[UUID]] = ()

    @property
    def is_needed(self) -> bool:
        """Whether something needs any of it."""
        return any(piece.because is not None for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of one iteration."""

    run: Run
    #: Why it is left alone altogether.
    because: Because | None = None
    #: Artifacts that go, those of one set together.
    groups: Sequence[tuple[Piece, ...]] = ()
    #: Whether the iteration itself goes: into the trash, or out of it for good.
    goes: bool = False
    #: Bytes of objects that nothing has afterwards.
    freed: int = 0
    #: Artifacts that stay, by why.
    kept: Mapping[Because, int] = field(default_factory=dict)


def plan(rule: Rule, runs: Sequence[Run], now: datetime, contents: Callable[[UUID], Contents]) -> Iterator[Step]:
    """A step for each of an experiment's iterations, which come with the best first.

    `contents` is asked for those only that something may happen to.
    """
    leaving: Counter[Location] = Counter()
    counted = 0
    for run in runs:
        because = hindrance(rule, run)
        if because is None and rule.keep is not None:
            counted += 1
            because = Because.KEPT if counted <= rule.keep else None
        since = run.trashed_at if rule.target is RetentionTarget.TRASH else run.ended_at
        if because is None and not rule.is_old(since, now):
            because = Because.YOUNG
        if because is None:
            yield _step(rule, run, contents(run.id) if run.artifacts else Contents(), leaving)
        else:
            yield Step(run=run, because=because)


def may_go(rule: Rule, run: Run, now: datetime) -> bool:
    """Whether what was planned for the iteration still may be done: it may have been taken back, say."""
    is_trash = rule.target is RetentionTarget.TRASH
    since = run.trashed_at if is_trash else run.ended_at
    return hindrance(rule, run) is None and rule.is_old(since, now) and (run.trashed_at is not None) is is_trash


def hindrance(rule: Rule, run: Run) -> Because | None:
    """Why nothing may be done to the iteration, whatever its age and rank."""
    if run.is_held:
        return Because.HELD
    if not run.is_ended:
        return Because.NOT_ENDED
    if not run.is_synced:
        return Because.NOT_SYNCED
    is_needed = run.is_whole if rule.target is RetentionTarget.ARTIFACTS else run.is_registered
    return Because.MODEL_VERSION if is_needed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a model."""

    id: UUID
    model: str
    number: int
    stage: ModelStage
    #: Since when it is in that stage.
    staged_at: datetime
    #: Since when it lies in the trash, by itself or with what it lies in.
    trashed_at: datetime | None = None
    is_held: bool = False
    #: It is in production or has an alias.
    is_in_use: bool = False


def plan_versions(rule: Rule, versions: Iterable[Version], now: datetime) -> Iterator[tuple[Version, Because | None]]:
    """Why each of them stays, None: it goes. Those of one model come with the best first."""
    counted: Counter[str] = Counter()
    for version in versions:
        because = _version_hindrance(rule, version)
        if because is None and rule.keep is not None:
            counted[version.model] += 1
            because = Because.KEPT if counted[version.model] <= rule.keep else None
        if because is None and not rule.is_old(_version_since(rule, version), now):
            because = Because.YOUNG
        yield version, because


def version_may_go(rule: Rule, version: Version, now: datetime) -> bool:
    """Whether what was planned for the version still may be done: it may have been moved or taken back, say."""
    is_trash = rule.target is RetentionTarget.TRASH
    return (
        _version_hindrance(rule, version) is None
        and rule.is_old(_version_since(rule, version), now)
        and (version.trashed_at is not None) is is_trash
    )


def _version_hindrance(rule: Rule, version: Version) -> Because | None:
    if version.is_held:
        return Because.HELD
    if version.is_in_use or version.stage is ModelStage.PRODUCTION:
        return Because.IN_USE
    if rule.target is RetentionTarget.VERSIONS and version.stage not in rule.stages:
        return Because.CHANGED
    return None


def _version_since(rule: Rule, version: Version) -> datetime | None:
    return version.trashed_at if rule.target is RetentionTarget.TRASH else version.staged_at


def batches(groups: Iterable[tuple[Piece, ...]], size: int) -> Iterator[list[tuple[Piece, ...]]]:
    """So many artifacts at a time or a few more: no group is divided."""
    batch: list[tuple[Piece, ...]] = []
    count = 0
    for group in groups:
        batch.append(group)
        count += len(group)
        if count >= size:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def _step(rule: Rule, run: Run, contents: Contents, leaving: Counter[Location]) -> Step:
    kept: Counter[Because] = Counter()
    groups = []
    for group in _groups(contents):
        needed = [piece.because for piece in group if piece.because is not None]
        if needed:
            kept.update(needed)
            kept[Because.SET] += len(group) - len(needed)
        else:
            groups.append(group)
    stays = {because: count for because, count in kept.items() if count}
    if rule.target is RetentionTarget.ITERATIONS:
        return Step(run=run, because=Because.IN_PART) if stays else Step(run=run, goes=True)
    goes = rule.target is RetentionTarget.TRASH and not stays and not run.is_purged
    return Step(run=run, groups=groups, goes=goes, freed=_freed(groups, leaving), kept=stays)


def _groups(contents: Contents) -> list[tuple[Piece, ...]]:
    """Artifacts that lie in a set together, directly or over others; every other one for itself."""
    above: dict[UUID, UUID] = {}

    def top(one: UUID) -> UUID:
        while (higher := above.get(one, one)) != one:
            above[one] = above.get(higher, higher)
            one = higher
        return one

    for each in contents.sets:
        first, *others = each
        for other in others:
            above[top(other)] = top(first)
    found: dict[UUID, list[Piece]] = {}
    for piece in contents.pieces:
        found.setdefault(top(piece.id), []).append(piece)
    return [tuple(group) for group in found.values()]


def _freed(groups: Sequence[tuple[Piece, ...]], leaving: Counter[Location]) -> int:
    """`leaving` counts those of each shared object that go, over the whole plan."""
    freed = 0
    for group in groups:
        for piece in group:
            if piece.users > 1:
                leaving[piece.location] += 1
            if piece.users == 1 or leaving[piece.location] == piece.users:
                freed += piece.size
    return freed
