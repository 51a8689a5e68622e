"""Runs that are recorded by processes of their own, and what the API has of them afterwards."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pinnace.tracking import surroundings
from support.api_server import ADMIN_TOKEN, ApiServer
from support.environment import without_settings
from support.eventually import eventually


def as_user(monkeypatch: pytest.MonkeyPatch, folder: Path, api: ApiServer | None) -> None:
    """The settings of somebody who records runs; without an API one that nobody answers at."""
    without_settings(monkeypatch)
    monkeypatch.setenv("PINNACE_API_URL", api.url if api else "http://127.0.0.1:9")
    monkeypatch.setenv("PINNACE_API_TOKEN", ADMIN_TOKEN)
    monkeypatch.setenv("PINNACE_SPOOL_DIR", str(folder / "spool"))
    monkeypatch.setenv("PINNACE_PROJECT", "p")
    monkeypatch.setenv("PINNACE_EXPERIMENT", f"e-{uuid4()}")
    # What takes a second is tested where it is meant.
    monkeypatch.setattr(surroundings, "describe", lambda *_: {})


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`pinnace …` as a process of its own. Fails unless it exits with 0."""
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, "-m", "pinnace", *arguments],
        env={**os.environ, **paths},
        capture_output=True,
        check=True,
        text=True,
    )


class Training:
    """A script in a process of its own, with this process's environment. It says where it is by `say(word)`, and stays
    for a minute by `linger()`.
    """

    def __init__(self, folder: Path, script: str, environment: Mapping[str, str] | None = None) -> None:
        self._words = folder / "words"
        file = folder / "train.py"
        file.write_text(
            "import json, os, signal, sys, threading, time\nimport pinnace\n"
            # Closed by `with`: what a handler of signals raises while a file is closed by its finaliser is swallowed.
            f"def say(word):\n    with open({str(self._words)!r}, 'a') as file:\n"
            "        file.write(json.dumps(word) + '\\n')\n"
            # By short sleeps: a signal that comes right before one is handled after it.
            f"def linger():\n    for _ in range(600):\n        time.sleep(0.1)\n{script}"
        )
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.process = subprocess.Popen(
            [sys.executable, str(file)],
            cwd=folder,
            env={**os.environ, **paths, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def words(self) -> list[Any]:
        if not self._words.exists():
            return []
        return [json.loads(line) for line in self._words.read_text().splitlines()]

    def wait_for_words(self, count: int = 1) -> list[Any]:
        eventually(
            lambda: len(self.words()) >= count or self.process.poll() is not None, timeout=30, what="the script speaks"
        )
        assert len(self.words()) >= count, self.output()
        return self.words()

    def output(self) -> str:
        """What it printed, when it has ended."""
        return self.process.communicate(timeout=60)[0]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)
