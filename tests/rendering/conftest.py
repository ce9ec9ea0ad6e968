"""Events by type and payload, and what a renderer makes of some."""

from __future__ import annotations

import pytest

from asm_actors.events import Event, EventType

NOW = 1_767_225_600_000_000


class Events:
    """Makes events; time passes by `after_ms`."""

    def __init__(self):
        self.now, self.count = NOW, 0

    def __call__(self, kind, /, *, run="run_1", after_ms=0, **data):
        self.now += round(after_ms * 1000)
        self.count += 1
        return Event(
            id=f"evt_{self.count}",
            type=EventType(kind),
            timestamp_us=self.now,
            session_id="ses_1",
            run_id=run,
            sequence_number=self.count,
            data=data,
            provider="mock",
        )

    def call(self, name, given=None, *, call_id="call_1", **more):
        return self("tool_call_started", tool_call_id=call_id, tool_name=name, tool_input=given or {}, **more)

    def result(self, name, output, *, call_id="call_1", **more):
        return self("tool_call_completed", tool_call_id=call_id, tool_name=name, tool_output=output, **more)


@pytest.fixture
def event():
    return Events()


@pytest.fixture
def render():
    """`render(renderer, *events)`: the whole text; `finish=False` leaves the end away."""

    def render(renderer, *events, finish=True):
        state, texts = renderer.init(), []
        for each in events:
            text, state = renderer.render_event(each, state)
            texts.append(text)
        if finish:
            texts.append(renderer.finish(state)[0])
        return "".join(texts)

    return render
