"""Carrying policies out, or saying what that would be: an experiment at a time, in short transactions.

Killed at any moment it is begun again: what is done is done, and the same facts give the rest of the same plan. Objects
go after the transaction in which the last row let go of them; what a kill leaves there the next run, or `pinnace gc`,
removes.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace.records import Location, Removal, RetentionPolicy, RetentionTarget
from pinnace_api.database import Database
from pinnace_api.maintenance import objects
from pinnace_api.refusals import Invalid, Refused
from pinnace_api.retention import changes, facts, queries
from pinnace_api.retention.plan import Because, Contents, Rule, Step, batches, plan, plan_versions
from pinnace_api.storage.storage import Storage

_log = logging.getLogger(__name__)

#: So many artifacts go in one transaction, or a set that is larger.
_BATCH: Final = 500
#: In this order: what a policy frees or throws away, the next may deal with. Versions come last, so that they lie in
#: the trash until the next time at least.
_ORDER: Final = (
    RetentionTarget.ARTIFACTS,
    RetentionTarget.ITERATIONS,
    RetentionTarget.TRASH,
    RetentionTarget.VERSIONS,
)
#: Any number that nothing else in the database uses.
_ADVISORY_LOCK: Final = 7_003_276_970


class Applied(msgspec.Struct, kw_only=True):
    """What one policy did in one project, or would do."""

    project: str
    policy: str
    target: RetentionTarget
    #: Artifacts whose bytes went, and what their objects took up; `freed_bytes` without those that others still have.
    artifacts: int = 0
    bytes: int = 0
    freed_bytes: int = 0
    #: Iterations that went into the trash, or out of it for good.
    trashed: int = 0
    purged: int = 0
    #: Versions of models that went for good, or into the trash.
    versions: int = 0
    trashed_versions: int = 0
    #: Iterations that are left alone, and artifacts and versions that stay, by why.
    stays: Counter[str] = msgspec.field(default_factory=Counter)

    def __str__(self) -> str:
        done = f"{self.artifacts} artifacts ({self.bytes} bytes, {self.freed_bytes} freed), {self.trashed} iterations "
        done += f"and {self.trashed_versions} versions into the trash, {self.purged} and {self.versions} for good"
        stays = ", ".join(f"{count} {because}" for because, count in sorted(self.stays.items()))
        return f"{self.project}/{self.policy} ({self.target}): {done}; stay: {stays or 'none'}"


class Planned(msgspec.Struct, kw_only=True):
    """What a policy has in store for an iteration or a version of a model."""

    project: str
    policy: str
    #: `iteration`, or `version MODEL@NUMBER`.
    what: str
    id: UUID
    goes: bool
    #: Why it is left alone; empty: it goes, or artifacts of it do.
    because: str = ""
    artifacts: int = 0
    #: Artifacts that stay, by why.
    stays: Mapping[str, int] = {}

    def __str__(self) -> str:
        said = f"stays: {self.because}" if self.because else "goes" if self.goes else "stays"
        if self.artifacts:
            said += f", {self.artifacts} artifacts of it go"
        said += "".join(f", {count} stay: {because}" for because, count in sorted(self.stays.items()))
        return f"{self.project}/{self.policy}: {self.what} {self.id} {said}"


class Outcome(msgspec.Struct, kw_only=True):
    dry_run: bool
    #: False: it was asked to end before everything was done, or somebody else is at it.
    complete: bool = True
    policies: list[Applied] = []
    #: Each iteration and version that a policy is about, when that was asked for.
    planned: list[Planned] = []
    #: Objects whose removal an earlier run was killed in.
    unfinished: int = 0
    failures: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What everything is done with."""

    database: Database
    storage: Storage
    now: datetime
    by: str
    outcome: Outcome
    each: bool
    is_over: Callable[[], bool]
    progress: Callable[[Outcome], None]

    @property
    def is_stopped(self) -> bool:
        if self.outcome.complete and self.is_over():
            self.outcome.complete = False
        return not self.outcome.complete


