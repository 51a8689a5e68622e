"""The pages for those who run a cluster: what they name as a proof is there."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
CHECKLIST = ROOT / "docs/operations/checklist.md"
SCENARIOS = ROOT / "docs/operations/failure-scenarios.md"
#: What a row of the checklist may name.
PLACES = ("api/", "charts/", "core/", "crds/", "docs/", "operator/", "sidecar/", "tests/")


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of every table's lines, without its head."""
    for line in page.read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| # ", "| question ")):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@cache
def functions(file: Path) -> tuple[str, ...]:
    return tuple(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE))


def proofs_of_the_checklist() -> list[str]:
    return sorted({word for row in rows(CHECKLIST) for word in quoted(row[-1])})


def proofs_of_the_scenarios() -> list[str]:
    named = (word for row in rows(SCENARIOS) for word in quoted(row[2]))
    return sorted({word for word in named if re.search(r"\.py|^test_", word)})


def is_there(proof: str) -> bool:
    """`…` stands for anything."""
    file, _, name = proof.partition("::")
    if not file.endswith(".py"):
        file, name = "", file
    pattern = f"**/{file.replace('/…/', '/**/').replace('…', '*') or 'test_*.py'}"
    wanted = re.compile("".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", name)))
    name_of_case = re.compile(r"\\\[.*")
    wanted = re.compile(name_of_case.sub("", wanted.pattern))
    files = list(TESTS.glob(pattern))
    return any(not name or wanted.fullmatch(function) for file_ in files for function in functions(file_) or [""])


@pytest.mark.parametrize("proof", proofs_of_the_checklist())
def test_what_the_checklist_names_is_there(proof: str) -> None:
    file, _, name = proof.partition("::")
    assert file.startswith(PLACES)
    assert (ROOT / file).exists()
    assert not name or name in functions(ROOT / file)


def test_every_line_of_the_checklist_has_an_answer_and_something_that_shows_it() -> None:
    lines = [row for row in rows(CHECKLIST) if not set(row[0]) <= {"-", " "}]
    assert len(lines) > 40
    for line in lines:
        assert len(line) == 3, line
        assert line[1], line
        assert quoted(line[2]), line


@pytest.mark.parametrize("proof", proofs_of_the_scenarios())
def test_what_the_scenarios_name_is_there(proof: str) -> None:
    assert is_there(proof)


def test_no_scenario_is_left_out() -> None:
    numbers = {int(number) for row in rows(SCENARIOS) for number in re.findall(r"\d+", row[0])}
    assert numbers == set(range(1, 53))


def test_a_proof_that_is_not_there_is_noticed() -> None:
    assert is_there("test_b04_…")
    assert is_there("unit/…/test_files.py")
    assert is_there("test_random_kills.py::…[weed]") is is_there("test_random_kills.py")
    assert not is_there("test_b99_…")
    assert not is_there("faults/test_files.py")
    assert not is_there("test_random_kills.py::test_nothing_…")
