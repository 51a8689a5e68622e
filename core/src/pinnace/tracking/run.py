"""What a training says while it runs: the object behind `with pinnace.iteration(…) as it`."""

import logging
import math
import mimetypes
import os
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final, SupportsFloat, TypeVar
from uuid import UUID

import msgspec

from pinnace.records import DatasetRole, DatasetUseWrite, DatasetWrite, IterationState, metric_value_to_wire
from pinnace.tracking.content import content_sha256
from pinnace.tracking.errors import NotDelivered, NotOpen
from pinnace.tracking.events import Begin, End, Event, Linked, Metrics, Noted, Parameters, Surroundings, Tagged
from pinnace.tracking.recorders import Recorder
from pinnace.tracking.termination import Watch

_RecordT = TypeVar("_RecordT", bound=msgspec.Struct)

_MAX_TEXT: Final = 16_384
#: In a line of metrics these are no metrics.
_NO_KEYS: Final = frozenset({"step", "time", "timestamp"})
_CAPTURE_S: Final = 20.0

_log = logging.getLogger(__name__)


class Iteration:
    """One run. Safe to use from several threads at once; nothing but `flush` and `end` waits for the network.

    What can't be recorded for what it is raises ValueError or TypeError at once. All else that goes wrong, an API that
    is away or a full disk, never disturbs the training: it is logged, and said at the end.
    """

    def __init__(
        self,
        begin: Begin,
        recorder: Recorder,
        *,
        watch: Watch | None,
        patience: float,
        termination_patience: float,
        strict: bool,
    ) -> None:
        self.id: UUID = begin.id
        self.project: str = begin.project
        self.experiment: str = begin.experiment
        self._parameters = dict(begin.parameters)
        self._recorder = recorder
        self._watch = watch
        self._patience = patience
        self._termination_patience = termination_patience
        self._strict = strict
        self._pid = os.getpid()
        self._ended = False
        self._failed = False
        self._notes = begin.notes
        self._mutex = threading.RLock()
        #: Of each metric the highest step.
        self._steps: dict[str, int] = {}
        self._artifacts: dict[str, UUID] = {}
        self._capture: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<iteration {self.id} of {self.project}/{self.experiment}>"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What it was given: in a pod by the Experiment. A copy."""
        return dict(self._parameters)

    @property
    def folder(self) -> Path:
        """Where what was said is kept: in a pod the artifacts volume."""
        return self._recorder.folder

    @property
    def should_stop(self) -> bool:
        """Whether somebody has ended this iteration or thrown it away, or asked the process to terminate."""
        return self._recorder.is_closed or self.was_terminated

    @property
    def was_terminated(self) -> bool:
        """Whether the process was asked to terminate."""
        return self._watch is not None and self._watch.received

    # --- saying

    def log_metrics(self, values: Mapping[str, SupportsFloat], *, step: int | None = None) -> None:
        """Values of one step. Without a step it is the one after the highest of these metrics."""
        self._check_open()
        wired = {_key(key): metric_value_to_wire(_float(value)) for key, value in dict(values).items()}
        if not wired:
            return
        with self._mutex:
            if step is None:
                step = 1 + max(self._steps.get(key, -1) for key in wired)
            elif int(step) != step:
                raise ValueError(f"a step is a whole number, not {step!r}")
            event = checked(Metrics(at=_now(), step=int(step), values=wired))
            for key in wired:
                self._steps[key] = max(event.step, self._steps.get(key, event.step))
            self._record(event)

    def log_parameters(self, values: Mapping[str, Any]) -> None:
        """More parameters. One that is set can't change: raises ValueError."""
        self._check_open()
        given = plain(dict(values))
        with self._mutex:
            for name, value in given.items():
                if name in self._parameters and self._parameters[name] != value:
                    raise ValueError(f"parameter {name!r} is {self._parameters[name]!r} and can't change")
            fresh = {name: value for name, value in given.items() if name not in self._parameters}
            if fresh:
                self._record(Parameters(values=fresh))
                self._parameters.update(fresh)

    def set_tag(self, name: str, value: str | None = "") -> None:
        """None takes it away."""
        self.set_tags({name: value})

    def set_tags(self, tags: Mapping[str, str | None]) -> None:
        self._record(checked(Tagged(values=dict(tags))))

    def note(self, text: str) -> None:
        """Add a line to the notes."""
        self._check_open()
        with self._mutex:
            notes = f"{self._notes}\n{text}" if self._notes else text
            self._record(checked(Noted(text=notes)))
            self._notes = notes

    def log_artifact(
        self, path: str | os.PathLike[str], *, name: str = "", content_type: str = "", copy: bool = True
    ) -> None:
        """A file as it is now. `name` is its path among the artifacts, by default the file's own name.

        It is copied first, at the disk's speed. `copy=False` promises that it stays as it is until it is delivered.
        Raises OSError when it can't be read.
        """
        source = Path(path)
        name = _name(name or self._own_name(source))
        kind = content_type or mimetypes.guess_type(name)[0] or ""
        self._check_open()
        identity = self._recorder.file(source, name, kind, copy=copy)
        if identity is not None:
            self._artifacts[name] = identity

    def log_artifacts(self, folder: str | os.PathLike[str], *, name: str = "", copy: bool = True) -> None:
        """All files below a folder, as `name/…`."""
        root = Path(folder)
        if not root.is_dir():
            raise NotADirectoryError(f"{root} is no folder")
        for path in sorted(each for each in root.rglob("*") if each.is_file()):
            self.log_artifact(path, name=str(PurePosixPath(name) / path.relative_to(root).as_posix()), copy=copy)

    def link_dataset(
        self,
        name: str,
        *,
        digest: str = "",
        path: str | os.PathLike[str] | None = None,
        role: str = "consumed",
        context: str = "",
        artifact: str = "",
        **facts: Any,
    ) -> None:
        """Say that it `consumed` or `produced` a dataset, known by its content: by `digest`, or by that of `path`.

        `path` is a file, or a folder with files; `artifact` the name of the artifact that holds it. `facts`: source,
        rows, columns, bytes, features, description, tags.
        """
        if not digest:
            if path is None:
                raise ValueError("a dataset is known by its content: give its digest, or a path to read")
            digest = f"sha256:{content_sha256(Path(path))}"
            facts.setdefault("source", str(path))
        if artifact and artifact not in self._artifacts:
            raise ValueError(f"{artifact!r} was not logged as an artifact before, or with copy=False")
        dataset = checked(DatasetWrite(project=self.project, name=name, digest=digest, **facts))
        use = DatasetUseWrite(role=DatasetRole(role), artifact_id=self._artifacts.get(artifact), context=context)
        self._record(Linked(dataset=dataset, use=checked(use)))

    # --- its end

    def flush(self, timeout: float = 60.0) -> bool:
        """Make durable what was said, and wait until it is delivered, at most so many seconds; whether it is."""
        self._check_open()
        return self._recorder.flush(timeout)

    def end(self, state: str = "SUCCEEDED", error: str = "") -> None:
        """The last word; once it is said, nothing more is taken. Safe to call twice: the first counts.

        What could not be delivered is logged, with the folder where it lies; a strict iteration raises NotDelivered.
        """
        ending = IterationState(state)
        with self._mutex:
            if self._ended or os.getpid() != self._pid:
                return
            patience = self._termination_patience if self.was_terminated else self._patience
            if self._capture is not None:
                self._capture.join(min(_CAPTURE_S, patience))
            self._ended = True
        try:
            self._recorder.close(End(at=_now(), state=ending, error=error[-_MAX_TEXT:]), patience)
        except (NotDelivered, OSError) as failure:
            _log.error("iteration.not-delivered %s", failure)
            if self._strict and not self._failed:
                raise
        finally:
            self.unwatch()

    def end_with(self, error: BaseException | None) -> None:
        """The last word by what left the block: an exception, or None."""
        self._failed = error is not None  # and nothing of ours takes its place
        if self.was_terminated:
            self.end("KILLED", _text(error) if isinstance(error, Exception) else "SIGTERM")
        elif error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.end()
        elif isinstance(error, SystemExit):
            self.end("FAILED", f"exit {error.code}")
        elif isinstance(error, Exception):
            self.end("FAILED", _text(error))
        else:
            # Not of its own: a person's interrupt, a task that was cancelled.
            self.end("KILLED", type(error).__name__)

    @property
    def ended(self) -> bool:
        return self._ended

    def unwatch(self) -> None:
        """In the main thread: put SIGTERM's handler back; who was to die by it, dies here. Safe to call twice."""
        if self._ended and self._watch is not None:
            self._watch.end()

    def surround(self, capture: "threading.Thread") -> None:
        """`capture` finds out, beside the training, what is needed to do it again, and calls `record_surroundings`."""
        self._capture = capture
        capture.start()

    def record_surroundings(self, values: Mapping[str, Any]) -> None:
        if not self._ended:
            self._recorder.record(Surroundings(values=dict(values)))

    # --- how

    def _record(self, event: Event) -> None:
        self._check_open()
        self._recorder.record(event)

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise NotOpen(
                f"iteration {self.id} belongs to another process",
                hint="hand what is to be logged to the process that began it",
            )
        if self._ended:
            raise NotOpen(f"iteration {self.id} has ended", hint="what comes now belongs to a new iteration")

    def _own_name(self, path: Path) -> str:
        """Of a file on the artifacts volume its path there."""
        within = path.resolve()
        root = self.folder.resolve()
        return within.relative_to(root).as_posix() if within.is_relative_to(root) else path.name


