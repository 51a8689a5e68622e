"""All tables together, for migrations and for nothing else."""

from pinnace_api.artifact_sets.tables import ARTIFACT_SET_MEMBERS
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.audit.tables import AUDIT
from pinnace_api.datasets.tables import DATASET_USES, DATASETS
from pinnace_api.experiments.tables import EXPERIMENTS
from pinnace_api.holds.tables import HOLDS
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.members.tables import GROUP_ROLES, USER_ROLES
from pinnace_api.metrics.tables import METRIC_AUTO_STEPS, METRIC_POINTS, METRIC_SOURCES, METRICS
from pinnace_api.model_versions.tables import MODEL_ALIASES, MODEL_TRANSITIONS, MODEL_VERSIONS
from pinnace_api.models.tables import MODELS
from pinnace_api.oidc.tables import LOGINS
from pinnace_api.pods.tables import POD_ARTIFACTS, PODS
from pinnace_api.projects.tables import PROJECTS
from pinnace_api.retention.tables import RETENTION_POLICIES
from pinnace_api.sessions.tables import ATTEMPTS
from pinnace_api.storage.tables import INLINE_BLOCKS
from pinnace_api.tables import METADATA
from pinnace_api.tokens.tables import TOKENS
from pinnace_api.uploads.tables import UPLOAD_PIECES, UPLOADS
from pinnace_api.users.tables import USER_GROUPS, USERS

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
    ARTIFACT_SET_MEMBERS,
    MODELS,
    MODEL_VERSIONS,
    MODEL_ALIASES,
    MODEL_TRANSITIONS,
    PODS,
    POD_ARTIFACTS,
    USERS,
    USER_GROUPS,
    TOKENS,
    ATTEMPTS,
    USER_ROLES,
    GROUP_ROLES,
    LOGINS,
    AUDIT,
    INLINE_BLOCKS,
    UPLOADS,
    UPLOAD_PIECES,
    RETENTION_POLICIES,
    HOLDS,
)

__all__ = ["METADATA", "TABLES"]
