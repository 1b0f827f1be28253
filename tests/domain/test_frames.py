"""Event streams: what is written can be read again, however the bytes are cut."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.errors import EventIdInvalid
from bridge.domain.events import Event, EventDraft, log
from bridge.domain.frames import (
    KEEP_ALIVE,
    LineSplitter,
    data_of,
    encode_event,
    event_json,
    parse_last_event_id,
    retry_frame,
)
from tests.domain.making import NOW, RUN_ID

MESSAGES = st.text(max_size=60)
FRAGMENTS = [b"data: ", b"data:", b"{}", b'{"result":{}}', b"\n", b"\r\n", b"\r", b":", b" "]
SIZES = st.lists(st.integers(min_value=1, max_value=40), max_size=30)


def event(seq: int, message: str) -> Event:
    return Event(RUN_ID, seq, NOW, log(message, step="a/b"))


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """*stream* in chunks of these sizes, and the rest in one."""
    chunks = []
    for size in sizes:
        chunks.append(stream[:size])
        stream = stream[size:]
    return [*chunks, stream]


def lines_of(chunks: list[bytes]) -> list[bytes]:
    splitter = LineSplitter()
    found = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert splitter.rest() == b""
    return found


@given(messages=st.lists(MESSAGES, min_size=1, max_size=6), sizes=SIZES, keep_alive=st.booleans())
def test_every_event_survives_any_chunking(messages, sizes, keep_alive):
    """A reader gets each event whole and once, wherever the network cuts the stream."""
    events = [event(seq, message) for seq, message in enumerate(messages, start=1)]
    stream = retry_frame(2000)
    stream += b"".join((KEEP_ALIVE if keep_alive else b"") + encode_event(e) for e in events)

    lines = lines_of(cut(stream, sizes))

    ids = [int(line[4:]) for line in lines if line.startswith(b"id: ")]
    bodies = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    assert ids == [e.seq for e in events]
    assert bodies == [json.loads(json.dumps(event_json(e))) for e in events]
    assert lines.count(b"") == len(events) * (2 if keep_alive else 1) + 1


def test_a_lone_surrogate_does_not_break_the_stream():
    """Text that is no Unicode is shown with a replacement, not as a failed stream."""
    assert b'"message":"ab"' in encode_event(event(1, "a\ud800b"))


def test_an_event_has_the_fields_of_the_contract():
    """A frame carries its number, its type and everything that the API promises of an event."""
    draft = EventDraft("status", data={"status": "running", "progress": "1/2"})

    assert encode_event(Event(RUN_ID, 7, NOW, draft)) == (
        b'id: 7\nevent: status\ndata: {"seq":7,"time":"2026-11-22T10:00:00.000Z","type":"status",'
        b'"level":"info","message":"","status":"running","progress":"1/2"}\n\n'
    )
    assert retry_frame(2000) == b"retry: 2000\n\n"


@pytest.mark.parametrize(("text", "seq"), [(None, 0), ("", 0), ("  ", 0), ("0", 0), (" 12 ", 12)])
def test_a_resume_position_is_read(text, seq):
    """A reader resumes after the number it sends, or starts over when it sends none."""
    assert parse_last_event_id(text) == seq


@given(
    st.lists(st.binary(max_size=20) | st.sampled_from(FRAGMENTS), max_size=12).map(b"".join), SIZES
)
def test_any_bytes_give_the_same_frames_however_they_are_cut(stream, sizes):
    """Where the network cuts a stream, even a broken one, changes nothing of what is read."""
    whole, pieces = LineSplitter(), LineSplitter()

    lines = list(whole.feed(stream))

    assert [line for chunk in cut(stream, sizes) for line in pieces.feed(chunk)] == lines
    assert pieces.rest() == whole.rest()
    for line in lines:
        data = data_of(line)
        assert data is None or (data in line and data == data.strip() != b"")


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_every_sequence_number_is_accepted_as_a_position(seq):
    """Whatever number a stream showed can be sent back."""
    assert parse_last_event_id(str(seq)) == seq


@given(st.text(min_size=1))
def test_any_text_is_a_position_or_refused(text):
    """No text makes the server fail: it is a number, or it is refused by name."""
    with contextlib.suppress(EventIdInvalid):
        assert 0 <= parse_last_event_id(text) < 10**18


@pytest.mark.parametrize("text", ["-1", "1.0", "x", "٣", "9" * 19, "1 2", "+1"])
def test_a_garbled_position_is_refused(text):
    """A malformed Last-Event-ID is answered with an error and not with the whole history."""
    with pytest.raises(EventIdInvalid):
        parse_last_event_id(text)


def test_a_line_beyond_the_limit_is_refused():
    """A peer that never ends its line cannot fill the memory."""
    splitter = LineSplitter(limit=10)

    assert list(splitter.feed(b"0123456789")) == []
    with pytest.raises(ValueError, match="longer than 10 bytes"):
        list(splitter.feed(b"x"))


def test_what_stands_after_the_last_line_end_is_kept():
    """An error object at the end of a JSON stream has no newline and is still read."""
    splitter = LineSplitter()

    assert list(splitter.feed(b'{"result":1}\r\n{"err')) == [b'{"result":1}']
    assert list(splitter.feed(b'or":2}')) == []
    assert splitter.rest() == b'{"error":2}'


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b'data: {"result":{}} ', b'{"result":{}}'),
        (b'{"result":{}}', b'{"result":{}}'),
        (b"data: ", None),
        (b":", None),
        (b"", None),
        (b"event: x", None),
    ],
)
def test_a_line_of_argo_gives_its_json(line, data):
    """Both framings of a real Argo Server are understood and keep-alives are skipped."""
    assert data_of(line) == data
