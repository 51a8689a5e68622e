"""Bytes moved, collected, verified and exported, on both databases, with everything killed at every step."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace import ids
from pinnace.file_names import safe
from pinnace.records import Artifact, Backend, IterationWrite, Location
from pinnace.settings import STORE_PREFIX, dump
from pinnace_api import maintenance_command
from pinnace_api.database import Database
from pinnace_api.maintenance import collecting, exporting, moving, verifying
from pinnace_api.maintenance.exporting import parts_of
from pinnace_api.maintenance.objects import Placed
from pinnace_api.refusals import Unavailable
from pinnace_api.settings import PREFIX
from pinnace_api.storage.storage import Storage
from support.api_process import ApiProcess
from support.api_server import ADMIN_TOKEN
from support.eventually import eventually
from support.files_api import FilesApi, files_api
from support.samples import MOMENT, artifact

PLACES = [Backend.INLINE, Backend.FILESYSTEM, Backend.S3]
CONTENTS = {"empty": b"", "small.txt": b"small", "large.bin": os.urandom(3 * 2**20 + 5), "a/b/ü.bin": b"\0" * 99}
LATER = timedelta(days=2)


@pytest.fixture
def api(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[FilesApi]:
    with files_api(tmp_path, new_database(), Backend.INLINE) as made:
        yield made


def fill(api: FilesApi) -> dict[str, Artifact]:
    return {path: api.put(path, content) for path, content in CONTENTS.items()}


def check(api: FilesApi, backend: Backend | None = None) -> None:
    """Everything is there, and nothing else is anywhere."""
    for path, content in CONTENTS.items():
        assert api.get(path).data == content
    with api.storage() as (database, storage):
        verified = verifying.verify(database, storage)
        assert (verified.missing, verified.corrupt, verified.unreachable) == ([], [], [])
        if backend is not None:
            assert {held.location.backend for store in storage.stores for held in store.list()} == {backend}


def collect(database: Database, storage: Storage, **options: Any) -> collecting.Collected:
    """As two days later."""
    now = datetime.now(UTC)
    return collecting.collect(database, storage, now=now, before=now + LATER, **options)


def move(api: FilesApi, to: Backend, **options: Any) -> moving.Moved:
    with api.storage() as (database, storage):
        store = storage.named(to)
        assert store is not None
        return moving.move(database, storage, store, **options)


# --- moving


def test_everything_moves_from_any_place_to_any_other_and_back(api: FilesApi) -> None:
    fill(api)
    for to in (Backend.FILESYSTEM, Backend.S3, Backend.INLINE, Backend.S3, Backend.FILESYSTEM, Backend.INLINE):
        planned = move(api, to, dry_run=True)
        moved = move(api, to)
        assert (planned.objects, planned.bytes) == (moved.objects, moved.bytes) == (4, sum(map(len, CONTENTS.values())))
        check(api, to)
        assert move(api, to) == moving.Moved()


def test_failure_2_rows_sent_again_after_a_switch_move_with_their_bytes(api: FilesApi) -> None:
    api.put("model.bin", b"first")
    api.restart(artifacts_backend="filesystem")
    api.put("model.bin", b"second")
    assert move(api, Backend.S3).objects == 2
    assert api.get("model.bin").data == b"second"


def test_artifacts_that_share_an_object_move_with_it(api: FilesApi) -> None:
    rows = register_shared(api)
    moved = move(api, Backend.FILESYSTEM)
    assert (moved.artifacts, moved.failures) == (3, [])
    with api.api.admin() as admin:
        assert len({admin.artifact(row.id).location for row in rows}) == 1
    assert api.server.objects == {}
    for row in rows:
        assert api.request("GET", f"/artifacts/{row.id}/bytes").data == b"shared"


def register_shared(api: FilesApi) -> list[Artifact]:
    """Three rows as sidecars register them, of one object that lies in the store."""
    with api.storage() as (_, storage):
        store = storage.named(Backend.S3)
        assert store is not None
        writer = store.writer()
        writer.write(b"shared")
        at = writer.finish().location
    first = artifact(api.iteration, "0", b"shared")
    key = ids.object_key("runs", first.id)
    api.server.objects[key] = api.server.objects.pop(at.key)
    location = msgspec.structs.replace(at, key=key)
    rows = [artifact(api.iteration, str(number), b"shared", location=location) for number in range(3)]
    with api.api.admin() as admin:
        admin.put_artifacts(api.iteration, rows[:1])
        return list(admin.put_artifacts(api.iteration, rows))


def test_a_row_that_fails_is_left_as_it_was_and_the_rest_moves(api: FilesApi) -> None:
    rows = fill(api)
    api.damage(rows["large.bin"], 7)
    with api.storage() as (_, storage):
        storage.new.delete(rows["small.txt"].location)
    moved = move(api, Backend.FILESYSTEM)
    assert (moved.objects, {failure.path for failure in moved.failures}) == (2, {"large.bin", "small.txt"})
    with api.api.admin() as admin:
        for path in ("large.bin", "small.txt"):
            assert admin.artifact(rows[path].id).location == rows[path].location
    with api.storage() as (database, storage):
        verified = verifying.verify(database, storage)
    assert [[each.path for each in found] for found in (verified.missing, verified.corrupt)] == [
        ["small.txt"],
        ["large.bin"],
    ]


def test_two_who_move_at_once_lose_nothing(api: FilesApi) -> None:
    fill(api)
    with api.storage() as (database, storage), api.storage() as (other_database, other_storage):
        to, other_to = storage.named(Backend.FILESYSTEM), other_storage.named(Backend.S3)
        assert to is not None
        assert other_to is not None
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(moving.move, database, storage, to)
            other = pool.submit(moving.move, other_database, other_storage, other_to)
            outcomes = [one.result(), other.result()]
    assert all(failure.cause.startswith("the bytes are not where") for each in outcomes for failure in each.failures)
    check(api)
    move(api, Backend.INLINE)
    check(api, Backend.INLINE)


class Killed(BaseException):
    """The process is gone."""


class Dying:
    """A place whose process is killed at the `at`-th call of anything that leaves traces."""

    def __init__(self, inner: Any, calls: Iterator[int], at: int) -> None:
        self._inner, self._calls, self._at = inner, calls, at

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in ("writer", "write", "finish", "delete", "read"):
            return found

        def call(*args: Any, **options: Any) -> Any:
            if next(self._calls) == self._at:
                raise Killed
            made = found(*args, **options)
            return Dying(made, self._calls, self._at) if name == "writer" else made

        return call

    def abort(self) -> None:
        """Who is killed cleans nothing up; the kernel closes its files."""
        if spool := getattr(self._inner, "_spool", None):
            spool.close()


@pytest.mark.parametrize("to", [Backend.FILESYSTEM, Backend.S3])
def test_failure_8_a_migration_that_is_killed_at_any_step_goes_on(tmp_path: Path, to: Backend) -> None:
    with files_api(tmp_path, f"sqlite:///{tmp_path}/api.db", Backend.INLINE) as api:
        row = api.put("a", b"content")
        for at in count():
            with api.storage() as (database, storage):
                calls = count()
                dying = {store.name: Dying(store, calls, at) for store in storage.stores}
                try:
                    moving.move(database, Storage(dying, Backend.INLINE), dying[to], workers=1)  # type: ignore[arg-type]
                except Killed:
                    is_over = False
                else:
                    is_over = True
                assert api.get("a").data == b"content"
                move(api, to)
                collect(database, storage)
                held = [each.location for store in storage.stores for each in store.list()]
                with api.api.admin() as admin:
                    assert held == [admin.artifact(row.id).location]
            assert (api.get("a").data, held[0].backend) == (b"content", to)
            if is_over:
                break
            move(api, Backend.INLINE)
        assert at >= 5


# --- collecting


def test_failure_3_bytes_of_what_was_deleted_go_after_the_grace_time_and_the_row_stays(api: FilesApi) -> None:
    row = api.put("deleted.bin", b"deleted")
    api.request("DELETE", f"/artifacts/{row.id}")
    with api.storage() as (database, storage):
        now = datetime.now(UTC)
        assert collecting.collect(database, storage, now=now, before=now - LATER).deleted_artifacts == 0
        assert collect(database, storage, dry_run=True).deleted_artifacts == 1
        assert len(list(storage.new.list())) == 1
        assert collect(database, storage).deleted_artifacts == 1
        assert list(storage.new.list()) == []
        assert collect(database, storage) == collecting.Collected()
    again = api.put("deleted.bin", b"deleted")
    assert (again.id, api.get("deleted.bin").data) == (row.id, b"deleted")


def test_failure_3_what_a_version_of_a_model_needs_stays(api: FilesApi) -> None:
    row, other = api.put("model.bin", b"model"), api.put("other.bin", b"other")
    fields = {"project": "p", "model": "best", "iteration_id": str(api.iteration), "artifact_id": str(row.id)}
    answer = api.request("PUT", f"/model-versions/{UUID(int=7)}", json.dumps(fields))
    assert answer.status == 201, answer.data
    assert api.request("DELETE", f"/artifacts/{row.id}").status == 409
    assert api.request("DELETE", f"/artifacts/{other.id}").status == 204
    with api.storage() as (database, storage):
        assert collect(database, storage).deleted_artifacts == 1
    assert api.get("model.bin").data == b"model"


def test_an_object_that_somebody_shares_stays_when_another_is_deleted(api: FilesApi) -> None:
    rows = register_shared(api)
    with api.storage() as (database, storage):
        for left, row in zip((1, 1, 0), rows, strict=True):
            assert api.request("DELETE", f"/artifacts/{row.id}").status == 204
            collect(database, storage)
            assert len(api.server.objects) == left


def test_orphans_are_ours_and_old_and_needed_by_nobody(api: FilesApi) -> None:
    api.server.objects["runs/notes.txt"] = api.server.objects["other/x"] = stored(api)
    waiting = ids.object_key("runs", artifact(api.iteration, "not registered yet").id)
    api.server.objects[waiting] = stored(api)
    upload = f"/iterations/{api.iteration}/uploads/{UUID(int=5)}"
    api.request("PUT", upload, b'{"path": "under way"}')
    api.request("PATCH", upload, b"piece", {"upload-offset": "0"})
    kept = api.put("kept", b"kept")
    with api.storage() as (database, storage):
        for store in storage.stores:
            for size in (0, 10):
                writer = store.writer()
                writer.write(bytes(size))
                writer.finish()
        unfinished = store.writer()
        unfinished.write(b"never finished")
        now = datetime.now(UTC)
        assert collecting.collect(database, storage, now=now, before=now - LATER).orphans == 0
        assert collect(database, storage).orphans >= 6
        assert set(api.server.objects) == {"runs/notes.txt", "other/x", waiting}
        assert collect(database, storage, sidecars=True).orphans == 1
        assert set(api.server.objects) == {"runs/notes.txt", "other/x"}
        assert api.get("kept").data == b"kept"
        assert api.request("PATCH", upload, b"", {"upload-offset": "5", "upload-complete": "?1"}).status == 201
        assert api.get("under way").data == b"piece"
        assert kept.location.backend is Backend.INLINE
        unfinished.abort()


def stored(api: FilesApi) -> Any:
    """An object as the server keeps it."""
    with api.storage() as (_, storage):
        store = storage.named(Backend.S3)
        assert store is not None
        return api.server.objects.pop(store.writer().finish().location.key)


def test_uploads_whose_time_is_over_are_forgotten(api: FilesApi) -> None:
    upload = f"/iterations/{api.iteration}/uploads/{UUID(int=6)}"
    api.request("PUT", upload, b'{"path": "forgotten"}')
    api.request("PATCH", upload, b"piece", {"upload-offset": "0"})
    with api.storage() as (database, storage):
        moment = datetime.now(UTC) + timedelta(days=8)
        collected = collecting.collect(database, storage, now=moment, before=datetime.now(UTC))
        assert collected.expired_uploads == 1
        assert list(storage.new.list()) == []
    assert api.request("GET", upload).status == 404


def test_a_place_that_is_away_does_not_hold_up_the_others(api: FilesApi) -> None:
    with api.storage() as (database, storage):
        storage.new.writer().finish()
        stores = {store.name: store for store in storage.stores}
        stores[Backend.S3] = Away(stores[Backend.S3])  # type: ignore[assignment]
        collected = collect(database, Storage(stores, Backend.INLINE))
        assert (collected.orphans, len(collected.failures)) == (1, 1)


class Away:
    """A place that can't be listed."""

    def __init__(self, inner: Any) -> None:
        self.name = inner.name

    def list(self) -> Iterator[Any]:
        raise Unavailable("the object store: StoreUnreachable")


