"""The house rules that no other tool checks."""

import operator
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORBIDDEN_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py", "base.py", "manager.py"}


def sources() -> list[Path]:
    return [path for part in ("core", "operator", "sidecar", "api", "cluster") for path in (ROOT / part).rglob("*.py")]


def test_operator_folder_is_never_a_package() -> None:
    assert not list((ROOT / "operator").glob("*.py"))


def test_the_standard_library_operator_wins_from_the_repository_root() -> None:
    code = "import collections, operator; print(operator.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.startswith(str(ROOT))
    assert not str(operator.__file__).startswith(str(ROOT))


def test_modules_are_named_by_the_noun_they_define() -> None:
    assert [path for path in sources() if path.name in FORBIDDEN_NAMES] == []


def test_no_module_grows_beyond_400_lines() -> None:
    too_long = {
        str(path.relative_to(ROOT)): lines for path in sources() if (lines := len(path.read_text().splitlines())) > 400
    }
    assert too_long == {}


def test_tests_are_no_packages_so_that_folders_never_shadow_modules() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
