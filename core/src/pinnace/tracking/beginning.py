"""`pinnace.iteration(…)`: a block, a decorator, or `start()` and `end()` in a notebook; with `async` as well.

Where it records is found out at the start: in a pod on the artifacts volume, offline in a spool, else at the API.
"""

import atexit
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast
from uuid import UUID, uuid4

from pinnace.client import Client, credentials
from pinnace.client.settings import client_settings
from pinnace.tracking.asynchronous import AsyncIteration, in_thread
from pinnace.tracking.errors import NoIteration, TrackingError
from pinnace.tracking.events import Begin
from pinnace.tracking.recorders import OnlineRecorder, Recorder, SpoolRecorder
from pinnace.tracking.run import Iteration, checked, plain
from pinnace.tracking.settings import TrackingSettings, spool_folder, tracking_settings
from pinnace.tracking.spool import Spool
from pinnace.tracking.surroundings import capturing
from pinnace.tracking.termination import Watch
from pinnace.tracking.volume import VolumeRecorder

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: For each wait on the network at the start.
_TIMEOUT_S: Final = 10.0
#: At the end for what is not delivered yet; less when the process is asked to terminate.
PATIENCE_S: Final = 60.0
_TERMINATION_PATIENCE_S: Final = 8.0

#: Those that have not ended when the process does.
_unended: list[Iteration] = []

_current: ContextVar[Iteration | None] = ContextVar("pinnace_iteration", default=None)


