"""Retention: what is removed for good by rule, and legal holds, which no rule passes over."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from pinnace.records.models import ModelStage
from pinnace.records.projects import ProjectName
from pinnace.records.record import Page, Record, Text

PolicyName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9._]{0,98}[a-z0-9])?$(?!\n)", max_length=100)]
Reason = Annotated[str, Meta(min_length=1, max_length=4096)]
_FilterText = Annotated[str, Meta(max_length=8192)]


class RetentionTarget(StrEnum):
    """What a policy acts on."""

    #: The bytes of iterations' artifacts; everything else of the iterations stays.
    ARTIFACTS = "artifacts"
    #: Whole iterations: they go to the trash, from which they can be taken back.
    ITERATIONS = "iterations"
    #: What lies in the trash: bytes, metric points and versions of models go for good.
    TRASH = "trash"
    #: Versions of registered models: they go to the trash. What they are made of stays until they go for good.
    VERSIONS = "versions"


class RetentionPolicyWrite(Record, frozen=True, kw_only=True):
    """PUT /projects/{name}/retention-policies/{policy}, and /retention-policies/{policy} for all projects.

    What it is about must be all that the policy says: older, not among those to keep, and matching both filters.
    """

    target: RetentionTarget
    #: Of versions, and of them only: the stages that they go from. Never PRODUCTION.
    stages: Annotated[tuple[ModelStage, ...], Meta(max_length=len(ModelStage))] = ()
    #: Since an iteration ended, or a version came into its stage; of the trash, since something was thrown away.
    older_than_days: Annotated[float, Meta(ge=0, le=36_500)] | None = None
    #: So many iterations of each experiment, or versions of each model, stay, of those that match.
    keep: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    #: Which of them are the best, as a list is sorted: `metrics.accuracy.max desc`. Empty: those that ended last, or
    #: the versions with the highest numbers.
    keep_by: _FilterText = ""
    #: Which iterations, or versions of which iterations, and of which experiments, in the filter language. Empty: all.
    filter: _FilterText = ""
    experiments: _FilterText = ""
    #: False: nothing happens by it; in a project, nor by the policy of this name for all projects.
    enabled: bool = True
    description: Text = ""


class RetentionPolicy(RetentionPolicyWrite, frozen=True, kw_only=True):
    name: PolicyName
    #: None: of all projects that have none of this name.
    project: ProjectName | None
    changed_at: datetime
    changed_by: str


class RetentionPolicyPage(Page, frozen=True, kw_only=True):
    items: tuple[RetentionPolicy, ...]


class HoldKind(StrEnum):
    """What is held, with all that is in it."""

    ARTIFACT = "artifact"
    ITERATION = "iteration"
    EXPERIMENT = "experiment"
    PROJECT = "project"


class HoldWrite(Record, frozen=True, kw_only=True):
    """PUT /projects/{name}/holds/{id}"""

    kind: HoldKind
    #: Of an artifact, an iteration or an experiment of the project; left out for the project itself.
    subject_id: UUID | None = None
    reason: Reason


class Hold(Record, frozen=True, kw_only=True):
    """A legal hold: until it is lifted nothing of its subject is removed. Its record stays for ever."""

    id: UUID
    project: ProjectName
    kind: HoldKind
    subject_id: UUID | None
    reason: str
    created_at: datetime
    created_by: str
    #: None while it holds.
    lifted_at: datetime | None = None
    lifted_by: str = ""
    lifted_reason: str = ""


class HoldPage(Page, frozen=True, kw_only=True):
    items: tuple[Hold, ...]