# --- exporting


def test_an_export_is_what_people_expect_and_goes_on(api: FilesApi, tmp_path: Path) -> None:
    fill(api)
    earlier, newest = api.put("versions.tar.gz", b"earlier"), api.put("versions.tar.gz", b"newest")
    folder = tmp_path / "export"
    with api.storage() as (database, storage):
        assert exporting.export(database, storage, folder).files == 5
        (top,) = (folder / next(folder.iterdir()).name).iterdir()
        assert {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()} == {
            **CONTENTS,
            "versions.tar.gz": b"newest",
        }
        assert (exporting.export(database, storage, folder).present, newest.size) == (5, 6)
        (top / "small.txt").write_text("other")
        exported = exporting.export(database, storage, folder, versions=True)
        assert (exported.files, exported.present) == (2, 4)
        assert (top / f"versions~{earlier.sha256[:12]}.tar.gz").read_bytes() == b"earlier"
        assert (top / "small.txt").read_bytes() == b"small"


def test_iterations_of_one_experiment_are_exported_into_one_folder(api: FilesApi, tmp_path: Path) -> None:
    api.put("a", b"a")
    with api.api.admin() as client:
        experiment = client.iteration(api.iteration).experiment_id
        other = client.put_iteration(uuid4(), IterationWrite(experiment_id=experiment))
        client.put_file(other.id, "a", io.BytesIO(b"a"), size=1)
    with api.storage() as (database, storage):
        assert exporting.export(database, storage, tmp_path / "export").files == 2
    (folder,) = (tmp_path / "export").iterdir()
    assert folder.name.endswith(f"-{str(experiment)[:8]}")
    assert len(list(folder.iterdir())) == 2


