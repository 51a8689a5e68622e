"""The models of a source, when its iterations are there."""

from pinnace import ids
from pinnace.client import Client, Conflict, NotFound
from pinnace.porting.imported import Imported
from pinnace.porting.rows import ModelRow, VersionRow
from pinnace.porting.source import Entry, Problems, Source
from pinnace.records import Lifecycle, ModelPatch, ModelVersionPatch, ModelVersionWrite, ModelWrite


def bring(client: Client, source: Source, problems: Problems, done: Imported) -> None:
    """Add the models, versions and aliases that are missing. An alias that stands for something else stays."""
    registry = _Registry(client, source.project().name, done)
    taken: list[Entry[ModelRow]] = []
    for model in source.models():
        with problems.of(model.place):
            registry.model(model.value)
            taken.append(model)
    for version in source.versions():
        with problems.of(version.place):
            registry.version(version.value)
    for model in taken if not done.dry_run else ():
        for alias, number in sorted(model.value.aliases.items()):
            with problems.of(model.place):
                registry.alias(model.value.name, alias, number)
        with problems.of(model.place):
            registry.put_away(model.value)


class _Registry:
    def __init__(self, client: Client, project: str, done: Imported) -> None:
        self._client = client
        self._project = project
        self._done = done
        #: By model and number there.
        self._numbers: dict[tuple[str, int], int] = {}

    def model(self, row: ModelRow) -> None:
        try:
            self._client.model(self._project, row.name)
        except NotFound:
            if not self._done.dry_run:
                write = ModelWrite(description=row.description, tags=row.tags)
                self._client.put_model(self._project, row.name, write)
            self._done.models += 1

    def version(self, row: VersionRow) -> None:
        try:
            there = self._client.model_version_by_id(row.id)
        except NotFound:
            self._done.versions += 1
            if self._done.dry_run:
                return
            write = ModelVersionWrite(
                project=self._project,
                model=row.model,
                iteration_id=row.iteration_id,
                artifact_id=ids.artifact_id(row.iteration_id, *row.artifact) if row.artifact else None,
                stage=row.stage,
                description=row.description,
                tags=row.tags,
            )
            there = self._client.put_model_version(row.id, write)
            self._done.renumbered += there.number != row.number
            if row.lifecycle is not Lifecycle.ACTIVE:
                self._client.patch_model_version(row.id, ModelVersionPatch(lifecycle=row.lifecycle))
        if (there.project, there.model) != (self._project, row.model):
            raise Conflict(f"version {row.id} is there, of model {there.project}/{there.model}")
        self._numbers[row.model, row.number] = there.number

    def alias(self, model: str, alias: str, number: int) -> None:
        ours = self._numbers.get((model, number))
        if ours is None:
            raise NotFound(f"alias {alias!r} stands for version {number}, which was not taken")
        there = self._client.model(self._project, model).aliases.get(alias)
        if there is None:
            self._client.set_model_alias(self._project, model, alias, ours, expected=None)
        elif there != ours:
            raise Conflict(f"alias {alias!r} stands for version {there} here, and is left alone")

    def put_away(self, row: ModelRow) -> None:
        if row.lifecycle is not self._client.model(self._project, row.name).lifecycle:
            self._client.patch_model(self._project, row.name, ModelPatch(lifecycle=row.lifecycle))
