"""The model registry, versions of a path, and sets of artifacts."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import UNSET
from sqlalchemy import Engine, NullPool, create_engine, delete, event, update
from sqlalchemy.exc import IntegrityError

from pinnace import ids
from pinnace.client import ApiError, Client, Conflict, Forbidden, Invalid, NotFound
from pinnace.naming import MANIFEST_NAME
from pinnace.records import (
    ArtifactPatch,
    Difference,
    ExperimentWrite,
    IterationPatch,
    IterationWrite,
    Lifecycle,
    Member,
    MemberKind,
    MetricPoint,
    ModelPatch,
    ModelStage,
    ModelVersion,
    ModelVersionPatch,
    ModelVersionWrite,
    ModelWrite,
    ProjectRole,
    Shown,
    UserWrite,
)
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.model_versions import protection
from pinnace_api.model_versions.tables import MODEL_TRANSITIONS, MODEL_VERSIONS
from pinnace_api.projects.tables import PROJECTS
from support.accounts import PASSWORD, Accounts
from support.api_server import ApiServer
from support.at_once import WRITERS, at_once
from support.samples import artifact

PRODUCTION, STAGING, ARCHIVED, NONE = ModelStage.PRODUCTION, ModelStage.STAGING, ModelStage.ARCHIVED, ModelStage.NONE


@pytest.fixture
def engine(api: ApiServer) -> Engine:
    """The database past the API, with its foreign keys on."""
    engine = create_engine(api.settings.database_url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    return engine


class Registry:
    """A project with one iteration, and calls about its model `tree`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.project = f"p{uuid4().hex[:12]}"
        self.experiment, self.iteration = uuid4(), uuid4()
        client.put_experiment(self.experiment, ExperimentWrite(project=self.project, name="sweep"))
        self.iterate(self.iteration)

    def iterate(self, iteration: UUID, **fields: Any) -> UUID:
        self.client.put_iteration(iteration, IterationWrite(experiment_id=self.experiment, **fields))
        return iteration

    def write(self, **fields: Any) -> ModelVersionWrite:
        return ModelVersionWrite(**{"project": self.project, "model": "tree", "iteration_id": self.iteration, **fields})

    def version(self, **fields: Any) -> ModelVersion:
        return self.client.put_model_version(uuid4(), self.write(**fields))

    def stages(self) -> dict[int, ModelStage]:
        found = self.client.model_versions(self.project, "tree", lifecycle=Shown.ALL)
        return {each.number: each.stage for each in found}


@pytest.fixture
def registry(client: Client) -> Registry:
    return Registry(client)


# --- models


def test_a_model_is_made_edited_put_away_and_taken_back(client: Client, registry: Registry) -> None:
    made = client.put_model(registry.project, "tree", ModelWrite(description="a", tags={"a": ""}))
    assert made.id == ids.model_id(registry.project, "tree")
    assert (made.last_number, made.production, made.aliases, made.created_by) == (0, None, {}, "admin")
    assert client.put_model(registry.project, "tree", ModelWrite(description="b")) == made
    edited = client.patch_model(registry.project, "tree", ModelPatch(description="b", tags={"a": None, "c": "d"}))
    assert (edited.description, edited.tags) == ("b", {"c": "d"})
    client.trash_model(registry.project, "tree")
    client.trash_model(registry.project, "tree")
    assert list(client.models(project=registry.project)) == []
    assert [each.name for each in client.models(project=registry.project, lifecycle=Shown.TRASHED)] == ["tree"]
    for call in (
        registry.version,
        lambda: client.patch_model(registry.project, "tree", ModelPatch(description="c")),
    ):
        with pytest.raises(Conflict) as caught:
            call()
        assert caught.value.code == "trashed"
    client.patch_model(registry.project, "tree", ModelPatch(lifecycle=Lifecycle.ACTIVE))
    assert list(client.models(project=registry.project, name="tree")) == [edited]


