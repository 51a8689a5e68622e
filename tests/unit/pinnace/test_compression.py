"""zstd in bounded memory: what goes in comes out, and what was never put in is refused before it fills anything."""

import io
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pinnace.compression import Compressor, Decompressor, NotDecodable, unpacked
from pinnace.digests import Encoding
from support.store_content import compressed


class Counting:
    def __init__(self) -> None:
        self.size = 0

    def write(self, data: memoryview) -> None:
        self.size += len(data)


def unpack(frame: bytes, size: int, *, step: int = 7) -> bytes:
    sink = io.BytesIO()
    decompressor = Decompressor(sink, size)
    for at in range(0, len(frame), step):
        decompressor.write(memoryview(frame)[at : at + step])
    return sink.getvalue()


@given(
    pieces=st.lists(st.one_of(st.binary(max_size=300), st.integers(1, 3000).map(bytes)), max_size=6),
    level=st.integers(1, 19),
    flushed=st.booleans(),
    step=st.integers(1, 400),
)
def test_any_bytes_come_out_as_they_went_in(pieces: list[bytes], level: int, flushed: bool, step: int) -> None:
    content = b"".join(pieces)
    compressor = Compressor(level, len(content))
    frame = b""
    for piece in pieces:
        frame += compressor.update(piece) + (compressor.flush() if flushed else b"")
    frame += compressor.finish()
    assert unpack(frame, len(content), step=step) == content
    assert zstandard.decompress(frame, max_output_size=len(content) + 1) == content


def test_a_bomb_is_refused_as_soon_as_it_grows_beyond_the_recorded_size() -> None:
    bomb = compressed(bytes(256 * 2**20))
    sink = Counting()
    tracemalloc.start()
    try:
        with pytest.raises(NotDecodable, match="more than 1000000 bytes"):
            Decompressor(sink, 1_000_000).write(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(bomb) < 100_000
    assert sink.size <= 1_000_000
    assert peak < 2**20


def test_frames_behind_the_frame_count_too() -> None:
    with pytest.raises(NotDecodable):
        unpack(compressed(b"content") * 2, len(b"content"))


@pytest.mark.parametrize("frame", [b"no frame at all", compressed(b"content") + b"and more", compressed(b"c" * 99)[4:]])
def test_what_is_no_frame_is_an_error(frame: bytes) -> None:
    with pytest.raises(NotDecodable):
        unpack(frame, 1000)


def test_a_changed_frame_never_passes_for_the_content() -> None:
    content = bytes(range(256)) * 8
    frame = compressed(content)
    for at in range(len(frame)):
        changed = frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]
        try:
            assert unpack(changed, len(content)) != content or at == 4  # a hint to the reader, no content
        except NotDecodable:
            continue


def test_a_frame_that_wants_a_large_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(NotDecodable, match="memory"):
        unpack(stream.compress(b"content") + stream.flush(), 1000)


@pytest.mark.parametrize("level", [1, 3, 9, 19])
def test_no_level_takes_more_than_ten_mebibytes(level: int) -> None:
    bounded = Compressor.parameters(level, 2**40)
    assert bounded.estimated_compression_context_size() < 10 * 2**20
    assert bounded.window_log <= 21


def test_what_lies_as_it_is_passes_untouched() -> None:
    sink = io.BytesIO()
    assert unpacked(sink, None, 10) is sink
    unpacked(sink, Encoding.ZSTD, 10).write(memoryview(compressed(b"content")))
    assert sink.getvalue() == b"content"