def test_failure_10_an_export_writes_nowhere_else(api: FilesApi, tmp_path: Path) -> None:
    folder, outside = tmp_path / "export", tmp_path / "outside"
    outside.mkdir()
    api.put("link/file", b"content")
    with api.storage() as (database, storage):
        exporting.export(database, storage, folder)
        (found,) = folder.rglob("file")
        found.unlink()
        found.parent.rmdir()
        found.parent.symlink_to(outside)
        assert len(exporting.export(database, storage, folder).failures) == 1
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "nul\0", "x" * 300, "end.", "end ", "a:b", 'q"', "100%", "%2E"])
def test_failure_10_any_name_becomes_a_harmless_one(name: str) -> None:
    made = safe(name)
    assert made not in ("", ".", "..")
    assert len(made.encode()) <= 255
    assert not set(made) & set('/\\\0:*?"<>|')
    row = artifact(UUID(int=1), f"../{name}", location=LOCATION)
    parts = parts_of(Placed(artifact=row, experiment=f"../{name}", experiment_id=UUID(int=2), number=0, since=MOMENT))
    assert ".." not in Path(*parts).parts


LOCATION = Location(backend=Backend.INLINE, endpoint="", region="", bucket="", key="k")


# --- the commands


def environment(api: FilesApi) -> dict[str, str]:
    settings = api.settings
    assert settings.store is not None
    own = {"DATABASE_URL": settings.database_url, "ARTIFACTS_DIR": settings.artifacts_dir}
    return {f"{PREFIX}{name}": value for name, value in own.items()} | dump(settings.store, STORE_PREFIX)