def apply(
    database: Database,
    storage: Storage,
    *,
    now: datetime,
    by: str,
    project: str | None = None,
    dry_run: bool = False,
    each: bool = False,
    is_over: Callable[[], bool] = lambda: False,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Do what the policies in force say, of one project or all; `each`: the outcome names each thing they are about.
    `is_over` ends it between two batches.

    One at a time among all processes: another gets `complete=False` at once. Raises Unavailable.
    """
    work = Work(
        database=database,
        storage=storage,
        now=now,
        by=by,
        outcome=Outcome(dry_run=dry_run),
        each=each,
        is_over=is_over,
        progress=progress,
    )
    if dry_run:
        _apply(work, project)
        return work.outcome
    with database.turn("retention", _ADVISORY_LOCK) as is_mine:
        if is_mine:
            for location in objects.leaving(database):
                work.outcome.unfinished += 1
                _release(work, location)
            _apply(work, project)
        else:
            work.outcome.complete = False
            work.outcome.failures.append("another process is applying the policies")
    return work.outcome


def _apply(work: Work, project: str | None) -> None:
    with work.database.read() as connection:
        chosen = [each for each in queries.projects(connection) if project in (None, each[1])]
    if project is not None and not chosen:
        work.outcome.failures.append(f"there is no project {project!r}")
    for id_, name in chosen:
        with work.database.read() as connection:
            policies = queries.in_force(connection, id_)
        for policy in sorted(policies, key=lambda each: _ORDER.index(each.target)):
            applied = Applied(project=name, policy=policy.name, target=policy.target)
            work.outcome.policies.append(applied)
            try:
                _apply_one(work, id_, policy, applied)
            except Invalid as refused:
                work.outcome.failures.append(f"{name}/{policy.name}: {refused.detail}")
            if work.is_stopped:
                return


def _apply_one(work: Work, project: UUID, policy: RetentionPolicy, applied: Applied) -> None:
    rule = Rule.of(policy.target, policy.older_than_days, policy.keep, policy.stages)
    if rule.target in (RetentionTarget.TRASH, RetentionTarget.VERSIONS):
        _versions(work, project, rule, policy, applied)
    if rule.target is RetentionTarget.VERSIONS:
        return
    with work.database.read() as connection:
        experiments = facts.experiments(connection, project, policy)
    for experiment in experiments:
        for step in _steps(work, experiment, rule, policy):
            if work.is_stopped:
                return
            _tell(
                work,
                applied,
                "iteration",
                step.run.id,
                goes=step.goes,
                because=step.because or "",
                artifacts=sum(map(len, step.groups)),
                stays=step.kept,
            )
            if step.because is not None:
                applied.stays[step.because] += 1
                continue
            applied.stays.update(step.kept)
            if work.outcome.dry_run:
                _count(step, applied)
            else:
                _carry_out(work, step, rule, policy.name, applied)
            work.progress(work.outcome)


def _steps(work: Work, experiment: UUID, rule: Rule, policy: RetentionPolicy) -> Iterator[Step]:
    def contents(iteration: UUID) -> Contents:
        with work.database.read() as connection:
            return facts.contents(connection, iteration)

    with work.database.read() as connection:
        runs = facts.runs(connection, experiment, policy)
    return plan(rule, runs, work.now, contents)


def _count(step: Step, applied: Applied) -> None:
    pieces = [piece for group in step.groups for piece in group]
    applied.artifacts += len(pieces)
    applied.bytes += sum(piece.size for piece in pieces)
    applied.freed_bytes += step.freed
    applied.trashed += step.goes and applied.target is RetentionTarget.ITERATIONS
    applied.purged += step.goes and applied.target is RetentionTarget.TRASH


def _carry_out(work: Work, step: Step, rule: Rule, policy: str, applied: Applied) -> None:
    why = Removal(at=work.now, by=work.by, policy=policy)
    run, write = step.run.id, work.database.write
    for batch in batches(step.groups, _BATCH):
        if work.is_stopped:
            return
        let = write(changes.remove, rule, run, batch, why)
        _count_changed(applied, sum(map(len, batch)) - len(let))
        applied.artifacts += len(let)
        applied.bytes += sum(each.size for each in let)
        for location, size in {each.location: each.size for each in let}.items():
            applied.freed_bytes += size if _release(work, location) else 0
    if not step.goes:
        return
    if rule.target is RetentionTarget.ITERATIONS:
        is_trashed = write(changes.trash, rule, run, why)
        applied.trashed += is_trashed
        _count_changed(applied, not is_trashed)
        return
    while write(changes.purge_points, rule, run, why):
        if work.is_stopped:
            return
    is_purged = write(changes.purge, rule, run, why)
    applied.purged += is_purged
    _count_changed(applied, not is_purged)


def _versions(work: Work, project: UUID, rule: Rule, policy: RetentionPolicy, applied: Applied) -> None:
    with work.database.read() as connection:
        versions = facts.versions(connection, project, policy)
    is_trash = rule.target is RetentionTarget.TRASH
    why = Removal(at=work.now, by=work.by, policy=policy.name)
    for version, because in plan_versions(rule, versions, work.now):
        if work.is_stopped:
            return
        what = f"version {version.model}@{version.number}"
        _tell(work, applied, what, version.id, goes=because is None, because=because or "")
        if because is not None:
            applied.stays[because] += 1
            continue
        change = changes.purge_version if is_trash else changes.trash_version
        goes = work.outcome.dry_run or work.database.write(change, rule, version.id, why)
        applied.versions += goes and is_trash
        applied.trashed_versions += goes and not is_trash
        _count_changed(applied, not goes)


def _count_changed(applied: Applied, count: int) -> None:
    if count:
        applied.stays[Because.CHANGED] += count


def _tell(work: Work, applied: Applied, what: str, id_: UUID, **said: Any) -> None:
    if work.each:
        planned = Planned(project=applied.project, policy=applied.policy, what=what, id=id_, **said)
        work.outcome.planned.append(planned)


def _release(work: Work, location: Location) -> bool:
    try:
        return objects.release(work.database, work.storage, location)
    except Refused as refused:
        _log.warning("object.left", extra={"fields": {"key": location.key, "cause": refused.detail}})
        work.outcome.failures.append(f"{location.key}: {refused.detail}")
        return False