@pytest.mark.parametrize("name", ["-a", "a b", "a\n", "é", "a" * 101])
def test_a_model_s_name_is_one_that_fits_into_an_address(client: Client, registry: Registry, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        client.put_model(registry.project, name)
    assert caught.value.field == "model"


def test_what_is_not_there_is_not_found(client: Client, registry: Registry) -> None:
    for call in (
        lambda: client.put_model("nowhere", "tree"),
        lambda: client.model(registry.project, "none"),
        lambda: client.model_version(registry.project, "none"),
        lambda: client.set_model_alias(registry.project, "none", "a", 1),
        lambda: client.delete_model_alias(registry.project, "none", "a"),
        lambda: client.model_version_by_id(uuid4()),
        lambda: client.trash_model_version(uuid4()),
        lambda: client.patch_artifact(uuid4(), ArtifactPatch(tags={"a": ""})),
        lambda: list(client.artifact_set_members(uuid4())),
        lambda: list(client.iteration_model_versions(uuid4())),
    ):
        with pytest.raises(NotFound):
            call()
    registry.version()
    for which in ({"number": 2}, {"number": 2**40}, {"stage": "production"}, {"stage": "best"}, {"alias": "a"}):
        with pytest.raises(NotFound):
            client.model_version(registry.project, "tree", **which)


# --- versions


def test_a_version_is_one_however_often_it_is_sent(client: Client, registry: Registry) -> None:
    id_, write = uuid4(), registry.write(description="a", tags={"a": ""})
    first = client.put_model_version(id_, write)
    assert (first.number, first.stage, first.artifact_id, first.created_by) == (1, NONE, None, "admin")
    assert client.put_model_version(id_, write) == first == client.model_version_by_id(id_)
    other = registry.iterate(uuid4())
    for change in ({"model": "other"}, {"iteration_id": other}):
        with pytest.raises(Conflict):
            client.put_model_version(id_, registry.write(**change))
    assert registry.version().number == 2
    assert client.model(registry.project, "tree").last_number == 2


def test_an_artifact_is_attached_once_and_must_be_of_the_iteration(client: Client, registry: Registry) -> None:
    stranger = registry.iterate(uuid4())
    mine, mine_too, theirs = (
        client.put_artifacts(of, [artifact(of, path)])[0].id
        for of, path in ((registry.iteration, "a"), (registry.iteration, "b"), (stranger, "a"))
    )
    for wrong in (theirs, uuid4()):
        with pytest.raises(Invalid) as caught:
            registry.version(artifact_id=wrong)
        assert caught.value.field == "artifact_id"
    assert list(client.models(project=registry.project)) == [], "a refused version leaves no model"
    version = registry.version()
    with pytest.raises(Invalid):
        client.patch_model_version(version.id, ModelVersionPatch(artifact_id=theirs))
    attached = client.patch_model_version(version.id, ModelVersionPatch(artifact_id=mine))
    assert attached.artifact_id == mine
    assert client.patch_model_version(version.id, ModelVersionPatch(artifact_id=mine)) == attached
    assert client.put_model_version(version.id, registry.write()) == attached, "the first request, sent again"
    with pytest.raises(Conflict):
        client.patch_model_version(version.id, ModelVersionPatch(artifact_id=mine_too))
    assert [each.id for each in client.artifact_model_versions(mine)] == [version.id]
    assert [each.id for each in client.iteration_model_versions(registry.iteration)] == [version.id]
    assert list(client.artifact_model_versions(theirs)) == []


def test_an_iteration_of_another_project_or_in_the_trash_makes_no_version(client: Client, registry: Registry) -> None:
    elsewhere = Registry(client)
    for iteration in (elsewhere.iteration, uuid4()):
        with pytest.raises(Invalid) as caught:
            registry.version(iteration_id=iteration)
        assert caught.value.field == "iteration_id"
    client.trash_iteration(registry.iteration)
    with pytest.raises(Conflict):
        registry.version()


def test_26_the_number_of_a_deleted_top_version_is_not_given_again(
    client: Client, registry: Registry, engine: Engine
) -> None:
    versions = [registry.version() for _ in range(3)]
    client.trash_model_version(versions[2].id)
    assert registry.version().number == 4
    with engine.begin() as connection:
        connection.execute(delete(MODEL_VERSIONS).where(MODEL_VERSIONS.c.number > 2))
    assert registry.version().number == 5
    assert client.model_version(registry.project, "tree").number == 5


def test_what_lies_in_the_trash_is_no_newest_and_takes_nothing(client: Client, registry: Registry) -> None:
    first, second = registry.version(stage=STAGING), registry.version(stage=STAGING)
    client.trash_model_version(second.id)
    client.trash_model_version(second.id)
    assert client.model_version(registry.project, "tree") == first
    assert client.model_version(registry.project, "tree", stage="staging") == first
    assert client.model_version(registry.project, "tree", number=2).lifecycle is Lifecycle.TRASHED
    assert [each.number for each in client.model_versions(registry.project, "tree")] == [1]
    for call in (
        lambda: client.set_model_stage(second.id, PRODUCTION),
        lambda: client.set_model_alias(registry.project, "tree", "a", 2),
        lambda: client.patch_model_version(second.id, ModelVersionPatch(description="x")),
    ):
        with pytest.raises(Conflict) as caught:
            call()
        assert caught.value.code == "trashed"
    client.patch_model_version(second.id, ModelVersionPatch(lifecycle=Lifecycle.ACTIVE))
    assert client.model_version(registry.project, "tree") == second


def test_a_version_that_is_in_use_does_not_go_into_the_trash(client: Client, registry: Registry) -> None:
    used, called = registry.version(stage=PRODUCTION), registry.version()
    client.set_model_alias(registry.project, "tree", "best", called.number)
    for version in (used, called):
        with pytest.raises(Conflict):
            client.trash_model_version(version.id)
    client.set_model_stage(used.id, ARCHIVED)
    client.delete_model_alias(registry.project, "tree", "best")
    client.delete_model_alias(registry.project, "tree", "best")
    for version in (used, called):
        client.trash_model_version(version.id)


# --- stages


def test_promotion_archives_the_former_one_and_both_are_remembered(client: Client, registry: Registry) -> None:
    first, second = registry.version(stage=PRODUCTION), registry.version(stage=STAGING)
    assert client.set_model_stage(second.id, PRODUCTION, comment="better").stage is PRODUCTION
    assert client.set_model_stage(second.id, PRODUCTION, comment="again").stage is PRODUCTION
    assert registry.stages() == {1: ARCHIVED, 2: PRODUCTION}
    assert client.model(registry.project, "tree").production == 2
    assert client.model_version(registry.project, "tree", stage="production").id == second.id
    kept = [
        (each.number, each.before, each.after, each.by, each.comment)
        for each in client.model_transitions(registry.project, "tree")
    ]
    assert kept == [
        (2, STAGING, PRODUCTION, "admin", "better"),
        (1, PRODUCTION, ARCHIVED, "admin", "version 2 took its place"),
        (2, NONE, STAGING, "admin", ""),
        (1, NONE, PRODUCTION, "admin", ""),
    ]
    events = list(client.audit(action="model.stage", subject=f"{registry.project}/tree"))
    assert [(each.detail["number"], each.detail["after"]) for each in events] == [
        (number, after.value) for number, _, after, _, _ in kept
    ]
    assert first.stage is PRODUCTION


def test_of_several_in_a_stage_the_newest_is_meant(client: Client, registry: Registry) -> None:
    for _ in range(3):
        registry.version(stage=STAGING)
    assert client.model_version(registry.project, "tree", stage="STAGING").number == 3
    numbers = [each.number for each in client.model_versions(registry.project, "tree", stage=STAGING)]
    assert numbers == [3, 2, 1]


def test_16_a_missing_version_leaves_production_alone(client: Client, registry: Registry) -> None:
    version = registry.version(stage=PRODUCTION)
    with pytest.raises(NotFound):
        client.set_model_stage(uuid4(), PRODUCTION)
    assert client.model_version(registry.project, "tree", stage="production").id == version.id
    assert len(list(client.model_transitions(registry.project, "tree"))) == 1


def test_15_promotions_at_once_leave_one_in_production(client: Client, registry: Registry) -> None:
    versions = [registry.version() for _ in range(WRITERS)]
    results = at_once(lambda number: client.set_model_stage(versions[number].id, PRODUCTION))
    assert not [each for each in results if isinstance(each, ApiError)]
    assert Counter(registry.stages().values()) == {PRODUCTION: 1, ARCHIVED: WRITERS - 1}
    after = Counter(each.after for each in client.model_transitions(registry.project, "tree"))
    assert after == {PRODUCTION: WRITERS, ARCHIVED: WRITERS - 1}


def test_15_versions_made_at_once_get_numbers_of_their_own(client: Client, registry: Registry) -> None:
    results = at_once(lambda _: [registry.version(stage=PRODUCTION).number for _ in range(3)])
    numbers = [number for result in results for number in result]
    assert sorted(numbers) == list(range(1, 3 * WRITERS + 1))
    assert Counter(registry.stages().values())[PRODUCTION] == 1


def test_the_database_itself_holds_no_two_in_production(registry: Registry, engine: Engine) -> None:
    versions = [registry.version(stage=PRODUCTION), registry.version()]
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(
            update(MODEL_VERSIONS).where(MODEL_VERSIONS.c.id == versions[1].id).values(stage=PRODUCTION.value)
        )


def test_an_editor_registers_and_an_admin_of_the_project_promotes(
    api: ApiServer, client: Client, registry: Registry
) -> None:
    accounts = Accounts(api)
    names = {role: f"u{uuid4().hex[:12]}" for role in ProjectRole}
    for role, name in names.items():
        client.put_user(name, UserWrite(password=PASSWORD))
        client.put_member(registry.project, Member(kind=MemberKind.USER, name=name, role=role))
    with (
        accounts.client(names[ProjectRole.VIEWER]) as viewer,
        accounts.client(names[ProjectRole.EDITOR]) as editor,
        accounts.client(names[ProjectRole.ADMIN]) as admin,
    ):
        with pytest.raises(Forbidden):
            viewer.put_model_version(uuid4(), registry.write())
        version = editor.put_model_version(uuid4(), registry.write(stage=STAGING))
        assert version.created_by == f"user:{names[ProjectRole.EDITOR]}"
        assert viewer.model_version(registry.project, "tree") == version
        promotions: tuple[Callable[[], object], ...] = (
            lambda: editor.set_model_stage(version.id, PRODUCTION),
            lambda: editor.put_model_version(uuid4(), registry.write(stage=PRODUCTION)),
        )
        for call in promotions:
            with pytest.raises(Forbidden):
                call()
        assert admin.set_model_stage(version.id, PRODUCTION).stage is PRODUCTION
        with pytest.raises(Forbidden):
            editor.set_model_stage(version.id, NONE)
        assert editor.set_model_alias(registry.project, "tree", "best", 1).number == 1
        assert registry.stages() == {1: PRODUCTION}
        stranger = Registry(client)
        elsewhere: tuple[Callable[[], object], ...] = (
            lambda: editor.put_model_version(uuid4(), stranger.write()),
            lambda: editor.put_model_version(stranger.version().id, registry.write()),
            lambda: editor.model(stranger.project, "tree"),
        )
        for call in elsewhere:
            with pytest.raises(NotFound):
                call()
        assert [each.project for each in editor.models()] == [registry.project]
    accounts.close()


# --- aliases


def test_an_alias_stands_for_one_version_and_moves(client: Client, registry: Registry) -> None:
    for _ in range(2):
        registry.version()
    assert client.set_model_alias(registry.project, "tree", "best", 1, expected=None).number == 1
    for expected in (None, 2):
        with pytest.raises(Conflict) as caught:
            client.set_model_alias(registry.project, "tree", "best", 2, expected=expected)
        assert caught.value.field == "expected"
    moved = client.set_model_alias(registry.project, "tree", "best", 2, expected=1)
    assert client.set_model_alias(registry.project, "tree", "best", 2, expected=1) == moved, "sent again"
    assert client.model_version(registry.project, "tree", alias="best").aliases == ("best",)
    assert client.model_version(registry.project, "tree", number=1).aliases == ()
    assert client.model(registry.project, "tree").aliases == {"best": 2}
    assert list(client.model_aliases(registry.project, "tree")) == [moved]
    with pytest.raises(Invalid):
        client.set_model_alias(registry.project, "tree", "best", 3)
    events = list(client.audit(action="model.alias", subject=f"{registry.project}/tree"))
    assert [(each.detail["before"], each.detail["after"]) for each in events] == [(1, 2), (0, 1)]


@pytest.mark.parametrize("alias", ["1", "007", "production", "newest", "Best", "a b", "a\n"])
def test_an_alias_is_nothing_that_a_number_or_a_stage_could_be(client: Client, registry: Registry, alias: str) -> None:
    registry.version()
    with pytest.raises(Invalid) as caught:
        client.set_model_alias(registry.project, "tree", alias, 1)
    assert caught.value.field == "alias"


def test_of_moves_at_once_that_expect_the_same_one_is_done(client: Client, registry: Registry) -> None:
    for _ in range(WRITERS + 1):
        registry.version()
    client.set_model_alias(registry.project, "tree", "best", WRITERS + 1)
    results = at_once(
        lambda number: client.set_model_alias(registry.project, "tree", "best", number + 1, expected=WRITERS + 1).number
    )
    winners = [each for each in results if isinstance(each, int)]
    assert winners == [client.model_version(registry.project, "tree", alias="best").number]
    assert all(isinstance(each, Conflict) for each in results if not isinstance(each, int))


# --- what two versions differ in, and what they keep


def said(differences: tuple[Difference, ...]) -> dict[str, tuple[str, Any, Any]]:
    return {each.name: (each.likeness.value, each.left, each.right) for each in differences}


def test_two_versions_are_compared_point_by_point(client: Client, registry: Registry) -> None:
    environment = {"python": "3.12", "packages": {"numpy": "2.1", "torch": "2.4"}}
    other_environment = {"python": "3.12", "packages": {"numpy": "2.2"}}
    left = registry.iterate(uuid4(), parameters={"lr": 0.1, "depth": 3, "seed": None}, environment=environment)
    right = registry.iterate(uuid4(), parameters={"lr": 0.2, "depth": 3}, environment=other_environment)
    for iteration, loss in ((left, 0.5), (right, float("nan"))):
        points = [MetricPoint(key="loss", step=step, value=loss) for step in range(2)]
        client.put_metrics(iteration, [*points, MetricPoint(key="same", step=0, value=1.0)])
    model = client.put_artifacts(left, [artifact(left, "model.bin", b"a")])[0]
    files = [artifact(right, "best/model.bin", b"b"), artifact(right, "best/w/0", b"0"), artifact(right, "log", b"l")]
    manifest = artifact(right, f"best/{MANIFEST_NAME}", b"{}")
    client.put_artifacts(right, [*files, manifest], {manifest.id: [each.id for each in files[:2]]})
    registry.version(iteration_id=left, artifact_id=model.id)
    registry.version(iteration_id=right, artifact_id=manifest.id)
    found = client.diff_model_versions(registry.project, "tree", 1, 2)
    assert (found.left.number, found.right.number) == (1, 2)
    assert said(found.parameters) == {
        "depth": ("same", 3, 3),
        "lr": ("differ", 0.1, 0.2),
        "seed": ("missing", None, UNSET),
    }
    assert said(found.metrics) == {"loss": ("differ", 0.5, "NaN"), "same": ("same", 1.0, 1.0)}
    assert said(found.environment) == {
        "python": ("same", "3.12", "3.12"),
        "packages.numpy": ("differ", "2.1", "2.2"),
        "packages.torch": ("missing", "2.4", UNSET),
    }
    assert said(found.artifacts) == {
        "model.bin": ("differ", model.sha256, files[0].sha256),
        "w/0": ("missing", UNSET, files[1].sha256),
    }
    itself = client.diff_model_versions(registry.project, "tree", 2, 2)
    assert {each.likeness.value for part in (itself.metrics, itself.artifacts) for each in part} == {"same"}
    with pytest.raises(Invalid) as caught:
        client.diff_model_versions(registry.project, "tree", 1, 3)
    assert caught.value.field == "right"


def test_3_4_19_what_a_version_points_at_can_not_be_purged(client: Client, registry: Registry, engine: Engine) -> None:
    iteration = registry.iteration
    free, single, member = (artifact(iteration, path) for path in ("free", "single", "s/member"))
    manifest = artifact(iteration, f"s/{MANIFEST_NAME}")
    idle = registry.iterate(uuid4())
    client.put_artifacts(iteration, [free, single, member, manifest], {manifest.id: [member.id]})
    versions = [registry.version(artifact_id=each.id) for each in (single, manifest)]
    client.trash_model_version(versions[1].id)
    client.trash_model(registry.project, "tree")
    client.trash_iteration(iteration)
    project = ids.project_id(registry.project)
    with engine.connect() as connection:
        asked = {each.id for each in (free, single, member, manifest)}
        assert protection.kept_artifacts(connection, asked) == asked - {free.id}
        assert protection.kept_artifacts(connection, ()) == frozenset()
        assert protection.kept_iterations(connection, {iteration, idle}) == {iteration}
        assert protection.kept_projects(connection, {project, uuid4()}) == {project}
    for table, id_ in (
        (ARTIFACTS, single.id),
        (ARTIFACTS, member.id),
        (ARTIFACTS, manifest.id),
        (ITERATIONS, iteration),
        (PROJECTS, project),
    ):
        with engine.connect() as connection, pytest.raises(IntegrityError):
            connection.execute(delete(table).where(table.c.id == id_))
    with engine.begin() as connection:
        connection.execute(delete(ARTIFACTS).where(ARTIFACTS.c.id == free.id))
        gone = [each.id for each in versions]
        connection.execute(delete(MODEL_TRANSITIONS).where(MODEL_TRANSITIONS.c.version_id.in_(gone)))
        connection.execute(delete(MODEL_VERSIONS).where(MODEL_VERSIONS.c.id.in_(gone)))
        assert protection.kept_artifacts(connection, asked) == frozenset()


# --- contents of a path


def test_the_contents_of_a_path_are_counted_in_their_order(client: Client, registry: Registry) -> None:
    iteration = registry.iteration
    contents = [artifact(iteration, "a/model.bin", f"{number}".encode()) for number in range(5)]
    for each in contents[:3]:
        client.put_artifacts(iteration, [each])
    client.put_artifacts(iteration, [*contents[3:], artifact(iteration, "a/model", b"0")])
    client.put_artifacts(iteration, [contents[0]])
    found = list(client.artifact_versions(iteration, "a/model.bin"))
    assert [each.version for each in found] == [1, 2, 3, 4, 5]
    assert [each.id for each in found[:3]] == [each.id for each in contents[:3]]
    newest = list(client.artifact_versions(iteration, "a/model.bin", newest=True, limit=2))
    assert newest == found[:2:-1]
    assert list(client.artifact_versions(iteration, "a/none")) == []
    assert {each.version for each in client.iteration_artifacts(iteration)} == {None}
    with pytest.raises(NotFound):
        list(client.artifact_versions(uuid4(), "a"))


def test_words_about_an_artifact_are_edited_and_its_facts_are_not(client: Client, registry: Registry) -> None:
    sent = artifact(registry.iteration, description="a", tags={"a": ""})
    (stored,) = client.put_artifacts(registry.iteration, [sent])
    assert (stored.description, stored.tags) == ("a", {"a": ""})
    edited = client.patch_artifact(sent.id, ArtifactPatch(description=None, tags={"a": None, "b": "c"}))
    assert (edited.description, edited.tags) == ("", {"b": "c"})
    assert client.put_artifacts(registry.iteration, [sent]) == (edited,), "sending it again takes no edit back"
    client.trash_iteration(registry.iteration)
    with pytest.raises(Conflict):
        client.patch_artifact(sent.id, ArtifactPatch(description="b"))
    client.patch_iteration(registry.iteration, IterationPatch(lifecycle=Lifecycle.ACTIVE))


# --- sets


def test_a_manifest_with_its_files_is_a_set(client: Client, registry: Registry) -> None:
    iteration = registry.iteration
    files = [artifact(iteration, f"step-1/{number}", bytes(number)) for number in range(3)]
    manifest = artifact(iteration, f"step-1/{MANIFEST_NAME}")
    named = {manifest.id: [each.id for each in files]}
    client.put_artifacts(iteration, [manifest])
    assert list(client.artifact_sets(iteration)) == []
    with pytest.raises(Invalid):
        client.put_artifacts(iteration, [manifest], named)
    client.put_artifacts(iteration, files)
    client.put_artifacts(iteration, [manifest], named)
    client.put_artifacts(iteration, [manifest], named)
    client.put_artifacts(iteration, [manifest])
    (set_,) = client.artifact_sets(iteration)
    assert (set_.manifest.id, set_.files, set_.bytes) == (manifest.id, 3, 3)
    assert {each.id for each in client.artifact_set_members(manifest.id)} == {each.id for each in files}
    assert list(client.artifact_set_members(files[0].id)) == []
    of_set = client.iteration_artifacts(iteration, manifest=manifest.id)
    assert [each.id for each in of_set] == [each.id for each in client.artifact_set_members(manifest.id)]
    assert list(client.iteration_artifacts(registry.iterate(uuid4()), manifest=manifest.id)) == []
    with pytest.raises(Conflict):
        client.put_artifacts(iteration, [manifest], {manifest.id: [files[0].id]})
    version = registry.version(artifact_id=manifest.id)
    assert [each.id for each in client.artifact_model_versions(files[0].id)] == [version.id]


def test_what_can_not_belong_to_a_set_is_refused_with_all_that_came_along(client: Client, registry: Registry) -> None:
    iteration, other = registry.iteration, registry.iterate(uuid4())
    manifest, file = artifact(iteration, f"a/{MANIFEST_NAME}"), artifact(iteration, "a/f")
    outside, theirs = artifact(iteration, "b/f"), artifact(other, "a/f")
    client.put_artifacts(other, [theirs])
    for sent, named in (
        ([manifest, outside], {manifest.id: [outside.id]}),
        ([manifest], {manifest.id: [theirs.id]}),
        ([manifest], {manifest.id: [manifest.id]}),
        ([manifest], {manifest.id: []}),
        ([file, outside], {file.id: [outside.id]}),
    ):
        with pytest.raises(Invalid) as caught:
            client.put_artifacts(iteration, sent, named)
        assert "sets[0]" in caught.value.field
    assert list(client.iteration_artifacts(iteration)) == []


def test_a_set_of_many_files_fits_into_a_request(client: Client, registry: Registry) -> None:
    iteration = registry.iteration
    files = [artifact(iteration, f"c/{number}") for number in range(2500)]
    manifest = artifact(iteration, f"c/{MANIFEST_NAME}")
    client.put_artifacts(iteration, [*files, manifest], {manifest.id: [each.id for each in files]})
    assert [each.files for each in client.artifact_sets(iteration)] == [2500]
    assert len(list(client.artifact_set_members(manifest.id))) == 2500