def test_the_commands_say_what_they_did_and_how_it_went(
    api: FilesApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = maintenance_command.main([*arguments, "--json"], environment(api))
        return code, json.loads(capsys.readouterr().out)

    rows = fill(api)
    assert run("migrate", "--to", "s3", "--dry-run")[1]["objects"] == 4
    code, answer = run("migrate", "--to", "s3")
    assert (code, answer["objects"], answer["failures"]) == (0, 4, [])
    assert run("verify")[0] == 0
    assert run("gc", "--grace-hours", "0")[1]["orphans"] == 0
    assert run("export", str(tmp_path / "export"))[1]["files"] == 4
    with api.api.admin() as admin:
        api.damage(admin.artifact(rows["large.bin"].id), 0)
    code, answer = run("verify")
    assert (code, [each["path"] for each in answer["corrupt"]]) == (1, ["large.bin"])
    assert run("verify", "--sizes-only")[0] == 0
    assert run("migrate", "--to", "filesystem")[0] == 1
    assert maintenance_command.main(["verify"], environment(api)) == 1
    assert "corrupt: 1\n" in capsys.readouterr().out
    without = {name: value for name, value in environment(api).items() if "ARTIFACTS" not in name}
    assert maintenance_command.main(["migrate", "--to", "filesystem"], without) == 2
    assert "filesystem is not configured" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        maintenance_command.main(["migrate", "--to", "nowhere"], environment(api))


@pytest.mark.parametrize("folder", ["", "missing"])
def test_a_mistyped_folder_is_no_empty_database_in_which_all_is_well(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(tmp_path.iterdir())
    assert maintenance_command.main(["verify", "--data", str(tmp_path / folder)], {}) == 3
    assert capsys.readouterr().err.startswith(f"there is no database {tmp_path}")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "1e9", "x"])
