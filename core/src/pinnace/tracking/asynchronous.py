"""The same verbs for `async with pinnace.iteration(…) as it`: what touches files or waits does so in a thread."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, SupportsFloat, TypeVar
from uuid import UUID

from pinnace.tracking.run import Iteration

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call it in a thread, and wait for it even when the task is cancelled meanwhile."""
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise


class AsyncIteration:
    """`sync` has the verbs that don't await, of the same iteration."""

    def __init__(self, sync: Iteration) -> None:
        self.sync = sync

    @property
    def id(self) -> UUID:
        return self.sync.id

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.sync.parameters

    @property
    def folder(self) -> Path:
        return self.sync.folder

    @property
    def should_stop(self) -> bool:
        return self.sync.should_stop

    async def log_metrics(self, values: Mapping[str, SupportsFloat], *, step: int | None = None) -> None:
        self.sync.log_metrics(values, step=step)

    async def log_parameters(self, values: Mapping[str, Any]) -> None:
        self.sync.log_parameters(values)

    async def set_tag(self, name: str, value: str | None = "") -> None:
        self.sync.set_tag(name, value)

    async def set_tags(self, tags: Mapping[str, str | None]) -> None:
        self.sync.set_tags(tags)

    async def note(self, text: str) -> None:
        self.sync.note(text)

    async def log_artifact(
        self, path: str | os.PathLike[str], *, name: str = "", content_type: str = "", copy: bool = True
    ) -> None:
        await in_thread(self.sync.log_artifact, path, name=name, content_type=content_type, copy=copy)

    async def log_artifacts(self, folder: str | os.PathLike[str], *, name: str = "", copy: bool = True) -> None:
        await in_thread(self.sync.log_artifacts, folder, name=name, copy=copy)

    async def link_dataset(self, name: str, **what: Any) -> None:
        """As Iteration.link_dataset."""
        await in_thread(self.sync.link_dataset, name, **what)

    async def flush(self, timeout: float = 60.0) -> bool:  # noqa: ASYNC109 - it is the thread's
        return await in_thread(self.sync.flush, timeout)

    async def end(self, state: str = "SUCCEEDED", error: str = "") -> None:
        await in_thread(self.sync.end, state, error)
        self.sync.unwatch()
