"""What retention works on: a project with runs that ended, policies, holds, and applying them as if days had passed."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from pinnace.client import Client
from pinnace.records import (
    Artifact,
    ExperimentWrite,
    HoldKind,
    HoldWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
    RetentionPolicyWrite,
    RetentionTarget,
)
from pinnace_api.clock import now
from pinnace_api.retention import applying
from pinnace_api.retention.applying import Applied, Outcome
from support.files_api import FilesApi


@dataclass
class World:
    """A project of its own for each test, and the runs in it."""

    api: FilesApi
    client: Client
    project: str = field(default_factory=lambda: f"p-{uuid4().hex[:12]}")
    experiment: UUID = field(default_factory=uuid4)

    def begin(self, name: str = "sweep", namespace: str = "", **fields: Any) -> UUID:
        """An experiment."""
        experiment = uuid4()
        write = ExperimentWrite(project=self.project, name=name, namespace=namespace, **fields)
        self.client.put_experiment(experiment, write)
        return experiment

    def run(self, experiment: UUID, *contents: str, state: IterationState | None = None, **fields: Any) -> UUID:
        """An iteration that ended with a file for each of `contents`, called and filled like it."""
        iteration = uuid4()
        write = IterationWrite(experiment_id=experiment, state=IterationState.RUNNING, **fields)
        self.client.put_iteration(iteration, write)
        for content in contents:
            self.put(iteration, content)
        self.client.patch_iteration(iteration, IterationPatch(state=state or IterationState.SUCCEEDED))
        return iteration

    def put(self, iteration: UUID, content: str) -> None:
        answer = self.api.request("PUT", f"/iterations/{iteration}/files/{content}", content.encode())
        assert answer.status in (200, 201), answer.data

    def paths(self, iteration: UUID) -> set[str]:
        return {each.path for each in self.client.iteration_artifacts(iteration)}

    def file(self, iteration: UUID, path: str) -> Artifact:
        return next(each for each in self.client.iteration_artifacts(iteration) if each.path == path)

    def policy(self, name: str = "old", **fields: Any) -> None:
        write = RetentionPolicyWrite(**{"target": RetentionTarget.ARTIFACTS, "older_than_days": 0, **fields})
        self.client.put_retention_policy(self.project, name, write)

    def hold(self, kind: HoldKind, subject: UUID | None) -> UUID:
        hold = uuid4()
        self.client.put_hold(self.project, hold, HoldWrite(kind=kind, subject_id=subject, reason="case 7"))
        return hold

    def apply(self, *, days: float = 0, **options: Any) -> Outcome:
        """As so many days later."""
        with self.api.storage() as (database, storage):
            return applying.apply(
                database, storage, now=now() + timedelta(days=days), by="tester", project=self.project, **options
            )

    def one(self, **options: Any) -> Applied:
        """What the only policy did."""
        outcome = self.apply(**options)
        assert (outcome.complete, outcome.failures) == (True, [])
        (applied,) = outcome.policies
        return applied

    def held(self) -> int:
        """How many contents lie anywhere."""
        with self.api.storage() as (_, storage):
            return sum(1 for store in storage.stores for _ in store.list())
