"""The benchmark's own rules: what a run counts, whom a table leaves out, where a table goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import process_tree, report
from bench.harness import Contestant, Cost, Failed, Row, read_rows, rounds, run, write_rows
from support.eventually import eventually


def python(script: str, name: str = "one") -> Contestant:
    return Contestant(name=name, command=[sys.executable, "-I", "-S", "-c", script])


def cost(cpu: float) -> Cost:
    return Cost(wall=2 * cpu, user=cpu, system=0.0, peak_kib=1024)


def row(name: str, *costs: Cost, failure: str = "") -> Row:
    return Row(table="uploads", group="set", name=name, files=1, size=2**30, costs=list(costs), failure=failure)


def test_a_run_counts_the_memory_of_the_command_and_not_of_whoever_starts_it(tmp_path: Path) -> None:
    ours = bytearray(b"x") * (200 * 2**20)
    small = run(python("pass"), tmp_path)
    large = run(python("b = bytearray(b'x') * (80 * 2**20)"), tmp_path)
    assert len(ours) > 0
    assert small.peak_kib < 50 * 2**10
    assert 80 * 2**10 < large.peak_kib < 150 * 2**10


def test_a_command_that_fails_is_no_cost(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="exit code 3: no bucket"):
        run(python("import sys; print('no bucket'); sys.exit(3)"), tmp_path)


def test_who_failed_once_is_left_out_and_said(tmp_path: Path) -> None:
    good, bad = row("good"), row("bad")
    rounds(2, [(good, python("pass")), (bad, python("raise SystemExit('refused')"))], tmp_path)
    assert (len(good.costs), good.failure) == (2, "")
    assert bad.costs == []
    assert "refused" in bad.failure


def test_who_sent_less_than_all_failed(tmp_path: Path) -> None:
    one = row("one")

    def check() -> None:
        raise Failed("9 objects arrived")

    rounds(1, [(one, python("pass"))], tmp_path, check=check)
    assert (one.costs, one.failure) == ([], "9 objects arrived")


def test_tables_come_into_their_places_cheapest_first(tmp_path: Path) -> None:
    results, document = tmp_path / "results.json", tmp_path / "page.md"
    rows = [row("dear", cost(3), cost(5)), row("broken", failure="no room"), row("cheap", cost(1), cost(2), cost(9))]
    write_rows(results, rows, {"rounds": "2"})
    place = "<!-- begin {0} -->\nold\n<!-- end {0} -->\n"
    document.write_text(f"above\n{place.format('uploads')}between\n{place.format('facts-uploads')}below\n")
    report.fill(results, "uploads", document)
    report.fill(results, "uploads", document)
    text = document.read_text()
    assert "old" not in text
    assert "| rounds | 2 |" in text
    assert text.index("| cheap | 2.00 (1.00) |") < text.index("| dear | 4.00 (3.00) |") < text.index("failed: no room")
    assert [text.count(word) for word in ("above", "between", "below", "| cheap |")] == [1, 1, 1, 1]


def test_a_table_without_a_place_is_an_error(tmp_path: Path) -> None:
    results, document = tmp_path / "results.json", tmp_path / "page.md"
    write_rows(results, [row("one", cost(1))], {})
    document.write_text("<!-- begin facts-uploads -->\n<!-- end facts-uploads -->\n")
    with pytest.raises(ValueError, match="uploads"):
        report.fill(results, "uploads", document)


def test_measuring_a_table_again_keeps_the_others(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    other = Row(table="tls", group="set", name="one", files=1, size=1, costs=[cost(1)])
    write_rows(results, [other, row("one", cost(1))], {})
    write_rows(results, [row("one", cost(2))], {})
    found, _ = read_rows(results)
    assert [(each.table, each.costs) for each in found] == [("tls", [cost(1)]), ("uploads", [cost(2)])]


def test_servers_are_told_by_how_many_times_as_long_they_take(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    asked = [
        Row(table="api-writes", group="create", name=name, files=100, costs=[cost(cpu)])
        for name, cpu in (("ours", 0.05), ("theirs", 0.4))
    ]
    write_rows(results, [*asked, Row(table="api-writes", group="create", name="away", failure="refused")], {})
    shown = report.text(results, "api")
    assert "| ours | 1,000 (1,000) | 0.5 |  | 1 |" in shown
    assert "| theirs | 125 (125) | 4 | 8.0 | 1 |" in shown
    assert "| away | failed: refused |" in shown


def test_a_server_s_children_count_as_the_server() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    child = "b = bytearray(b'x') * (80 * 2**20)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", script, child], start_new_session=True) as parent:
        try:
            eventually(lambda: sum(process_tree.cpu(parent.pid)) > 0.5, timeout=30, what="the child works")
            assert process_tree.resident_kib(parent.pid) > 80 * 2**10
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
