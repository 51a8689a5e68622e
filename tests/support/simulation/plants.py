"""Bugs planted on purpose, each as it would be written by mistake: the simulation is worth what it finds of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import pytest

from pinnace.digests import ContentDigest
from pinnace.records import FileState, MetricPoint, WriterEnd
from pinnace.stores.store import Evidence
from pinnace_sidecar import copying, intake, originals, shipper, store_calls
from pinnace_sidecar.adoption import Adoption
from pinnace_sidecar.journal import FileTable, MetricTable, Tail
from pinnace_sidecar.journal.database import Database
from pinnace_sidecar.lost_copies import LostCopies
from pinnace_sidecar.sidecar import Sidecar
from pinnace_sidecar.store_calls import StoreCalls
from pinnace_sidecar.transfer import Job
from pinnace_sidecar.verification import Compared
from support.simulation.world import Outage, Outcome, World

#: Changes a world, or by the patch the code that runs in it.
Planting = Callable[[World, pytest.MonkeyPatch], None]


#: So many seeds are tried for each.
SEARCHED: Final = 400


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug in words, how it is planted, and what else happens in its worlds so that it does not take thousands of
    them. `scene` sets some of the world's attributes, by their path.
    """

    bug: str
    into: Planting
    scene: Mapping[str, object] = field(default_factory=dict)

    def world(self, seed: int) -> World:
        """Without the bug."""
        world = World(seed)
        for path, value in self.scene.items():
            owner, _, name = path.rpartition(".")
            part = attrgetter(owner)(world) if owner else world
            assert hasattr(part, name), path
            setattr(part, name, value)
        return world


def find(plant: Plant, seeds: range) -> Outcome | None:
    """The first of these worlds in which the bug breaks a promise."""
    for seed in seeds:
        with pytest.MonkeyPatch.context() as patch:
            world = plant.world(seed)
            plant.into(world, patch)
            outcome = world.run()
        if outcome.violations:
            return outcome
    return None


def _copy_not_synced(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.disk, "sync", lambda file: world.machine.seam("disk no sync"))


def _folder_not_synced(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.disk, "sync_folder", lambda folder: world.machine.seam("disk no sync of folder"))


def _journal_not_synced(world: World, patch: pytest.MonkeyPatch) -> None:
    prepared = Database.__init__

    def without_sync(database: Database, connection: Any, lock: Any, **rest: Any) -> None:
        prepared(database, connection, lock, **rest)
        connection.execute("PRAGMA synchronous = OFF")

    patch.setattr(Database, "__init__", without_sync)


def _not_verified(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StoreCalls, "_verify", lambda calls, job: Compared("", Evidence.CRC32C))


def _row_before_upload(world: World, patch: pytest.MonkeyPatch) -> None:
    right = FileTable.in_state

    def too_early(table: FileTable, *states: FileState, after: int = 0, limit: int) -> Any:
        wrong = (*states, FileState.UPLOADED, FileState.BUFFERED) if FileState.VERIFIED in states else states
        return right(table, *wrong, after=after, limit=limit)

    patch.setattr(FileTable, "in_state", too_early)


def _no_look(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shipper, "_AMBIGUOUS", frozenset())


def _no_look_after_restart(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FileTable, "last_id", lambda table: 0)


def _copy_removed_after_sending(world: World, patch: pytest.MonkeyPatch) -> None:
    right = StoreCalls._put

    def put(calls: StoreCalls, job: Job, answer: Any) -> Any:
        result = right(calls, job, answer)
        calls._buffer.remove(job.file.name)
        return result

    patch.setattr(StoreCalls, "_put", put)


def _copies_swept_too_early(world: World, patch: pytest.MonkeyPatch) -> None:
    right = FileTable.in_state

    def buffered_names(table: FileTable) -> set[str]:
        return {file.name for file in right(table, FileState.VERIFIED, limit=1000)}

    patch.setattr(FileTable, "buffered_names", buffered_names)


def _final_too_early(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sidecar, "_copies_left", lambda sidecar: False)