class Beginning:
    """An iteration that is to be begun: each `with`, each call of what it decorates and each `start` begins one.

    Of blocks of the same object one lies within another, or comes after it; a decorated function may run many times at
    once.
    """

    def __init__(self, declared: dict[str, Any]) -> None:
        self._declared = declared
        self._open: list[tuple[Iteration, Token[Iteration | None]]] = []

    def start(self) -> Iteration:
        """Begin it; `end()` ends it, else the end of the process.

        Raises ApiError where the API refuses it, SpoolError, SettingsError, NoIteration, ValueError.
        """
        return self._begin(_watching())

    def __enter__(self) -> Iteration:
        started = self.start()
        self._open.append((started, _current.set(started)))
        return started

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        started, token = self._open.pop()
        _current.reset(token)
        started.end_with(error)

    async def __aenter__(self) -> AsyncIteration:
        # Handlers of signals can be set in the main thread only.
        watch = _watching()
        try:
            started = await in_thread(self._begin, watch)
        except BaseException:
            watch.end()
            raise
        self._open.append((started, _current.set(started)))
        return AsyncIteration(started)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        started, token = self._open.pop()
        _current.reset(token)
        try:
            await in_thread(started.end_with, error)
        finally:
            started.unwatch()

    def __call__(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """Decorate: each call is an iteration, which `pinnace.current()` returns in it."""
        signature = inspect.signature(function)

        def fresh(*args: Any, **kwargs: Any) -> "Beginning":
            if not self._declared["arguments"]:
                return Beginning(self._declared)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            parameters = {**_recordable(bound.arguments), **(self._declared["parameters"] or {})}
            return Beginning({**self._declared, "parameters": parameters})

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def called_async(*args: _P.args, **kwargs: _P.kwargs) -> Any:
                async with fresh(*args, **kwargs):
                    return await function(*args, **kwargs)

            return cast(Callable[_P, _T], called_async)

        @functools.wraps(function)
        def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with fresh(*args, **kwargs):
                return function(*args, **kwargs)

        return called

    def _begin(self, watch: Watch) -> Iteration:
        try:
            started = _begun(self._declared, watch)
        except BaseException:
            watch.end()
            raise
        _unended[:] = [*(each for each in _unended if not each.ended), started]
        return started


def iteration(
    *,
    project: str = "",
    experiment: str = "",
    parameters: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    name: str = "",
    notes: str = "",
    parent: Iteration | AsyncIteration | UUID | None = None,
    offline: bool | None = None,
    folder: str = "",
    capture: bool = True,
    arguments: bool = False,
    patience: float = PATIENCE_S,
    strict: bool = False,
) -> Beginning:
    """One run of a training, recorded: `with pinnace.iteration(project="iris", experiment="trees") as it:`.

    In a pod of an Experiment it is the pod's own, and project, experiment, name and parent are the Experiment's.
    Elsewhere `project` and `experiment` default to PINNACE_PROJECT and PINNACE_EXPERIMENT; both are created when they
    don't exist.

    `parent`: what it is a part of. `offline`: nothing goes to the API; `folder` is where it is kept then, for
    `pinnace sync` (default: PINNACE_SPOOL_DIR). `capture`: whether commit, packages, command and the like are recorded.
    `arguments`: as a decorator, record what the function is called with as parameters. `patience`: seconds to deliver
    what is left at the end. `strict`: the end raises NotDelivered when not everything could be delivered.
    """
    return Beginning(locals())


def current() -> Iteration:
    """That of the block or decorated function that we are in. Raises NoIteration."""
    found = _current.get()
    if found is None:
        raise NoIteration("no iteration is open here", hint="hand it to threads and other processes yourself")
    return found


def _watching() -> Watch:
    """Not in a pod: whoever stops one tells the operator, and its handlers are its own."""
    watch = Watch()
    if not tracking_settings().in_pod:
        watch.begin()
    return watch


def _begun(declared: Mapping[str, Any], watch: Watch) -> Iteration:
    settings = tracking_settings()
    if settings.in_pod:
        return _in_pod(settings, declared)
    begin = _begin_of(settings, declared)
    parent = Path(declared["folder"]) if declared["folder"] else spool_folder(settings)
    offline = settings.offline if declared["offline"] is None else declared["offline"]
    return _started(begin, _recorder(begin, parent, offline=offline), watch, declared)


def _in_pod(settings: TrackingSettings, declared: Mapping[str, Any]) -> Iteration:
    assert settings.iteration_id is not None
    begin = Begin(
        at=datetime.now(UTC),
        id=settings.iteration_id,
        project=settings.project,
        experiment=settings.experiment,
        parameters=settings.parameters,
    )
    recorder = VolumeRecorder(settings.iteration_id, Path(settings.artifacts_dir))
    started = _started(begin, recorder, None, declared)
    # What the Experiment doesn't say, and the script does.
    started.log_parameters({k: v for k, v in (declared["parameters"] or {}).items() if k not in begin.parameters})
    if declared["tags"]:
        started.set_tags(declared["tags"])
    if declared["notes"]:
        started.note(declared["notes"])
    return started


def _begin_of(settings: TrackingSettings, declared: Mapping[str, Any]) -> Begin:
    project, experiment = declared["project"] or settings.project, declared["experiment"] or settings.experiment
    if not project or not experiment:
        raise NoIteration(
            "nothing says which experiment the iteration belongs to",
            hint="give project and experiment, or set PINNACE_PROJECT and PINNACE_EXPERIMENT",
        )
    parent = declared["parent"]
    return checked(
        Begin(
            at=datetime.now(UTC),
            id=uuid4(),
            project=project,
            experiment=experiment,
            parameters=plain(dict(declared["parameters"] or {})),
            tags=dict(declared["tags"] or {}),
            name=declared["name"],
            notes=declared["notes"],
            parent_id=parent.id if isinstance(parent, Iteration | AsyncIteration) else parent,
        )
    )


def _recorder(begin: Begin, parent: Path, *, offline: bool) -> Recorder:
    if offline:
        return SpoolRecorder(Spool.create(parent, begin))
    settings = credentials.with_login(client_settings(api_url=None, token_file=None))
    online = OnlineRecorder(Spool.create(parent, begin), Client(settings, timeout=_TIMEOUT_S))
    online.start()
    return online


def _started(begin: Begin, recorder: Recorder, watch: Watch | None, declared: Mapping[str, Any]) -> Iteration:
    started = Iteration(
        begin,
        recorder,
        watch=watch,
        patience=declared["patience"],
        termination_patience=min(declared["patience"], _TERMINATION_PATIENCE_S),
        strict=declared["strict"],
    )
    if declared["capture"]:
        started.surround(capturing(started.record_surroundings))
    return started


def _recordable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those that JSON can hold."""
    kept: dict[str, Any] = {}
    for name, value in arguments.items():
        try:
            kept |= plain({name: value})
        except (TypeError, ValueError):
            continue
    return kept


@atexit.register
def _at_exit() -> None:
    """Scripts that never said `end`: by what ended them."""
    for started in _unended:
        if started.ended:
            continue
        if hasattr(sys, "ps1"):
            started.end("KILLED", "the session ended")
            continue
        with suppress(TrackingError):  # it was logged
            started.end_with(getattr(sys, "last_value", None))
