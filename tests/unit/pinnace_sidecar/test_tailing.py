"""Metric files are read while they are written: each whole line once."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.records import MetricPoint
from pinnace_sidecar import tailing
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal import Tail
from pinnace_sidecar.tailing import read_lines, read_on
from support.examples import examples
from support.pod import Pod


class Text:
    """A metric file in memory."""

    def __init__(self, content: bytes = b"", inode: int = 1) -> None:
        self.content = content
        self.inode = inode
        self._at = 0
        self.found = self.fingerprint()

    def read(self, size: int) -> bytes:
        data = self.content[self._at : self._at + size]
        self._at += len(data)
        return data

    def seek(self, offset: int) -> None:
        self._at = offset

    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.inode, len(self.content), 0, 0)

    def fileno(self) -> int:
        raise NotImplementedError

    def close(self) -> None: ...


START = Tail(path="metrics.jsonl", inode=0)


def read(file: Text, tail: Tail = START, *, at_end: bool = False) -> tuple[Tail, tuple[MetricPoint, ...]]:
    return read_lines(file, tail, "pod-1", at_end=at_end)


def values(points: Sequence[MetricPoint]) -> list[tuple[int, object, int, str]]:
    return [(point.step, point.value, point.offset, point.source) for point in points]


def test_a_torn_last_line_waits_for_its_end() -> None:
    file = Text(b'{"a": 1}\n{"a": ')
    tail, points = read(file)
    assert values(points) == [(0, 1.0, 0, "pod-1:metrics.jsonl")]
    assert read(file, tail) == (tail, ())
    file.content += b"2}\n"
    tail, points = read(file, tail)
    assert values(points) == [(1, 2.0, 9, "pod-1:metrics.jsonl")]
    assert (tail.offset, tail.lines, tail.points) == (18, 2, 2)


def test_nobody_finishes_a_last_line_after_the_end() -> None:
    file = Text(b'{"a": 1}\n{"a": 2}')
    tail, points = read(file, at_end=True)
    assert [point.value for point in points] == [1.0, 2.0]
    assert read(file, tail, at_end=True) == (tail, ())


def test_a_torn_last_line_is_bad_after_the_end() -> None:
    tail, points = read(Text(b'{"a": 1}\n{"a": '), at_end=True)
    assert [point.value for point in points] == [1.0]
    assert tail.bad == 1
    assert tail.first_bad.startswith("metrics.jsonl:2: not JSON")


def test_a_bad_line_is_counted_and_the_others_are_read() -> None:
    tail, points = read(Text(b'nonsense\n{"a": 1}\nmore\r\n\n{"a": 2}\r\n'))
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (4, 2.0)]
    assert (tail.bad, tail.lines) == (2, 5)
    assert tail.first_bad.startswith("metrics.jsonl:1: not JSON")


def test_a_replaced_or_cut_file_begins_again_as_another_source() -> None:
    tail, _ = read(Text(b'{"a": 1}\n{"a": 2}\n'))
    replaced, points = read(Text(b'{"a": 3}\n', inode=2), tail)
    assert values(points) == [(0, 3.0, 0, "pod-1:metrics.jsonl#1")]
    cut, points = read(Text(b'{"a":4}\n', inode=2), replaced)
    assert values(points) == [(0, 4.0, 0, "pod-1:metrics.jsonl#2")]
    assert cut.points == 4


def test_a_file_rewritten_in_place_begins_again_even_when_it_is_longer() -> None:
    first = b"".join(b'{"step": %d, "a": 1}\n' % step for step in range(20))
    tail, _ = read(Text(first))
    rewritten = b"".join(b'{"step": %d, "b": 2}\n' % step for step in range(50))
    after, points = read(Text(rewritten), tail)
    assert {point.source for point in points} == {"pod-1:metrics.jsonl#1"}
    assert [(point.key, point.step) for point in points] == [("b", step) for step in range(50)]
    assert (after.generation, after.offset, after.points) == (1, len(rewritten), 70)


def test_what_does_not_continue_the_file_is_not_read_on() -> None:
    tail, _ = read(Text(b'{"a": 1}\n'))
    assert read_on(Text(b'{"a": 2}\n{"a": 3}\n'), tail, "pod-1") == (tail, ())  # its inode was given away
    assert read_on(Text(b'{"a":'), tail, "pod-1") == (tail, ())
    assert read_on(Text(b'{"a": 1}\n', inode=2), tail, "pod-1") == (tail, ())
    _, points = read_on(Text(b'{"a": 1}\n{"a": 3}\n'), tail, "pod-1")
    assert values(points) == [(1, 3.0, 9, "pod-1:metrics.jsonl")]


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=300), st.booleans())
def test_only_what_continues_the_file_is_taken_for_its_continuation(first: bytes, more: bytes, same: bool) -> None:
    first += b"\n"
    tail, _ = read(Text(first))
    content = (first if same else more) + more + b"\n"
    after, _ = read(Text(content), tail)
    continues = content.startswith(first[-64:], max(0, len(first) - 64))
    assert after.generation == (0 if continues and len(content) >= len(first) else 1)
    assert after.offset == len(content)


def test_a_line_too_long_to_be_kept_is_bad_and_passed_over() -> None:
    file = Text(b'{"a": 1}\n' + b"x" * (2 * tailing.MAX_LINE_BYTES + 17) + b'\n{"a": 2}\n')
    tail = START
    seen: list[tuple[int, object]] = []
    for _ in range(5):
        tail, points = read(file, tail)
        seen += [(point.step, point.value) for point in points]
    assert seen == [(0, 1.0), (2, 2.0)]
    assert (tail.bad, tail.lines, tail.skipping) == (1, 3, False)
    assert tail.offset == len(file.content)


_LINES = st.lists(st.sampled_from(['{"a": 1}', '{"a": NaN, "b": 2}', "bad", "", "{}", '{"a":"é\\r"}']), max_size=12)


@given(_LINES, st.lists(st.integers(0, 200), max_size=6), st.booleans())
@settings(max_examples=examples(200))
def test_however_it_is_cut_into_reads_the_same_points_come_out(lines: list[str], cuts: list[int], ended: bool) -> None:
    content = "\n".join(lines).encode() + (b"\n" if ended else b"")
    _, whole = read(Text(content), at_end=True)
    file, tail = Text(), START
    seen: list[MetricPoint] = []
    for cut in [*sorted(cuts), len(content)]:
        file.content = content[:cut] if cut <= len(content) else content
        tail, points = read(file, tail)
        seen += points
    tail, points = read(file, tail, at_end=True)
    assert (*seen, *points) == whole
    assert tail.offset == len(content)


def test_points_arrive_while_the_file_is_still_written(pod: Pod) -> None:
    file = pod.write("run/metrics.jsonl", b'{"step": 1, "loss": 0.5}\n{"st')
    pod.start()
    pod.run_for(10)
    assert [(point.key, point.step, point.value) for point in pod.api.points.values()] == [("loss", 1, 0.5)]
    with file.open("ab") as more:
        more.write(b'ep": 2, "loss": NaN}\n')
    pod.run_for(10)
    assert [(point.step, point.value) for point in pod.api.points.values()] == [(1, 0.5), (2, "NaN")]
    assert pod.api.report.metric_points == 2


def test_points_go_on_after_a_restart_where_they_were(pod: Pod) -> None:
    file = pod.write("metrics.jsonl", b'{"loss": 1}\n')
    pod.start()
    pod.run_for(5)
    pod.stop()
    with file.open("ab") as more:
        more.write(b'{"loss": 2}\n')
    pod.start()
    pod.run_for(5)
    assert [(point.step, point.value) for point in pod.api.points.values()] == [(0, 1.0), (1, 2.0)]


def test_bad_lines_are_a_problem_that_names_the_line(pod: Pod) -> None:
    pod.write("metrics.jsonl", b'{"loss": 1}\noops\n')
    pod.start()
    pod.run_for(10)
    report = pod.api.report
    assert report.bad_metric_lines == 1
    assert [problem.reason for problem in report.problems] == ["BadMetricLines"]
    assert "metrics.jsonl:2: not JSON" in report.problems[0].message


def test_a_file_that_was_rotated_away_was_read_before(pod: Pod, tmp_path: Path) -> None:
    file = pod.write("metrics.jsonl", b'{"loss": 1}\n')
    pod.start()
    pod.run_for(5)
    with file.open("ab") as more:
        more.write(b'{"loss": 2}\n{"loss": 3}')
    file.rename(pod.volume / "metrics.jsonl.1")
    pod.write("metrics.jsonl", b'{"loss": 4}\n')
    pod.run_for(5)
    found = [(point.value, point.source, point.step) for point in pod.api.points.values()]
    assert found == [
        (1.0, "pod-1:metrics.jsonl", 0),
        (2.0, "pod-1:metrics.jsonl", 1),
        (3.0, "pod-1:metrics.jsonl", 2),
        (4.0, "pod-1:metrics.jsonl#1", 0),
    ]


def test_a_file_rotated_while_the_sidecar_was_away_is_read_to_its_end(pod: Pod) -> None:
    file = pod.write("run/metrics.jsonl", b'{"loss": 1}\n')
    pod.start()
    pod.run_for(5)
    pod.stop()
    with file.open("ab") as more:
        more.write(b'{"loss": 2}\n')
    file.rename(pod.volume / "run" / "metrics-old.jsonl")
    pod.start()
    pod.write("run/metrics.jsonl", b'{"loss": 3}\n')
    pod.run_for(5)
    assert [point.value for point in pod.api.points.values()] == [1.0, 2.0, 3.0]


def test_a_file_rewritten_after_it_was_rotated_away_is_not_read_again(pod: Pod) -> None:
    file = pod.write("metrics.jsonl", b'{"loss": 1}\n')
    pod.start()
    pod.run_for(5)
    file.rename(pod.volume / "metrics.jsonl.1")
    pod.write("metrics.jsonl", b'{"loss": 2}\n')
    (pod.volume / "metrics.jsonl.1").write_bytes(b'{"loss": 8}\n{"loss": 9}')
    pod.run_for(5)
    assert [point.value for point in pod.api.points.values()] == [1.0, 2.0]


def test_a_line_torn_by_rotation_waits_until_another_file_has_the_name(pod: Pod) -> None:
    file = pod.write("metrics.jsonl", b'{"loss": 1}\n{"los')
    pod.start()
    pod.run_for(5)
    file.rename(pod.volume / "metrics.jsonl.1")
    pod.run_for(5)
    with (pod.volume / "metrics.jsonl.1").open("ab") as more:
        more.write(b's": 2}\n')
    pod.run_for(5)
    pod.write("metrics.jsonl", b'{"loss": 3}\n')
    pod.run_for(5)
    assert [point.value for point in pod.api.points.values()] == [1.0, 2.0, 3.0]
    assert pod.api.report.bad_metric_lines == 0


def test_a_file_rewritten_to_the_same_size_is_read_again(pod: Pod) -> None:
    file = pod.write("metrics.jsonl", b'{"loss": 1}\n')
    pod.start()
    pod.run_for(5)
    file.write_bytes(b'{"loss": 2}\n')
    pod.run_for(5)
    assert [point.value for point in pod.api.points.values()] == [1.0, 2.0]


def test_any_number_of_files_is_read_and_none_is_read_faster_than_it_grows(pod: Pod) -> None:
    pod.change_settings(metrics_files=("**/metrics-*.jsonl",))
    lines = b"".join(b'{"step": %d, "loss": 0.5, "text": "%s"}\n' % (step, b"x" * 500) for step in range(4000))
    for number in range(3):
        pod.write(f"rank-{number}/metrics-{number}.jsonl", lines)
    pod.start()
    pod.run_for(1.5)  # 2 MB each: one pause at most, before the last half of a read
    assert pod.sidecar.report().metric_points + pod.journal.metrics.totals().unsent == 12_000
