"""The examples' programs run and leave what they promise."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(program: str, directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": "/usr/bin:/bin", "MPLCONFIGDIR": str(directory.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / program), *arguments],
        env={**base, "PINNACE_ARTIFACTS_DIR": str(directory), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_iris_training_learns_and_leaves_its_files(tmp_path: Path) -> None:
    directory = tmp_path / "artifacts"
    done = run("iris.py", directory, "--epochs", "40", PINNACE_PARAM_LR="0.01", PINNACE_PARAM_HIDDEN="8")
    assert done.returncode == 0, done.stderr
    assert "lr=0.01 hidden=8" in done.stdout
    files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert files == {"metrics.jsonl", "model.npz", "plot.png", "checkpoints/final.ckpt"}

    rows = lines(directory / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(40))
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["accuracy"] > 0.85
    assert (directory / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_iris_checkpoint_holds_the_states_that_led_to_the_model(tmp_path: Path) -> None:
    run("iris.py", tmp_path, "--epochs", "3", "--hidden", "8")
    with np.load(tmp_path / "checkpoints" / "final.ckpt") as checkpoint, np.load(tmp_path / "model.npz") as model:
        assert checkpoint["epochs"].tolist() == [0, 1, 2]
        weights = checkpoint["states"][-1, 0]
        assert np.array_equal(weights[:, : model["w1"][0].size], model["w1"].reshape(len(weights), -1))
        assert not np.array_equal(checkpoint["states"][0], checkpoint["states"][1])


def test_a_full_iris_checkpoint_is_of_some_64_mib(tmp_path: Path) -> None:
    run("iris.py", tmp_path, "--epochs", "70", "--hidden", "32")
    assert 60 * 2**20 < (tmp_path / "checkpoints" / "final.ckpt").stat().st_size <= 65 * 2**20


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    for name in ("first", "second"):
        run("iris.py", tmp_path / name, "--epochs", "2")
    first, second = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("first", "second"))
    assert first
    assert first == second


def test_the_failing_example_leaves_its_files_and_exits_with_1(tmp_path: Path) -> None:
    done = run("failing.py", tmp_path)
    assert done.returncode == 1
    assert "giving up" in done.stderr
    assert len(lines(tmp_path / "metrics.jsonl")) == 4
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["epoch-0.json", "epoch-1.json", "epoch-2.json"]
