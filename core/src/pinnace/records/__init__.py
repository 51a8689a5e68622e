"""What the parts of the system tell each other: parsed and validated once, at the boundary.

These are the wire types of the metadata API (JSON, field names as here) and of the sidecar's termination message.
A field that is added later gets a default, so that parts of different versions understand each other.
"""

from pinnace.records.artifacts import (
    MAX_ARTIFACTS_PER_REQUEST,
    Artifact,
    ArtifactBatch,
    ArtifactPage,
    Content,
    ContentQuery,
    Location,
    RecordedContent,
    RecordedContents,
    RelativePath,
)
from pinnace.records.experiments import Experiment, ExperimentPage, ExperimentWrite
from pinnace.records.iterations import Iteration, IterationPage, IterationState, IterationWrite
from pinnace.records.metrics import (
    MAX_POINTS_PER_REQUEST,
    MetricBatch,
    MetricKey,
    MetricPage,
    MetricPoint,
    MetricReceipt,
    MetricSummary,
    MetricValue,
    metric_value_from_wire,
    metric_value_to_wire,
)
from pinnace.records.pods import (
    FINAL_STATES,
    MAX_PROBLEMS_PER_REPORT,
    FileState,
    Manifest,
    PodPage,
    PodReport,
    PodStanding,
    Problem,
    WriterEnd,
    WriterStatus,
)
from pinnace.records.problems import ProblemDetails
from pinnace.records.projects import Project, ProjectName, ProjectPage, ProjectWrite
from pinnace.records.record import Page, Record, Sha256, Tag, Text

__all__ = [
    "FINAL_STATES",
    "MAX_ARTIFACTS_PER_REQUEST",
    "MAX_POINTS_PER_REQUEST",
    "MAX_PROBLEMS_PER_REPORT",
    "Artifact",
    "ArtifactBatch",
    "ArtifactPage",
    "Content",
    "ContentQuery",
    "Experiment",
    "ExperimentPage",
    "ExperimentWrite",
    "FileState",
    "Iteration",
    "IterationPage",
    "IterationState",
    "IterationWrite",
    "Location",
    "Manifest",
    "MetricBatch",
    "MetricKey",
    "MetricPage",
    "MetricPoint",
    "MetricReceipt",
    "MetricSummary",
    "MetricValue",
    "Page",
    "PodPage",
    "PodReport",
    "PodStanding",
    "Problem",
    "ProblemDetails",
    "Project",
    "ProjectName",
    "ProjectPage",
    "ProjectWrite",
    "Record",
    "RecordedContent",
    "RecordedContents",
    "RelativePath",
    "Sha256",
    "Tag",
    "Text",
    "WriterEnd",
    "WriterStatus",
    "metric_value_from_wire",
    "metric_value_to_wire",
]
