"""`StudioRenderer`: a session as one would tell it, for people who watch it. Pure.

::

    ● haiku-4-5 session started

      I'll look at the sinks first.

    ✓ Read lib/sink.py (72 lines)
    ◐ Running: make test
    ✓ Ran: make test (exit 0, 156 chars, 3.2s)

    ● Session complete (end_turn) — 847/312 tokens, 2 tools

On a terminal the line of a running call is written over by that of its end. Calls of one turn may run side by side:
then only the last line is such a one, and the others stay.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import evolve, field, frozen

from asm_actors.events import Event, EventType
from asm_actors.rendering.ansi import CLEAR_LINE, Paint
from asm_actors.rendering.studio_notes import note_of
from asm_actors.rendering.tool_summary import (
    ToolCall,
    exit_code_of,
    output_lines,
    preview_lines,
    running_text,
    summary_text,
)
from asm_actors.rendering.wording import as_text, error_text, number, one_line, pieces_of, tokens_of
from asm_actors.serialization import check_integer, invalid

__all__ = ["StudioRenderer", "StudioState"]

_PREVIEW_LINES: Final = 3
_LINE_BEGIN: Final = re.compile(r"^(?=[^\n])", re.MULTILINE)


@frozen
class _Running:
    """A call under way: its id, its run, the tool, its arguments, and when it began."""

    id: str
    run_id: str | None
    name: str
    input: Any
    since_us: int


@frozen
class StudioState:
    """What a `StudioRenderer` remembers.

    Attributes:
        stream: Kind and run of the text at whose end the cursor stands; None: it is not in a text.
        at_begin: Whether the text's next character is the first of its line.
        has_streamed: Runs whose present message was written as it came.
        running: Calls under way, in the order of their begin.
        open_line: Whether the line of the last of these stands, without its end, at the bottom.
        tools: How many calls of tools there were.
        tokens: In and out, as the runs' last events of usage told.
    """

    stream: tuple[str, str | None] | None = None
    at_begin: bool = True
    has_streamed: frozenset[str | None] = frozenset()
    running: tuple[_Running, ...] = ()
    open_line: bool = False
    tools: int = 0
    tokens: tuple[int, int] = (0, 0)


def _check_output(instance: Any, attribute: Any, value: Any) -> None:
    if value not in ("summary", "preview", "full"):
        raise invalid("tool_output", "must be summary, preview or full", value)


def _check_indent(instance: Any, attribute: Any, value: Any) -> None:
    check_integer(value, "indent", least=0)


@frozen
class StudioRenderer:
    """See the module.

    Attributes:
        color: Whether to colour.
        tool_output: Of what a tool gave, show a ``summary`` only, a ``preview`` (its last three lines), or it in
            ``full``.
        show_spinner: Mark a running call by ``◐``; else by ``●``.
        indent: Blanks before each line.
        tty: Whether a terminal shows it, so that lines can be written over.

    Raises:
        ValidationError: An option is malformed.
    """

    color: bool = True
    tool_output: str = field(default="summary", validator=_check_output)
    show_spinner: bool = True
    indent: int = field(default=2, validator=_check_indent)
    tty: bool = False

    def init(self) -> StudioState:
        """Nothing is written yet."""
        return StudioState()

    def render_event(self, event: Event, state: StudioState) -> tuple[str, StudioState]:
        """See `Renderer`."""
        match event.type:
            case EventType.MESSAGE_STREAMED:
                return self._streamed(event, state)
            case EventType.MESSAGE_RECEIVED:
                return self._received(event, state)
            case EventType.TOOL_CALL_STARTED:
                return self._call_started(event, state)
            case EventType.TOOL_CALL_COMPLETED | EventType.TOOL_CALL_FAILED:
                return self._call_ended(event, state)
            case EventType.TOKEN_USAGE_UPDATED:
                return "", evolve(state, tokens=_added(state.tokens, tokens_of(event.data)))
            case EventType.RUN_STARTED:
                name = one_line(event.data.get("model") or event.data.get("provider") or event.provider)
                return self._line(state, "\n", "blue", "●", f"{name or 'unknown'} session started")
            case EventType.RUN_COMPLETED:
                return self._completed(event, state)
            case EventType.RUN_FAILED:
                return self._line(state, "\n", "red", "✗", error_text(event.data))
            case EventType.RUN_CANCELLED:
                return self._line(state, "\n", "red", "✗", "cancelled" + _because(event))
            case EventType.RUN_TIMEOUT:
                return self._line(state, "\n", "red", "✗", "timed out")
            case EventType.ERROR_OCCURRED:
                return self._line(state, "", "red", "✗", error_text(event.data))
        note = note_of(event)
        return ("", state) if note is None else self._line(state, "", *note)

    def finish(self, state: StudioState) -> tuple[str, StudioState]:
        """Ends the last line, if it is open."""
        is_open = not state.at_begin if state.stream is not None else state.open_line
        return "\n" if is_open else "", evolve(state, stream=None, at_begin=True, open_line=False)

    # --- Text ----------------------------------------------------------------------------------------------------

    def _streamed(self, event: Event, state: StudioState) -> tuple[str, StudioState]:
        kind, text = pieces_of(event)
        if not text:
            return "", state
        if kind == "text":
            state = evolve(state, has_streamed=state.has_streamed | {event.run_id})
        return self._text(state, (kind, event.run_id), text)

    def _text(self, state: StudioState, stream: tuple[str, str | None], text: str) -> tuple[str, StudioState]:
        before = ""
        if state.stream != stream:
            closing, state = self._closing(state, "\n")
            before, state = closing, evolve(state, stream=stream, at_begin=True)
        shown = _indented(text, self._blanks, state.at_begin)
        if stream[0] == "thinking":
            shown = Paint(self.color)("dim", shown)
        return before + shown, evolve(state, at_begin=text.endswith("\n"))

    def _received(self, event: Event, state: StudioState) -> tuple[str, StudioState]:
        """A message is shown whole if it did not stream."""
        text = as_text(event.data.get("content")).strip("\n")
        if event.run_id in state.has_streamed or not text:
            return "", evolve(state, has_streamed=state.has_streamed - {event.run_id})
        return self._text(state, ("message", event.run_id), text)

    # --- Calls of tools ------------------------------------------------------------------------------------------

    def _call_started(self, event: Event, state: StudioState) -> tuple[str, StudioState]:
        data = event.data
        call = _Running(
            str(data.get("tool_call_id")),
            event.run_id,
            as_text(data.get("tool_name")) or "tool",
            data.get("tool_input"),
            event.timestamp_us,
        )
        closing, state = self._closing(state)
        state = evolve(state, running=(*state.running, call), tools=state.tools + 1, open_line=self.tty)
        return closing + self._running_line(call), state

    def _running_line(self, call: _Running) -> str:
        paint = Paint(self.color)
        mark = paint("cyan", "◐") if self.show_spinner else paint("blue", "●")
        text = running_text(ToolCall(call.name, _map(call.input)))
        return f"{self._blanks}{mark} {text}" + ("" if self.tty else "\n")

    def _call_ended(self, event: Event, state: StudioState) -> tuple[str, StudioState]:
        begun = next(
            (one for one in state.running if (one.id, one.run_id) == _identity(event)),
            None,
        )
        left = tuple(one for one in state.running if one is not begun)
        before = CLEAR_LINE if state.open_line else ""
        if not state.open_line:
            before, state = self._closing(state)
        call = _call_of(event, begun)
        paint = Paint(self.color)
        mark = paint("red", "✗") if call.has_failed else paint("green", "✓")
        text = f"{before}{self._blanks}{mark} {summary_text(call)}\n{self._output(call, paint)}"
        is_open = state.open_line and bool(left)
        if is_open:
            text += self._running_line(left[-1])
        return text, evolve(state, running=left, open_line=is_open)

    def _output(self, call: ToolCall, paint: Paint) -> str:
        if self.tool_output == "summary":
            return ""
        is_full = self.tool_output == "full"
        lines = output_lines(call) if is_full else preview_lines(call, _PREVIEW_LINES)
        mark = paint("dim", "┊" if is_full else "│")
        return "".join(f"{self._blanks}  {mark} {paint('dim', line)}\n" for line in lines)

    # --- Lines ---------------------------------------------------------------------------------------------------

    def _completed(self, event: Event, state: StudioState) -> tuple[str, StudioState]:
        tokens = state.tokens
        if tokens == (0, 0):
            tokens = tokens_of(event.data.get("token_usage"))
        reason = one_line(event.data.get("stop_reason")) or "unknown"
        tools = f"{state.tools} tool{'' if state.tools == 1 else 's'}"
        text = f"Session complete ({reason}) — {tokens[0]}/{tokens[1]} tokens, {tools}"
        shown, state = self._line(state, "\n", "blue", "●", text)
        # What follows is another run: it counts anew.
        return shown, evolve(state, tokens=(0, 0), tools=0)

    def _line(
        self, state: StudioState, gap: str, style: str, mark: str, text: str
    ) -> tuple[str, StudioState]:
        closing, state = self._closing(state, gap)
        return f"{closing}{self._blanks}{Paint(self.color)(style, mark)} {text}\n", state

    def _closing(self, state: StudioState, gap: str = "") -> tuple[str, StudioState]:
        """End the line that stands open, if one does; after a text comes an empty line, else the gap."""
        if state.stream is not None:
            return ("" if state.at_begin else "\n") + "\n", evolve(state, stream=None, at_begin=True)
        return ("\n" + gap, evolve(state, open_line=False)) if state.open_line else (gap, state)

    @property
    def _blanks(self) -> str:
        return " " * self.indent


def _indented(text: str, blanks: str, at_begin: bool) -> str:
    """Blanks before each line that is not empty, the first one only if it begins here."""
    if at_begin:
        return _LINE_BEGIN.sub(blanks, text)
    head, end, rest = text.partition("\n")
    return head + end + _LINE_BEGIN.sub(blanks, rest)


def _added(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    return left[0] + right[0], left[1] + right[1]


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _identity(event: Event) -> tuple[str, str | None]:
    return str(event.data.get("tool_call_id")), event.run_id


def _because(event: Event) -> str:
    reason = one_line(event.data.get("reason"))
    return f": {reason}" if reason else ""


def _call_of(event: Event, begun: _Running | None) -> ToolCall:
    data = event.data
    duration = number(data.get("duration_ms"))
    if duration is None and begun is not None:
        duration = (event.timestamp_us - begun.since_us) / 1000
    is_failed = event.type is EventType.TOOL_CALL_FAILED or data.get("status") == "failed"
    return ToolCall(
        name=as_text(data.get("tool_name")) or (begun.name if begun else "tool"),
        input=_map(data.get("tool_input")) or _map(begun.input if begun else None),
        output=data.get("tool_output"),
        exit_code=exit_code_of(data),
        duration_ms=duration,
        is_failed=is_failed,
        error=error_text(data, "") if is_failed else "",
    )
