"""The page about the store's errors says what the code does, about every error that there is."""

import re
import runpy
from pathlib import Path

import pytest

from pinnace.stores.classification import Row, classify, table

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "store-errors.md"


def test_the_page_is_what_the_code_says() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["generated"]()
    assert pages == {PAGE: PAGE.read_text()}, "run: make generate"


def test_every_code_that_the_store_client_can_raise_has_a_row() -> None:
    sources = [
        *(ROOT / "core/src/pinnace/stores").glob("*.py"),
        *(ROOT / "sidecar/src/pinnace_sidecar").glob("sto*.py"),
    ]
    raised = {code for path in sources for code in re.findall(r'code="([A-Za-z]+)"', path.read_text())}
    assert raised <= {row.code for row in table()}
    assert len(raised) > 10


@pytest.mark.parametrize("row", table(), ids=lambda row: row.code)
def test_each_spelling_means_what_its_row_says(row: Row) -> None:
    for spelling in row.spellings:
        status = int(spelling.replace("xx", "99")) if spelling[0].isdigit() else 0
        verdict = classify(status) if status else classify(499, spelling)
        assert (verdict.code, verdict.error) == (row.code, row.error)


def test_whoever_waits_for_a_person_says_what_to_do() -> None:
    assert [row.code for row in table() if row.error.whole_store and not row.error.try_again and not row.hint] == []
