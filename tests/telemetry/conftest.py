"""Events by type and payload; a simulation with telemetry."""

from __future__ import annotations

import pytest

from asm_actors.events import Event, EventType
from asm_actors.telemetry.folding import TelemetryState, step
from asm_actors.telemetry.hook import TelemetryRecorder

NOW = 1_767_225_600_000_000


class Fold:
    """Steps events through a state; time passes by `after_ms`."""

    def __init__(self):
        self.state, self.now, self.told, self.events = TelemetryState(), NOW, [], []

    def make(self, kind, /, *, run="run_1", session="ses_1", after_ms=0, **data):
        self.now += round(after_ms * 1000)
        event = Event(
            id=f"evt_{len(self.events) + 1}",
            type=EventType(kind),
            timestamp_us=self.now,
            session_id=session,
            run_id=run,
            sequence_number=len(self.events) + 1,
            data=data,
            provider="mock",
        )
        self.events.append(event)
        return event

    def __call__(self, kind, /, **options):
        told = step(self.state, self.make(kind, **options))
        self.told += told
        return told

    def shown(self):
        """All that was told, short: ``kind phase`` of spans, name and value of metrics."""
        recorder = TelemetryRecorder()
        for signal in self.told:
            (recorder.on_span if hasattr(signal, "phase") else recorder.on_metric)(signal)
        return recorder


@pytest.fixture
def fold():
    return Fold()