def test_a_time_of_grace_is_one(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        maintenance_command.main(["gc", f"--grace-hours={hours}"], {})
    assert "a number from 0 to" in capsys.readouterr().err


def test_the_pinnace_command_passes_them_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from pinnace.cli import main; main()", "migrate-artifacts", "--help"]
    path = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, "usage: pinnace migrate-artifacts" in done.stdout) == (0, True)


# --- the server, killed


@pytest.mark.parametrize("backend", PLACES)
def test_failure_8_a_server_that_is_killed_in_mid_upload_leaves_no_file_and_a_findable_orphan(
    api: FilesApi, tmp_path: Path, backend: Backend
) -> None:
    settings = api.settings
    assert settings.store is not None
    process = ApiProcess(
        tmp_path, settings.database_url, artifacts_backend=backend.value, artifacts_dir=settings.artifacts_dir
    )
    process.environment |= dump(settings.store, STORE_PREFIX)
    process.start()
    try:
        process.wait_until_ready()
        with socket.create_connection(("127.0.0.1", process.port)) as connection:
            head = f"PUT /api/v1{api.file('killed.bin')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n"
            connection.sendall(f"{head}content-length: {2**30}\r\n\r\n".encode())
            for _ in range(40):
                connection.sendall(bytes(2**20))
            with api.storage() as (_, storage):
                eventually(lambda: [held for s in storage.stores for held in s.list()] != [], what="some arrived")
            process.stop(signal.SIGKILL)
    finally:
        process.stop(signal.SIGKILL)
    assert api.get("killed.bin").status == 404
    assert list(api.root.glob("[0-9a-f][0-9a-f]/*")) == []
    with api.storage() as (database, storage):
        assert collect(database, storage).orphans == 1
        assert [held for each in storage.stores for held in each.list()] == []
    assert api.server.uploads == {}
