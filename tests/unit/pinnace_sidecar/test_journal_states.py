"""The lifecycle and the journal together, as a machine that hypothesis drives: whatever happens in whatever order, each
content is in one state, goes back only for a reason, and a restart from any prefix of the log finds a state that was.
"""

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid5

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pinnace.digests import Digester, Digests
from pinnace.records import FileState, Location, RecordedContent
from pinnace.stores.store import Part
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal import Copy, Journal
from pinnace_sidecar.lifecycle import DUTIES, Event, IllegalStep, step
from support.examples import examples

_RANKS = {
    FileState.BUFFERED: 2,
    FileState.UPLOADED: 3,
    FileState.VERIFIED: 4,
    FileState.RECORDED: 5,
    FileState.SUSPECT: 5,
    FileState.QUARANTINED: 6,
}
_ITERATION = UUID(int=1)
_ALL_PATHS = ["a", "b", "sub/c"]
_PATHS = st.sampled_from(_ALL_PATHS)
_CONTENTS = st.sampled_from([b"", b"one", b"two", b"three"])
_LATER_EVENTS = st.sampled_from([event for event in Event if event not in (Event.COPIED, Event.RENEWED)])
#: What the journal would answer: state by artifact, and what each path shows.
Known = tuple[dict[UUID, FileState], dict[str, Fingerprint]]