def _now() -> datetime:
    return datetime.now(UTC)


def _key(key: str) -> str:
    if not isinstance(key, str) or key in _NO_KEYS or not key.isprintable():
        raise ValueError(f"{key!r} can't be the name of a metric")
    return key


def _float(value: SupportsFloat) -> float:
    try:
        return float(value)
    except OverflowError as error:  # no ValueError
        raise ValueError(f"a metric is a 64-bit float: {error}") from error


def _name(name: str) -> str:
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"an artifact is named relative to all of them, without empty parts, '.' and '..': {name!r}")
    return name


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it. Raises TypeError, ValueError."""
    try:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(values, enc_hook=_number), type=dict[str, Any])
        if not _is_finite(msgspec.to_builtins(values, enc_hook=_number)):
            raise ValueError("JSON can't hold NaN and infinities as parameters: give them as texts")
    except (msgspec.MsgspecError, TypeError) as error:
        raise TypeError(f"JSON can't hold these parameters: {error}") from error
    return plain


def _is_finite(value: Any) -> bool:
    """Without numbers that msgspec would make null."""
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))
        case list() | tuple():
            return all(map(_is_finite, value))
    return True


def _number(value: Any) -> Any:
    """Scalars of numpy and the like."""
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is no JSON: {value!r}")


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def checked(record: _RecordT) -> _RecordT:
    """`record`, if the API would take it as it is. Raises ValueError."""
    return msgspec.convert(msgspec.to_builtins(record), type(record))
