"""How an export lies in its folder, and the manifest that says that it is whole.

project.json
experiments.jsonl, datasets.jsonl, iterations.jsonl       one object a line, see rows.py
points.jsonl, artifacts.jsonl, sets.jsonl, uses.jsonl     each with its iteration_id
models.jsonl, versions.jsonl
origin.jsonl                                              who made what when; for people, not read back
artifacts/EXPERIMENT-ID/NUMBER/PATH                       the bytes
pinnace-export.json                                       the manifest, written last
"""

from typing import Final
from uuid import UUID

from pinnace.records import MetricPoint
from pinnace.records.record import Record

FORMAT: Final = 1
MANIFEST: Final = "pinnace-export.json"
PROJECT: Final = "project.json"
EXPERIMENTS: Final = "experiments.jsonl"
DATASETS: Final = "datasets.jsonl"
ITERATIONS: Final = "iterations.jsonl"
POINTS: Final = "points.jsonl"
ARTIFACTS: Final = "artifacts.jsonl"
SETS: Final = "sets.jsonl"
USES: Final = "uses.jsonl"
MODELS: Final = "models.jsonl"
VERSIONS: Final = "versions.jsonl"
ORIGIN: Final = "origin.jsonl"
TABLES: Final = (EXPERIMENTS, DATASETS, ITERATIONS, POINTS, ARTIFACTS, SETS, USES, MODELS, VERSIONS, ORIGIN)
BYTES: Final = "artifacts"


class PointRow(MetricPoint, frozen=True, kw_only=True):
    iteration_id: UUID


class TableEntry(Record, frozen=True, kw_only=True):
    """A file of rows."""

    rows: int
    size: int
    sha256: str


class Manifest(Record, frozen=True, kw_only=True):
    """`artifact_bytes` of all artifacts whose bytes are there; `problems`: what could not be written."""

    format: int = FORMAT
    project: str
    tables: dict[str, TableEntry]
    artifacts: int
    artifact_bytes: int
    problems: int = 0