class Journaling(RuleBasedStateMachine):
    """`states` is what should be remembered: the state of each content that was copied and not lost since."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.path = Path(self.folder.name) / "journal.db"
        self.journal = Journal.open(self.path)
        self.states: dict[UUID, FileState] = {}
        self.suspects: dict[UUID, bool] = {}
        self.paths: dict[UUID, str] = {}
        self.shown: dict[str, tuple[UUID, Fingerprint]] = {}
        self.number = 0
        #: What was true after each commit since the log was begun.
        self.past: list[Known] = []

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        self._remember()

    # --- what happens

    @rule(path=_PATHS, content=_CONTENTS, suspect=st.booleans())
    def copied(self, path: str, content: bytes, suspect: bool) -> None:
        self.number += 1
        digester = Digester(2)
        digester.update(content)
        artifact = uuid5(_ITERATION, f"{hashlib.sha256(content).hexdigest()}:{path}")
        fingerprint = Fingerprint(self.number, len(content), self.number, self.number)
        before = self.states.get(artifact)
        file = self.journal.files.add_copy(
            Copy(
                path=path,
                fingerprint=fingerprint,
                suspect=suspect,
                settled_at=self.number,
                name=str(artifact),
                digests=Digests(content=digester.finish()),
            )
        )
        if before in (None, FileState.QUARANTINED):
            assert (file.state, file.suspect) == (FileState.BUFFERED, suspect)
        elif before is FileState.SUSPECT and not suspect:
            assert file.state is FileState.VERIFIED
        else:
            assert file.state is before
        self.states[artifact], self.suspects[artifact], self.paths[artifact] = file.state, file.suspect, path
        self.shown[path] = artifact, fingerprint
        self._remember()

    @precondition(lambda self: self.states)
    @rule(data=st.data(), event=_LATER_EVENTS)
    def happened(self, data: st.DataObject, event: Event) -> None:
        artifact = data.draw(st.sampled_from(sorted(self.states)))
        before, suspect = self.states[artifact], self.suspects[artifact]
        (file_id,) = (file.id for file in self._files() if file.artifact_id == artifact)
        try:
            after = step(before, event, suspect=suspect)
        except IllegalStep:
            with pytest.raises(IllegalStep):
                self.journal.files.apply(file_id, event)
            return
        self.journal.files.apply(file_id, event, etag="etag")
        if after is None:
            assert event is Event.WITHDRAWN
            del self.states[artifact]
        else:
            assert _RANKS[after] > _RANKS[before] or event in (
                Event.REFUTED,
                Event.CLEARED,
                Event.UNSHARED,
                Event.UNREAD,
            )
            self.states[artifact] = after
        if (
            event in (Event.UNREAD, Event.LOST, Event.WITHDRAWN)
            and self.shown.get(self.paths[artifact], (None,))[0] == artifact
        ):
            del self.shown[self.paths[artifact]]
        self._remember()

    @precondition(lambda self: FileState.BUFFERED in self.states.values())
    @rule(data=st.data(), upload=st.sampled_from(["", "one", "two"]))
    def uploading(self, data: st.DataObject, upload: str) -> None:
        buffered = [file for file in self._files() if file.state is FileState.BUFFERED]
        file = data.draw(st.sampled_from(buffered))
        self.journal.files.set_upload(file.id, upload)
        if upload:
            self.journal.files.add_parts(file.id, [Part(number=1, size=2, etag=upload)])
        assert [part.etag for part in self.journal.files.parts(file.id)] == ([upload] if upload else [])
        self.past += self.past[-1:] * (1 + bool(upload))

    @precondition(lambda self: FileState.BUFFERED in self.states.values())
    @rule(data=st.data())
    def shared(self, data: st.DataObject) -> None:
        """As the shipper does it: all of it at once."""
        file = data.draw(st.sampled_from([file for file in self._files() if file.state is FileState.BUFFERED]))
        recorded = _recorded(file.digest.sha256)
        with self.journal.transaction():
            self.journal.files.share(file.id, recorded)
            self.journal.files.apply(file.id, Event.STORED, etag=recorded.etag)
            self.states[file.artifact_id] = self.journal.files.apply(file.id, Event.CONFIRMED)
        self._remember()

    @rule()
    def restarted(self) -> None:
        self.journal.close()
        self.journal = Journal.open(self.path)
        # Closing took the log into the database.
        self.past = self.past[-1:]

    @rule(share=st.floats(0, 1))
    def cut_anywhere(self, share: float) -> None:
        """What a power cut leaves of the log is a state that was, and not an older one than a shorter log shows."""
        log = self.path.with_name("journal.db-wal").read_bytes()
        with TemporaryDirectory(dir=Path(self.folder.name).parent) as folder:
            copy = Path(folder) / "journal.db"
            shutil.copy(self.path, copy)
            copy.with_name("journal.db-wal").write_bytes(log[: int(share * len(log))])
            journal = Journal.open(copy)
            try:
                found = _known(journal)
            finally:
                journal.close()
        if found not in self.past:
            assert found == ({}, {})
        if share == 1.0:
            assert found == self.past[-1]

    # --- what always holds

    @invariant()
    def each_content_is_in_one_state(self) -> None:
        files = self._files()
        assert {file.artifact_id: file.state for file in files} == self.states
        assert len(files) == len(self.states)
        assert sum(self.journal.files.totals().states.values()) == len(self.states)

    @invariant()
    def a_path_shows_its_latest_content(self) -> None:
        assert _known(self.journal)[1] == {path: fingerprint for path, (_, fingerprint) in self.shown.items()}

    @invariant()
    def what_is_on_its_way_has_a_copy_and_a_duty(self) -> None:
        needed = {str(file.artifact_id) for file in self._files() if file.state in DUTIES}
        assert needed <= self.journal.files.buffered_names()
        recorded = {artifact for artifact, state in self.states.items() if _RANKS[state] == 5}
        assert list(self.journal.files.recorded_artifacts()) == sorted(map(str, recorded))

    @invariant()
    def parts_are_of_files_that_are_being_sent(self) -> None:
        for file in self._files():
            if file.state is not FileState.BUFFERED:
                assert (file.upload_id, self.journal.files.parts(file.id)) == ("", [])

    @invariant()
    def only_what_is_with_the_store_shares_an_object(self) -> None:
        for file in self._files():
            if file.shared is not None:
                assert file.state is not FileState.BUFFERED or file.etag
                assert file.shared == _recorded(file.digest.sha256)

    def _files(self) -> list:  # type: ignore[type-arg]
        return self.journal.files.in_state(*FileState, limit=1000)

    def _remember(self) -> None:
        self.past.append((dict(self.states), {path: fingerprint for path, (_, fingerprint) in self.shown.items()}))


def _recorded(sha256: str) -> RecordedContent:
    location = Location(endpoint="", region="r", bucket="bucket", key=f"key-of-{sha256}")
    return RecordedContent(size=1, sha256=sha256, crc32c="AAAAAA==", location=location, etag="theirs")


def _known(journal: Journal) -> Known:
    states = {file.artifact_id: file.state for file in journal.files.in_state(*FileState, limit=1000)}
    return states, journal.files.known(_ALL_PATHS)


TestJournaling = Journaling.TestCase
TestJournaling.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
