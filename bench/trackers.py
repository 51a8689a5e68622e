"""What is asked of a tracking server, in each server's own words. The same plain HTTP client speaks to all of them."""

import http.client
import json
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID, uuid4

from bench.filling import filling
from bench.harness import Failed

#: Points that one request brings.
BATCH = 1000
PROJECT = "bench"
_BLOCK = 2**20
_REST_S = 2.0
_SEED = 7


class Tracker(Protocol):
    """One connection that is kept open. Each verb is one request, answered well, or Failed."""

    def create(self) -> str:
        """A new run; its name for the other verbs."""

    def log(self, run: str, first: int, number: int) -> None:
        """So many points of one metric, by steps from `first` on."""

    def find(self, expected: int) -> None:
        """The best 100 of the runs of `fill_runs` whose metric is above a half."""

    def curve(self, points: int) -> None:
        """The series of `fill_series` in about so many points."""

    def upload(self, run: str, path: str, file: Path) -> None: ...

    def download(self, run: str, path: str, size: int) -> None: ...

    def fill_runs(self, number: int) -> None:
        """Runs with one metric each, for `find`."""

    def fill_series(self, number: int) -> None:
        """One series, for `curve`."""


class Talk:
    """Requests on one connection, which is made anew after a rest: servers close those that rest."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300, blocksize=_BLOCK)
        self._headers = dict(headers)
        self._used = time.monotonic()

    def ask(self, method: str, path: str, document: object = None) -> Any:
        body = None if document is None else json.dumps(document)
        with self._answer(method, path, body, {"Content-Type": "application/json"} if body else {}) as answer:
            return json.loads(answer.read() or b"null")

    def send(self, path: str, file: Path) -> None:
        size = {"Content-Length": str(file.stat().st_size)}
        with file.open("rb") as body, self._answer("PUT", path, body, size) as answer:
            answer.read()

    def fetch(self, path: str, size: int) -> None:
        """Raises Failed unless that many bytes come."""
        got, room = 0, memoryview(bytearray(_BLOCK))
        with self._answer("GET", path, None, {}) as answer:
            while read := answer.readinto(room):
                got += read
        if got != size:
            raise Failed(f"{got} bytes came, and not {size}")

    def _answer(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        if time.monotonic() - self._used > _REST_S:
            self._connection.close()
        self._connection.request(method, path, body, {**self._headers, **headers})
        answer = self._connection.getresponse()
        self._used = time.monotonic()
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {answer.read()[:200]!r}")
        return answer


class Pinnace:
    """Our API. `database` is its URL, to be filled past it."""

    def __init__(self, url: str, token: str, database: str) -> None:
        self._talk = Talk(url, {"Authorization": f"Bearer {token}"})
        self._database = database
        self._experiment = self._begin("bench")
        self._filled = ""
        self._series = ""

    def create(self) -> str:
        return self._create(self._experiment)

    def log(self, run: str, first: int, number: int) -> None:
        points = [{"key": "loss", "step": step, "value": 1 / (step + 1)} for step in range(first, first + number)]
        self._talk.ask("PUT", f"/api/v1/iterations/{run}/metrics", {"points": points})

    def find(self, expected: int) -> None:
        query = {
            "experiment": self._filled,
            "filter": "metrics.accuracy.last > 0.5",
            "order_by": "metrics.accuracy.last desc",
            "limit": "100",
        }
        found = self._talk.ask("GET", f"/api/v1/iterations?{urlencode(query)}")
        _check(len(found["items"]), expected)

    def curve(self, points: int) -> None:
        query = {"iterations": self._series, "keys": "loss", "points": str(points)}
        found = self._talk.ask("GET", f"/api/v1/curves?{urlencode(query)}")
        _check(len(found["items"][0]["values"]), points)

    def upload(self, run: str, path: str, file: Path) -> None:
        self._talk.send(f"/api/v1/iterations/{run}/files/{quote(path)}", file)

    def download(self, run: str, path: str, size: int) -> None:
        self._talk.fetch(f"/api/v1/iterations/{run}/files/{quote(path)}", size)

    def fill_runs(self, number: int) -> None:
        self._filled = self._begin("filled")
        run = self._create(self._filled)
        point = {"key": "accuracy", "step": 0, "value": 0.25}
        self._talk.ask("PUT", f"/api/v1/iterations/{run}/metrics", {"points": [point]})
        # SQLite's tables keep ids as their 32 digits, which PostgreSQL takes for the same.
        ids = [uuid4().hex for _ in range(number - 1)]
        model = UUID(run).hex if self._database.startswith("sqlite:") else run
        values = _values(number - 1)
        with filling(self._database) as database:
            rows = ({"id": id_, "number": index + 1} for index, id_ in enumerate(ids))
            database.copy("iterations", {"id": model}, rows)
            summaries = (
                {"iteration_id": id_, "last_value": value, "low": value, "high": value}
                for id_, value in zip(ids, values, strict=True)
            )
            database.copy("metrics", {"iteration_id": model}, summaries, without=("id",))

    def fill_series(self, number: int) -> None:
        self._series = self.create()
        for first in range(0, number, 10 * BATCH):
            self.log(self._series, first, min(10 * BATCH, number - first))

    def _begin(self, name: str) -> str:
        experiment = str(uuid4())
        self._talk.ask("PUT", f"/api/v1/experiments/{experiment}", {"project": PROJECT, "name": f"{name}-{experiment}"})
        return experiment

    def _create(self, experiment: str) -> str:
        run = str(uuid4())
        write = {"experiment_id": experiment, "state": "RUNNING", "parameters": {}}
        self._talk.ask("PUT", f"/api/v1/iterations/{run}", write)
        return run


class MLflow:
    """MLflow's server. `database` is its URL, to be filled past it."""

    def __init__(self, url: str, database: str) -> None:
        self._talk = Talk(url, {})
        self._database = database
        self._experiment = self._begin("bench")
        self._filled = ""
        self._series = ""

    def create(self) -> str:
        return self._create(self._experiment)

    def log(self, run: str, first: int, number: int) -> None:
        moment = round(time.time() * 1000)
        points = [
            {"key": "loss", "timestamp": moment, "step": step, "value": 1 / (step + 1)}
            for step in range(first, first + number)
        ]
        if number == 1:
            self._talk.ask("POST", "/api/2.0/mlflow/runs/log-metric", {"run_id": run, **points[0]})
        else:
            self._talk.ask("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": run, "metrics": points})

    def find(self, expected: int) -> None:
        wanted = {
            "experiment_ids": [self._filled],
            "filter": "metrics.accuracy > 0.5",
            "order_by": ["metrics.accuracy DESC"],
            "max_results": 100,
        }
        found = self._talk.ask("POST", "/api/2.0/mlflow/runs/search", wanted)
        _check(len(found["runs"]), expected)

    def curve(self, points: int) -> None:
        query = {"run_ids": self._series, "metric_key": "loss", "max_results": str(points)}
        path = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{urlencode(query)}"
        _check(len(self._talk.ask("GET", path)["metrics"]), points)

    def upload(self, run: str, path: str, file: Path) -> None:
        self._talk.send(self._file(run, path), file)

    def download(self, run: str, path: str, size: int) -> None:
        self._talk.fetch(self._file(run, path), size)

    def fill_runs(self, number: int) -> None:
        self._filled = self._begin("filled")
        run = self._create(self._filled)
        point = {"run_id": run, "key": "accuracy", "timestamp": 0, "step": 0, "value": 0.25}
        self._talk.ask("POST", "/api/2.0/mlflow/runs/log-metric", point)
        ids = [uuid4().hex for _ in range(number - 1)]
        values = list(zip(ids, _values(number - 1), strict=True))
        with filling(self._database) as database:
            named = ({"run_uuid": id_, "name": id_} for id_ in ids)
            database.copy("runs", {"run_uuid": run}, named)
            for table in ("metrics", "latest_metrics"):
                rows = ({"run_uuid": id_, "value": value} for id_, value in values)
                database.copy(table, {"run_uuid": run}, rows)

    def fill_series(self, number: int) -> None:
        self._series = self.create()
        self.log(self._series, 0, 1)
        with filling(self._database) as database:
            rows = ({"step": step, "value": 1 / (step + 1)} for step in range(1, number))
            database.copy("metrics", {"run_uuid": self._series}, rows)
            database.execute("UPDATE latest_metrics SET step = ? WHERE run_uuid = ?", number - 1, self._series)

    def _file(self, run: str, path: str) -> str:
        return f"/api/2.0/mlflow-artifacts/artifacts/{self._experiment}/{run}/artifacts/{quote(path)}"

    def _begin(self, name: str) -> str:
        made = self._talk.ask("POST", "/api/2.0/mlflow/experiments/create", {"name": f"{name}-{uuid4()}"})
        return str(made["experiment_id"])

    def _create(self, experiment: str) -> str:
        write = {"experiment_id": experiment, "start_time": round(time.time() * 1000)}
        return str(self._talk.ask("POST", "/api/2.0/mlflow/runs/create", write)["run"]["info"]["run_id"])


#: Makes one more connection to the same server.
Connect = Callable[[], Tracker]


def _check(found: int, expected: int) -> None:
    """Raise Failed unless about as much came: how a series is thinned out is each server's own choice."""
    if not expected / 2 <= found <= expected * 1.1:
        raise Failed(f"{found} came, and not {expected}")


def _values(number: int) -> list[float]:
    drawn = random.Random(_SEED)
    return [drawn.random() for _ in range(number)]
