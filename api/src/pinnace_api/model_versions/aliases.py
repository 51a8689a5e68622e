"""What may be done with aliases: names that stand for one version each, and can be moved."""

import msgspec
from msgspec import UnsetType

from pinnace import ids
from pinnace.records import AliasName, AliasWrite, ModelAlias, ModelAliasPage
from pinnace_api.audit.service import note
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.edits import check_writable
from pinnace_api.identity import Visit
from pinnace_api.model_versions import alias_queries, queries
from pinnace_api.models import queries as models
from pinnace_api.models import service as model_service
from pinnace_api.models.queries import Held
from pinnace_api.paging import Cut
from pinnace_api.refusals import Conflict, Invalid


def put(
    database: Database, visit: Visit, project: str, model: str, *, alias: str, write: AliasWrite
) -> tuple[ModelAlias, bool]:
    """Let the alias stand for a version; the bool says whether it is a new one. Where it stands so already, nothing
    happens.

    With `expected`, only if it stood for that before: otherwise a Conflict.
    """
    try:
        msgspec.convert(alias, AliasName)
    except msgspec.ValidationError:
        raise Invalid(
            "an alias is made of 1 to 100 of a-z 0-9 - . _, begins and ends with a letter or a digit, and is neither a "
            "number nor `newest` nor a stage",
            field="alias",
        ) from None
    return database.write(_put, visit, project, model, alias=alias, write=write)


def remove(database: Database, visit: Visit, project: str, model: str, alias: str) -> None:
    """Take the alias away, which may be gone already. Raises NotFound for the model."""
    database.write(_remove, visit, project, model, alias)


def page(database: Database, project: str, model: str, cut: Cut) -> ModelAliasPage:
    with database.read() as connection:
        held = model_service.found(models.find(connection, ids.model_id(project, model)), project, model)
        return alias_queries.page(connection, held.model.id, cut)


def _put(
    connection: Connection, visit: Visit, project: str, model: str, *, alias: str, write: AliasWrite
) -> tuple[ModelAlias, bool]:
    held = _hold(connection, project, model)
    version = queries.numbered(connection, held.model.id, write.number)
    if version is None:
        raise Invalid(f"model {model!r} has no version {write.number}", field="number")
    stored = alias_queries.find(connection, held.model.id, alias)
    if stored is not None and stored.number == write.number:
        return stored, False
    check_writable({f"version {version.number}": version.lifecycle, **held.around()})
    before = None if stored is None else stored.number
    if not isinstance(write.expected, UnsetType) and write.expected != before:
        raise Conflict(
            f"{alias!r} stands for {_said(before)}, not for {_said(write.expected)}",
            field="expected",
            hint="somebody else has moved it; look again",
        )
    moment, by = now(), str(visit)
    is_new = alias_queries.set_(connection, held.model.id, alias, version.id, at=moment, by=by)
    _note(connection, visit, held, alias, before=before, after=write.number)
    moved = ModelAlias(alias=alias, number=write.number, version_id=version.id, moved_at=moment, moved_by=by)
    return moved, is_new


def _remove(connection: Connection, visit: Visit, project: str, model: str, alias: str) -> None:
    held = _hold(connection, project, model)
    before = held.model.aliases.get(alias)
    if before is not None:
        check_writable(held.around())
        alias_queries.remove(connection, held.model.id, alias)
        _note(connection, visit, held, alias, before=before, after=None)


def _hold(connection: Connection, project: str, model: str) -> Held:
    return model_service.found(models.hold(connection, ids.model_id(project, model)), project, model)


def _note(
    connection: Connection, visit: Visit, held: Held, alias: str, *, before: int | None, after: int | None
) -> None:
    subject = f"{held.model.project}/{held.model.name}"
    note(connection, visit, "model.alias", subject, alias=alias, before=before or 0, after=after or 0)


def _said(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