def _not_compared_after_copying(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(originals, "compare", lambda found, order: None)


def _named_before_it_is_whole(world: World, patch: pytest.MonkeyPatch) -> None:
    """The digest is that of the bytes read, the copy has others: written short."""

    def write_once(target: Any, data: bytes) -> None:
        target.write(data)

    patch.setattr(copying, "_write", write_once)


def _offset_before_points(world: World, patch: pytest.MonkeyPatch) -> None:
    right = MetricTable.advance

    def advance(table: MetricTable, tail: Tail, points: tuple[MetricPoint, ...]) -> None:
        right(table, tail, ())
        right(table, tail, points)

    patch.setattr(MetricTable, "advance", advance)


def _points_forgotten_before_sent(world: World, patch: pytest.MonkeyPatch) -> None:
    right = MetricTable.outbox

    def outbox(table: MetricTable, max_points: int) -> Any:
        last, points = right(table, max_points)
        if last:
            table.sent(last)
        return last, points

    patch.setattr(MetricTable, "outbox", outbox)


def _lost_copy_not_made_again(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intake.Intake, "look_again", lambda intake: None)


def _unreadable_means_lost(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store_calls, "CopyUnreadable", store_calls.CopyDamaged)


def _uploads_not_listed(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.store, "list_multiparts", lambda prefix: iter(()))


def _abort_not_repeated(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store_calls.Failed, "may_pass", False)


def _late_ending(world: World, patch: pytest.MonkeyPatch) -> None:
    right = Sidecar.begin_drain
    patch.setattr(Sidecar, "begin_drain", lambda sidecar, since=None: right(sidecar))


def _slow_volume_puts_off(world: World, patch: pytest.MonkeyPatch) -> None:
    def due_in(self: Any) -> float:
        pause = max(0.05, 1000 * (self._last_ended - self._last_began), self._wanted_pause())
        return float(self._last_ended + pause - self._clock.monotonic()) if self._looks else 0.0

    patch.setattr(intake.Intake, "due_in", due_in)


def _room_not_given_back(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(copying.Copying, "_remove_unaccounted", lambda copying, files: None)


def _quarantined_for_ever(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FileTable, "_renew", lambda table, artifact: None)


def _torn_before_manifests_are_read(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intake, "is_manifest", lambda path: False)


def _readable_manifests_stay_torn(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FileTable, "clear", lambda table, file: None)


def _difference_ignored(world: World, patch: pytest.MonkeyPatch) -> None:
    """A look takes whatever lies under the key for the object."""
    patch.setattr("pinnace.stores.store.ObjectInfo.difference", _no_difference)


def _no_difference(info: Any, digest: ContentDigest, etag: str = "") -> str:
    return ""


def _unknown_copies_not_counted(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Adoption, "unknown", lambda adoption: 0)


def _impatient_with_disks(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LostCopies, "_is_in_the_way", lambda lost_copies, transfer, **_: True)


_GREAT_HASTE: Final = {"machine.interleaving": 0.3}

PLANTS: Final = {
    "copy-not-synced": Plant("a copy is renamed without being synced", _copy_not_synced),
    "folder-not-synced": Plant("a copy's name is not synced", _folder_not_synced),
    "journal-not-synced": Plant(
        "the journal's commits are not synced", _journal_not_synced, {"ends_left": 5, "training.synced_lines": True}
    ),
    "not-verified": Plant("what the store holds is not compared", _not_verified, {"store.faults.lose": 0.5}),
    "row-before-upload": Plant("rows are registered before the upload", _row_before_upload),
    "no-look": Plant("after an answer that was lost it is sent again without looking", _no_look),
    "no-look-after-restart": Plant("after a restart it is sent again without looking", _no_look_after_restart),
    "copy-removed-after-sending": Plant(
        "a copy is removed before the row is there", _copy_removed_after_sending, {"store.faults.lose": 0.5}
    ),
    "copies-swept-too-early": Plant("a restart sweeps copies that are still needed", _copies_swept_too_early),
    "final-too-early": Plant("the final report does not wait for the journal's files", _final_too_early),
    "not-compared-after-copying": Plant(
        "a file that changed while being copied counts", _not_compared_after_copying, {"training.meddling": 0.3}
    ),
    "short-write": Plant("a short write is taken for a whole one", _named_before_it_is_whole),
    "offset-before-points": Plant("a metric file's offset is durable before its points", _offset_before_points),
    "points-forgotten-before-sent": Plant(
        "points leave the outbox before the API has them", _points_forgotten_before_sent
    ),
    "lost-copy-not-made-again": Plant(
        "a lost copy is forgotten, and nobody looks again", _lost_copy_not_made_again, {"disk.rot_rate": 0.5}
    ),
    "unreadable-means-lost": Plant(
        "one failed read of a copy gives it up", _unreadable_means_lost, {"disk.fault_rate": 0.1}
    ),
    "uploads-not-listed": Plant("an upload whose id was lost is begun anew, and stays", _uploads_not_listed),
    "abort-not-repeated": Plant(
        "an abort that failed is taken for done",
        _abort_not_repeated,
        {"disk.rot_rate": 0.5, "store.faults.before": 0.3, "store.faults.after": 0.1},
    ),
    "late-ending": Plant(
        "writers end when the loop notices it",
        _late_ending,
        _GREAT_HASTE,
    ),
    "slow-volume-puts-off": Plant(
        "a scan that took long puts off the next for long",
        _slow_volume_puts_off,
        _GREAT_HASTE,
    ),
    "room-not-given-back": Plant(
        "a copy that failed late keeps its room", _room_not_given_back, {"disk.fault_rate": 0.1}
    ),
    "quarantined-for-ever": Plant(
        "quarantined content stays so, though it is there again",
        _quarantined_for_ever,
        {"disk.rot_rate": 0.7, "store.faults.before": 0.4},
    ),
    "torn-before-manifests-are-read": Plant(
        "fresh files of a set are torn, although its manifest lies beside them",
        _torn_before_manifests_are_read,
        {"verdict": WriterEnd.FAILED},
    ),
    "readable-manifests-stay-torn": Plant(
        "a manifest that nobody saw renamed is torn, although it can be read",
        _readable_manifests_stay_torn,
        {"verdict": WriterEnd.FAILED},
    ),
    "difference-ignored": Plant(
        "an object with other bytes is taken for ours", _difference_ignored, {"store.faults.lose": 0.5}
    ),
    "impatient-with-disks": Plant(
        "a copy that can't be read a few times is given up",
        _impatient_with_disks,
        {"outage": Outage(10.0, 60.0), "store.faults.before": 0.9},
    ),
    "unknown-copies-not-counted": Plant(
        "copies that don't say what they are count for nothing in the last words",
        _unknown_copies_not_counted,
        {"disk.rot_rate": 0.5, "journal_is_damaged": True, "store.truncates": False},
    ),
}
