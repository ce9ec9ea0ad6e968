"""`Rendering`: events through a renderer into sinks, on both surfaces; and the sinks."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest

import asm_actors as asm
from asm_actors.rendering.renderer import PassthroughRenderer
from asm_actors.rendering.sink import BaseSink


class Recording(BaseSink):
    """Notes what it is asked for, and fails as told."""

    def __init__(self, failing=()):
        self.calls, self.failing = [], failing

    def _note(self, name, *args):
        self.calls.append((name, *args))
        if name in self.failing:
            raise OSError(f"{name} failed")

    def init(self):
        self._note("init")

    def write(self, text):
        self._note("write", text)

    def write_event(self, event, text):
        self._note("write_event", event.id, text)

    def flush(self):
        self._note("flush")

    def close(self):
        self._note("close")

    @property
    def names(self):
        return [name for name, *_ in self.calls]


class Broken(Recording):
    blocks = True


async def _as_stream(events):
    for event in events:
        if isinstance(event, Exception):
            raise event
        yield event


def _raising(events):
    for event in events:
        if isinstance(event, Exception):
            raise event
        yield event


@pytest.fixture(params=["sync", "async"])
def stream(request):
    """`Rendering.stream`, or its asynchronous twin."""
    if request.param == "sync":
        return lambda events, *rest: asm.Rendering.stream(_raising(events), *rest)
    return lambda events, *rest: asyncio.run(asm.Rendering.stream_async(_as_stream(events), *rest))


@pytest.fixture
def events(event):
    return [event("run_started", model="o3"), event("run_completed", stop_reason="end_turn")]


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, logger="asm_actors.rendering")


def test_each_event_goes_to_each_sink_and_then_the_end(stream, events):
    first, second = Recording(), Recording()
    rendered = stream(events, asm.CompactRenderer(color=False), [first, second])
    assert (rendered.events, rendered.failures) == (2, ())
    assert (
        first.calls
        == second.calls
        == [
            ("init",),
            ("write_event", "evt_1", "r+ o3"),
            ("write_event", "evt_2", " r-:end"),
            ("write", "\n2 events, 0 tools\n"),
            ("flush",),
            ("close",),
        ]
    )


def test_a_sink_that_cannot_be_opened_ends_it_with_its_error(stream, events):
    first, second, third = Recording(), Recording({"init"}), Recording()
    with pytest.raises(OSError, match="init failed"):
        stream(events, PassthroughRenderer(), [first, second, third])
    assert (first.names, second.names, third.names) == (["init", "close"], ["init"], [])


@pytest.mark.parametrize("stage", ["write_event", "write", "flush", "close"])
@pytest.mark.parametrize("kind", [Recording, Broken])
def test_a_sink_that_fails_later_is_left_out_and_the_others_go_on(stream, events, stage, kind):
    bad, good = kind({stage}), Recording()
    rendered = stream(events, PassthroughRenderer(), [bad, good])
    assert [(failure.sink, failure.stage) for failure in rendered.failures] == [(bad, stage)]
    assert good.names == ["init", "write_event", "write_event", "write", "flush", "close"]
    assert bad.names.count(stage) == 1
    assert bad.names[-1] == "close"
    assert bad.names.count("close") == 1


def test_if_no_sink_is_left_it_ends(stream, events):
    first, last = Recording({"write_event"}), Recording({"write_event"})
    with pytest.raises(OSError, match="write_event failed"):
        stream(events, PassthroughRenderer(), [first, last])
    assert first.names == last.names == ["init", "write_event", "close"]
    assert stream(events, PassthroughRenderer(), []).events == 2


def test_what_ends_the_events_is_raised_and_the_sinks_are_closed(stream, events):
    sink = Recording()
    with pytest.raises(RuntimeError, match="lost"):
        stream([events[0], RuntimeError("lost")], PassthroughRenderer(), [sink])
    assert sink.names == ["init", "write_event", "flush", "close"]


def test_a_renderer_that_raises_is_not_hidden(stream, events):
    class Raising(PassthroughRenderer):
        def render_event(self, event, state):
            raise ZeroDivisionError

    sink = Recording()
    with pytest.raises(ZeroDivisionError):
        stream(events, Raising(), [sink])
    assert sink.names == ["init", "flush", "close"]


@pytest.mark.parametrize(
    ("renderer", "sinks"), [(object(), []), (PassthroughRenderer(), 3), (PassthroughRenderer(), [object()])]
)
def test_what_is_no_renderer_or_no_sink_is_refused(stream, events, renderer, sinks):
    with pytest.raises(asm.ValidationError):
        stream(events, renderer, sinks)


def test_the_asynchronous_twin_takes_any_iterable_and_awaits_its_sinks(events):
    told = []

    async def tell(event, text):
        await asyncio.sleep(0)
        told.append((event.id, text))

    rendered = asyncio.run(
        asm.Rendering.stream_async(events, asm.CompactRenderer(color=False), [asm.CallbackSink(tell)])
    )
    assert rendered.events == 2
    assert told == [("evt_1", "r+ o3"), ("evt_2", " r-:end")]


def test_an_awaitable_on_the_blocking_surface_is_a_failure_that_says_what_to_do(events):
    async def tell(event, text): ...

    with pytest.raises(asm.ValidationError, match="stream_async"):
        asm.Rendering.stream(events, PassthroughRenderer(), [asm.CallbackSink(tell)])


# --- The sinks ---------------------------------------------------------------------------------------------------


def test_a_terminal_gets_the_text_as_it_is_and_stays_open(events):
    device = io.StringIO()
    asm.Rendering.stream(events, asm.CompactRenderer(), [asm.TTYSink(device)])
    assert device.getvalue().startswith("\x1b[0;34mr+\x1b[0m")
    assert not device.closed


def test_a_terminal_is_standard_output_unless_it_is_given(events, capsys):
    asm.Rendering.stream(events, asm.CompactRenderer(color=False), [asm.TTYSink()])
    assert capsys.readouterr().out == "r+ o3 r-:end\n2 events, 0 tools\n"


def test_a_file_gets_the_text_without_colours(events, event, tmp_path):
    path = tmp_path / "log"
    calls = [event.call("f"), event.result("f", "x")]
    asm.Rendering.stream(calls, asm.StudioRenderer(tty=True), [asm.FileSink(path)])
    assert path.read_text() == "  ◐ Using f  ✓ f complete (1 chars)\n"
    asm.Rendering.stream(events, asm.CompactRenderer(), [asm.FileSink(str(path))])
    assert path.read_text() == "r+ o3 r-:end\n2 events, 0 tools\n"
    asm.Rendering.stream([], asm.CompactRenderer(), [asm.FileSink(path, append=True)])
    assert path.read_text().endswith("2 events, 0 tools\n0 events, 0 tools\n")


def test_a_file_that_was_given_open_stays_open(events):
    file = io.StringIO()
    asm.Rendering.stream(events, asm.CompactRenderer(), [asm.FileSink(file)])
    assert file.getvalue() == "r+ o3 r-:end\n2 events, 0 tools\n"


def test_a_file_that_cannot_be_opened_is_a_storage_error(events, tmp_path):
    with pytest.raises(asm.StorageError) as caught:
        asm.Rendering.stream(events, PassthroughRenderer(), [asm.FileSink(tmp_path / "no" / "log")])
    assert caught.value.code == "storage_write_failed"


def test_full_lines_of_json_are_read_as_events_again(events, tmp_path):
    path = tmp_path / "events.jsonl"
    asm.Rendering.stream(events, PassthroughRenderer(), [asm.JSONLSink(path)])
    assert [asm.Event.from_map(json.loads(line)) for line in path.read_text().splitlines()] == events


def test_compact_lines_of_json_have_short_names(event, tmp_path):
    path = tmp_path / "events.jsonl"
    some = [
        event("run_started", model="claude-haiku-4-5-20251001"),
        event("message_streamed", delta="Grüße"),
        event.call("Read"),
        event.result("Read", {"a": 1}, after_ms=5),
        event("token_usage_updated", input_tokens=1, output_tokens=2, cost_usd=0.5),
        event("message_received", content="x"),
        event("run_completed", stop_reason="end_turn"),
        event("run_failed", error_message="it broke"),
        event("run_cancelled"),
        event("error_occurred", error_message="busy"),
        event("run_paused"),
    ]
    asm.Rendering.stream(some, PassthroughRenderer(), [asm.JSONLSink(path, mode="compact")])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["e"] for line in lines] == [
        {"t": "rs", "m": "haiku-4-5"},
        {"t": "ms", "l": 7},
        {"t": "ts", "n": "Read"},
        {"t": "tc", "n": "Read", "l": 8},
        {"t": "tu", "i": 1, "o": 2, "$": 0.5},
        {"t": "mr"},
        {"t": "rc", "sr": "end"},
        {"t": "rf", "x": "it broke"},
        {"t": "rx"},
        {"t": "er", "x": "busy"},
        {"t": "run_paused"},
    ]
    assert lines[3]["t"] == lines[0]["t"] + 5 == 1_767_225_600_005


def test_a_callback_that_raises_is_counted_and_called_again(stream, events):
    told = []

    def tell(event, text):
        told.append(event.id)
        raise ValueError(event.id)

    sink = asm.CallbackSink(tell)
    assert stream(events, PassthroughRenderer(), [sink]).failures == ()
    assert (told, sink.error_count) == (["evt_1", "evt_2"], 2)


class Broker:
    def __init__(self):
        self.sent = []

    def broadcast(self, topic, message):
        self.sent.append((topic, message))


def test_a_broker_gets_events_by_topic_with_their_text_if_wanted(stream, events):
    broker = Broker()
    sinks = [
        asm.BroadcastSink(broker, scope="run"),
        asm.BroadcastSink(broker, topic="all", include_text=True, message_wrapper="said"),
    ]
    stream(events[:1], asm.CompactRenderer(color=False), sinks)
    assert broker.sent == [
        ("asm:session:ses_1:run:run_1", ("asm_event", "ses_1", events[0])),
        ("all", ("said", "ses_1", events[0], "r+ o3")),
    ]
    assert [(sink.broadcast_count, sink.error_count) for sink in sinks] == [(1, 0), (1, 0)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: asm.TTYSink(3),
        lambda: asm.FileSink(""),
        lambda: asm.FileSink(3),
        lambda: asm.JSONLSink("x", mode="short"),
        lambda: asm.CallbackSink("x"),
        lambda: asm.BroadcastSink(object()),
        lambda: asm.BroadcastSink(Broker(), message_wrapper=3),
    ],
)
def test_malformed_arguments_are_refused(make):
    with pytest.raises(asm.ValidationError):
        make()


def test_a_run_is_rendered_while_it_goes_on():
    told = []
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
        result = system.sessions.run_once({"prompt": "Hi"}, provider="mock")
        events = system.sessions.subscribe(result.session_id, timeout=5)
        sink = asm.CallbackSink(lambda event, text: told.append(text))
        with events:
            asm.Rendering.stream(events, asm.VerboseRenderer(color=False), [sink])
    assert told[0].startswith("[session_created] agent_id=")
    assert told[-1].startswith("[session_completed]")


class AwaitedBroker(Broker):
    async def broadcast(self, topic, message):
        await asyncio.sleep(0)
        if topic == "bad":
            raise ConnectionError("away")
        self.sent.append((topic, message))


def test_a_broker_may_be_awaited_and_its_failures_are_counted(events):
    broker = AwaitedBroker()
    good, bad = asm.BroadcastSink(broker, topic="good"), asm.BroadcastSink(broker, topic="bad")
    logging.getLogger("asm_actors.pubsub").disabled = True
    try:
        rendered = asyncio.run(asm.Rendering.stream_async(events, PassthroughRenderer(), [good, bad]))
    finally:
        logging.getLogger("asm_actors.pubsub").disabled = False
    assert rendered.failures == ()
    assert [topic for topic, _ in broker.sent] == ["good", "good"]
    assert [(sink.broadcast_count, sink.error_count) for sink in (good, bad)] == [(2, 0), (0, 2)]
