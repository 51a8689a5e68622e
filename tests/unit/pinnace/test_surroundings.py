"""What is recorded about how a run came to be, and what of it is hidden."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pinnace.redaction import HIDDEN, hidden_arguments, hidden_in, is_secret_name
from pinnace.tracking import git, surroundings


def commit(folder: Path) -> None:
    for arguments in (
        ["init", "--quiet", "--initial-branch=trunk"],
        ["config", "user.email", "t@example.org"],
        ["config", "user.name", "t"],
        ["remote", "add", "origin", "https://somebody:secret@example.org/code.git"],
        ["add", "."],
        ["commit", "--quiet", "--message=first"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def test_commit_branch_and_what_is_not_committed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("lr = 0.1\n")
    commit(tmp_path)
    clean = git.describe(tmp_path)
    assert (clean["branch"], clean["dirty"], clean["diff"]) == ("trunk", False, "")
    assert len(clean["commit"]) == 40
    assert clean["remote"] == f"https://{HIDDEN}@example.org/code.git"
    (tmp_path / "train.py").write_text("lr = 0.2\n")
    (tmp_path / "new.py").touch()
    (tmp_path / "deeper").mkdir()
    dirty = git.describe(tmp_path / "deeper")
    assert (dirty["dirty"], dirty["untracked"]) == (True, ["new.py"])
    assert "-lr = 0.1\n+lr = 0.2\n" in dirty["diff"]


def test_a_long_diff_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x\n")
    commit(tmp_path)
    (tmp_path / "a").write_text("y\n" * 100)
    monkeypatch.setattr(git, "MAX_DIFF_CHARACTERS", 50)
    described = git.describe(tmp_path)
    assert (len(described["diff"]), described["diff_cut"]) == (50, True)


def test_without_a_repository_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert git.describe(tmp_path) == {}
    assert git.describe(tmp_path / "no-such-folder") == {}


def test_command_packages_and_lock_files_verbatim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "numpy==2.0 --hash=sha256:abc\n"
    (tmp_path / "requirements.txt").write_text(text)
    (tmp_path / "uv.lock").write_text("x" * 100)
    monkeypatch.setattr(surroundings, "_MAX_FILE_BYTES", 50)
    found = surroundings.describe(["python", "train.py", "--api-key=abc"], "train.py", tmp_path)
    assert found["command"]["argv"] == ["python", "train.py", f"--api-key={HIDDEN}"]
    assert found["lock_files"] == {"requirements.txt": text}
    assert found["lock_files_left_out"] == ["uv.lock"]
    assert found["python"]["version"] == platform.python_version()
    assert found["python"]["executable"] == sys.executable
    assert found["packages"]["msgspec"]
    assert found["machine"]["system"] == "Linux"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--password", "hunter2", "--lr", "0.1"], ["--password", HIDDEN, "--lr", "0.1"]),
        (["--wandb-api-key=abc", "DB_PASSWORD=x"], [f"--wandb-api-key={HIDDEN}", f"DB_PASSWORD={HIDDEN}"]),
        (["postgresql://me:pw@db/x"], [f"postgresql://{HIDDEN}@db/x"]),
        (["hf_abcdefghijklmnop", "pnc_abcdefghijklmnop"], [HIDDEN, HIDDEN]),
        (["--tokenizer", "bert", "--author", "me"], ["--tokenizer", "bert", "--author", "me"]),
        (["--token", "--verbose"], ["--token", "--verbose"]),
        (["apiKey=1"], [f"apiKey={HIDDEN}"]),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_nothing_else(given: list[str], shown: list[str]) -> None:
    assert hidden_arguments(given) == shown


def test_names_and_texts() -> None:
    assert is_secret_name("AWS_SECRET_ACCESS_KEY")
    assert not is_secret_name("LEARNING_RATE")
    assert hidden_in("nothing to hide") == "nothing to hide"
