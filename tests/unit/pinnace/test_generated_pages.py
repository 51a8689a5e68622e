"""The pages that are generated say what the code does: about each error of the store, and each setting of the API."""

import re
import runpy
from pathlib import Path

import pytest

from pinnace.settings import STORE_PREFIX, StoreSettings, names_of
from pinnace.stores.classification import Row, classify, table
from pinnace_api.settings import PREFIX, ApiSettings

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "store-errors.md"


def test_the_page_is_what_the_code_says() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["generated"]()
    assert PAGE in pages
    assert pages == {page: page.read_text() for page in pages}, "run: make generate"


def test_each_setting_of_the_api_is_explained_on_its_page() -> None:
    text = (ROOT / "docs" / "reference" / "settings.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `PINNACE_")]
    names = {*names_of(ApiSettings, PREFIX), *names_of(StoreSettings, STORE_PREFIX)} - {f"{PREFIX}STORE"}
    assert {row[0].strip("`") for row in rows} == names
    assert [row[0] for row in rows if len(row) < 3 or len(row[-1]) < 10] == []


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
