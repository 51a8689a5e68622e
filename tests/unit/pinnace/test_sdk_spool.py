"""What recording promises where no API is asked: cheap to import, and never in a training's way."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pinnace
from pinnace.tracking import spool as spools
from pinnace.tracking.events import File, Metrics
from pinnace.tracking.spool import Spool
from support.recording import as_user


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_user(monkeypatch, tmp_path, None)
    monkeypatch.setenv("PINNACE_OFFLINE", "true")


def events(folder: Path) -> list[object]:
    with_lock = Spool.open(folder)
    try:
        return [entry.event for entry in with_lock.entries(0)]
    finally:
        with_lock.close()


def test_importing_pinnace_imports_nothing_that_is_not_in_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import pinnace; from pinnace import artifacts; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"pinnace"}


def test_every_name_that_is_promised_is_there() -> None:
    for name in pinnace.__all__:
        assert getattr(pinnace, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pinnace.nothing  # noqa: B018


def test_a_disk_that_is_full_for_a_while_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pinnace.iteration(strict=True) as it:
        it.log_metrics({"x": 1}, step=1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            it.log_metrics({"x": 2}, step=2)
        it.log_metrics({"x": 3}, step=3)
    assert [event.step for event in events(it.folder) if isinstance(event, Metrics)] == [1, 2, 3]


def test_what_has_room_nowhere_is_counted_and_said_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    it = pinnace.iteration(strict=True).start()
    monkeypatch.setattr(spools, "MAX_PENDING_BYTES", 200)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        for step in range(10):
            it.log_metrics({"x": 1}, step=step)
    with pytest.raises(pinnace.NotDelivered, match=r"\d events had room nowhere"):
        it.end()


def test_half_a_write_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def halves(file: int, data: bytes, offset: int) -> int:
        if len(data) > 10:
            real(file, data[:10], offset)
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return real(file, data, offset)

    with pinnace.iteration(strict=True) as it:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", halves)
            it.log_metrics({"x": 1}, step=1)
        it.log_metrics({"x": 2}, step=2)
    assert [event.step for event in events(it.folder) if isinstance(event, Metrics)] == [1, 2]


def test_a_file_that_has_no_room_is_delivered_from_where_it_lies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "model").write_text("weights")
    with pinnace.iteration() as it, monkeypatch.context() as patch:
        patch.setattr(Spool, "keep", full)
        it.log_artifact(tmp_path / "model")
    (file,) = [event for event in events(it.folder) if isinstance(event, File)]
    assert (file.kept, file.source, file.size) == ("", str(tmp_path / "model"), 7)
    assert "it must stay as it is" in caplog.text


def test_other_people_read_nothing_of_a_spool() -> None:
    with pinnace.iteration() as it:
        pass
    assert it.folder.stat().st_mode & 0o077 == 0


def test_metrics_of_many_threads_are_whole_lines() -> None:
    with pinnace.iteration() as it, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda step: it.log_metrics({"x": step}, step=step), range(500)))
    steps = [event.step for event in events(it.folder) if isinstance(event, Metrics)]
    assert sorted(steps) == list(range(500))
