"""What may be done with retention policies."""

from uuid import UUID

import msgspec

from pinnace.records import (
    ModelStage,
    PolicyName,
    RetentionPolicy,
    RetentionPolicyPage,
    RetentionPolicyWrite,
    RetentionTarget,
)
from pinnace_api.audit.service import note
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.experiments.vocabulary import VOCABULARY as OF_EXPERIMENTS
from pinnace_api.filters.parser import parse_filter, parse_order
from pinnace_api.identity import Visit
from pinnace_api.iterations.vocabulary import VOCABULARY as OF_ITERATIONS
from pinnace_api.paging import Cut
from pinnace_api.projects import queries as projects
from pinnace_api.refusals import Invalid, NotFound
from pinnace_api.retention import queries
from pinnace_api.values import check_name, check_text


def put(
    database: Database, visit: Visit, project: str | None, name: str, write: RetentionPolicyWrite
) -> tuple[RetentionPolicy, bool]:
    """Set the policy of the project, or the one for all projects; the bool says whether it is new.

    Raises NotFound for the project, Invalid that points at what is wrong in a filter.
    """
    check_name(name, PolicyName, "a policy's name", "policy")
    _check(write)
    check_text(project or "", "name")
    return database.write(_put, visit, project, name, write)


def remove(database: Database, visit: Visit, project: str | None, name: str) -> None:
    """Without it nothing happens by it any more. Raises NotFound."""
    check_text(project or "", "name")
    check_text(name, "policy")
    database.write(_remove, visit, project, name)


def page(database: Database, project: str | None, cut: Cut) -> RetentionPolicyPage:
    """Those for all projects, and those of the project."""
    check_text(project or "", "name")
    with database.read() as connection:
        return queries.page(connection, _project(connection, project), cut)


def _put(
    connection: Connection, visit: Visit, project: str | None, name: str, write: RetentionPolicyWrite
) -> tuple[RetentionPolicy, bool]:
    around = _project(connection, project)
    before = queries.find(connection, around, name)
    if before is not None and all(getattr(before, field) == getattr(write, field) for field in write.__struct_fields__):
        return before, False
    is_new = queries.set_(connection, around, name, write, by=str(visit), at=now())
    stored = queries.find(connection, around, name)
    assert stored is not None
    note(connection, visit, "retention.policy.set", _subject(project, name), **_said(write))
    return stored, is_new


def _remove(connection: Connection, visit: Visit, project: str | None, name: str) -> None:
    if not queries.remove(connection, _project(connection, project), name):
        raise NotFound(f"there is no retention policy {name!r}")
    note(connection, visit, "retention.policy.removed", _subject(project, name))


def _check(write: RetentionPolicyWrite) -> None:
    for field in ("keep_by", "filter", "experiments", "description"):
        check_text(getattr(write, field), field)
    if write.filter.strip():
        parse_filter(write.filter, OF_ITERATIONS)
    if write.experiments.strip():
        parse_filter(write.experiments, OF_EXPERIMENTS, field="experiments")
    parse_order(write.keep_by, OF_ITERATIONS, field="keep_by")
    _check_stages(write)
    if write.target is RetentionTarget.TRASH:
        if write.older_than_days is None:
            raise Invalid("say how long things lie in the trash before they go for good", field="older_than_days")
        if write.keep is not None:
            raise Invalid("of what lies in the trash nothing is kept", field="keep", hint="take it back instead")
    if write.older_than_days is None and write.keep is None:
        raise Invalid(
            "a policy without a limit would remove everything", field="older_than_days", hint="or give `keep`"
        )
    if write.keep_by.strip() and write.keep is None:
        raise Invalid("`keep_by` says which ones `keep` keeps", field="keep", hint="say how many")


def _check_stages(write: RetentionPolicyWrite) -> None:
    is_about_versions = write.target is RetentionTarget.VERSIONS
    if is_about_versions and not write.stages:
        raise Invalid("say which stages versions go from", field="stages", hint="ARCHIVED, say")
    if write.stages and not is_about_versions:
        raise Invalid("only versions of models have stages", field="stages", hint="the target `versions` is about them")
    if ModelStage.PRODUCTION in write.stages:
        raise Invalid("what is in PRODUCTION never goes by a policy", field="stages", hint="name other stages")


def _project(connection: Connection, name: str | None) -> UUID | None:
    if name is None:
        return None
    found = projects.find(connection, name)
    if found is None:
        raise NotFound(f"there is no project {name!r}")
    return found.id


def _subject(project: str | None, name: str) -> str:
    return f"{project or '*'}/{name}"


def _said(write: RetentionPolicyWrite) -> dict[str, str | int | bool]:
    said = {key: value for key, value in msgspec.to_builtins(write).items() if value is not None}
    said["stages"] = " ".join(write.stages)
    return {key: str(value) if isinstance(value, float) else value for key, value in said.items()}
