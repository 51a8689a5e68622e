"""Iterations: one run each, with its parameters."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta

from pinnace.records.metrics import MetricSummary
from pinnace.records.record import Page, Record


class IterationState(StrEnum):
    """What is known of the training itself; says nothing about artifacts."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class IterationWrite(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}. `parameters` are set once; another value for a set key is a 409."""

    experiment_id: UUID
    index: Annotated[int, Meta(ge=0, le=1_000_000)]
    parameters: dict[str, Any] = {}
    state: IterationState = IterationState.PENDING
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Iteration(Record, frozen=True, kw_only=True):
    id: UUID
    experiment_id: UUID
    index: int
    parameters: dict[str, Any]
    state: IterationState
    started_at: datetime | None
    ended_at: datetime | None
    metrics: dict[str, MetricSummary]


class IterationPage(Page, frozen=True, kw_only=True):
    items: tuple[Iteration, ...]
