"""Bytes of others and bytes that changed on our own disk: an error or nothing, and never what was not meant."""

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinnace.digests import Digester, Digests
from pinnace_sidecar import copy_record
from pinnace_sidecar.copy_record import CopyRecord
from pinnace_sidecar.files import Fingerprint, LocalVolume
from pinnace_sidecar.journal import Tail
from pinnace_sidecar.tailing import read_lines
from support.examples import examples

BUSY = settings(deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])

_RUBBISH = st.binary(max_size=30).map(lambda line: b"!" + line.replace(b"\n", b" "))


@given(lines=st.lists(st.one_of(st.floats(allow_nan=False), _RUBBISH), max_size=12))
@BUSY
def test_good_lines_among_any_rubbish_arrive_and_the_rest_is_counted(lines: list[float | bytes]) -> None:
    content = b"".join(
        (line if isinstance(line, bytes) else json.dumps({"loss": line}).encode()) + b"\n" for line in lines
    )
    with TemporaryDirectory() as folder:
        (Path(folder) / "metrics.jsonl").write_bytes(content)
        file = LocalVolume(folder).open("metrics.jsonl")
        try:
            tail, points = read_lines(file, Tail(path="metrics.jsonl", inode=0), "pod", at_end=True)
        finally:
            file.close()
    good = [(step, line) for step, line in enumerate(lines) if isinstance(line, float)]
    sent = [(point.step, float(point.value)) for point in points]
    assert sent == good
    assert (tail.lines, tail.bad, tail.offset) == (len(lines), len(lines) - len(good), len(content))
    if tail.bad:
        assert tail.first_bad.startswith("metrics.jsonl:")


@given(content=st.binary(max_size=200))
@BUSY
def test_any_bytes_are_a_copy_that_says_nothing(content: bytes) -> None:
    assert copy_record.read(io.BytesIO(content)) is None


@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3))
@BUSY
def test_a_record_that_changed_says_nothing(flips: list[tuple[float, int]]) -> None:
    digester = Digester(4)
    digester.update(b"content")
    record = CopyRecord.of(
        "path", Fingerprint(1, 7, 2, 3), Digests(content=digester.finish()), suspect=False, settled_at=1.0
    )
    encoded = bytearray(record.encoded())
    for place, mask in flips:
        encoded[int(place * len(encoded))] ^= mask
    found = copy_record.read(io.BytesIO(b"content" + bytes(encoded)))
    assert found in (None, record)
