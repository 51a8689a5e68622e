"""All tables together, for migrations and for nothing else."""

from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.datasets.tables import DATASET_USES, DATASETS
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.metrics.tables import METRIC_AUTO_STEPS, METRIC_POINTS, METRIC_SOURCES, METRICS
from pinnace_api.pods.tables import POD_ARTIFACTS, PODS
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.tables import METADATA

TABLES = (
    PROJECTS,
    EXPERIMENTS,
    ITERATIONS,
    ARTIFACTS,
    METRICS,
    METRIC_SOURCES,
    METRIC_POINTS,
    METRIC_AUTO_STEPS,
    DATASETS,
    DATASET_USES,
    PODS,
    POD_ARTIFACTS,
)

__all__ = ["METADATA", "TABLES"]
