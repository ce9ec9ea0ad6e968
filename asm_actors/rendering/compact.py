"""`CompactRenderer`: each event a token, text as it streams. Pure.

::

    s+ agent  r+ haiku-4-5     session made, run started           tk:12/34 $0.01  tokens in/out, cost
    >> text                    what is said, as it comes           msg preview     a whole message
    << preview                 what was asked                      r-:end          run completed, and why it stopped
    t+Name t-Name tr:preview   a tool called, and what it gave     t!Name          a tool failed
    a?Name a+Name a-Name       approval asked, granted, denied     p!kind          a policy is violated
    r:paused r:recovered       what else became of a run           w:before w:2f+3-1  workspace: snapshot, difference
    !                          an error, a cancel                  ?type           anything else
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve, frozen

from asm_actors.events import Event, EventType
from asm_actors.rendering.ansi import Paint
from asm_actors.rendering.wording import (
    RESULT_PREVIEW,
    as_text,
    cost_of,
    error_text,
    one_line,
    pieces_of,
    short_model,
    short_reason,
    shorten,
    tokens_of,
)

__all__ = ["CompactRenderer", "CompactState"]


@frozen
class CompactState:
    """What a `CompactRenderer` remembers.

    Attributes:
        events: How many there were.
        tools: How many calls of tools.
        is_open: Whether something stands on the present line.
        stream_of: The run whose text stands at its end; None: no text does. A session's own events have no text.
    """

    events: int = 0
    tools: int = 0
    is_open: bool = False
    stream_of: str | None = None


@frozen
class CompactRenderer:
    """See the module.

    Attributes:
        color: Whether to colour.
    """

    color: bool = True

    def init(self) -> CompactState:
        """Nothing is written yet."""
        return CompactState()

    def render_event(self, event: Event, state: CompactState) -> tuple[str, CompactState]:
        """See `Renderer`."""
        state = evolve(
            state,
            events=state.events + 1,
            tools=state.tools + (event.type is EventType.TOOL_CALL_STARTED),
        )
        paint = Paint(self.color)
        if event.type is EventType.MESSAGE_STREAMED:
            return _streamed(event, state, paint)
        token = _TOKENS.get(event.type, _other)(event, paint)
        if not token:
            return "", state
        before = "\n" if state.stream_of is not None else " " if state.is_open else ""
        return before + token, evolve(state, is_open=True, stream_of=None)

    def finish(self, state: CompactState) -> tuple[str, CompactState]:
        """Counts, on a line of their own."""
        line = Paint(self.color)("dim", f"{state.events} events, {state.tools} tools")
        return ("\n" if state.is_open else "") + line + "\n", evolve(state, is_open=False, stream_of=None)


def _streamed(event: Event, state: CompactState, paint: Paint) -> tuple[str, CompactState]:
    kind, text = pieces_of(event)
    if kind == "thinking" or not text:
        return "", state
    whose = event.run_id or ""
    if state.stream_of == whose:
        return text, state
    before = "\n" if state.stream_of is not None else " " if state.is_open else ""
    return f"{before}{paint('magenta', '>>')} {text}", evolve(state, is_open=True, stream_of=whose)


_Token = Callable[[Event, Paint], str]


def _word(style: str, text: str) -> _Token:
    return lambda _event, paint: paint(style, text)


def _problem(default: str) -> _Token:
    def token(event: Event, paint: Paint) -> str:
        return f"{paint('red', '!')} {paint('dim', one_line(error_text(event.data, default)))}"

    return token


def _named(style: str, mark: str) -> _Token:
    return lambda event, paint: paint(style, mark + _tool(event))


def _with(style: str, mark: str, key: str) -> _Token:
    def token(event: Event, paint: Paint) -> str:
        told = one_line(event.data.get(key))
        return paint(style, mark) + (f" {paint('dim', told)}" if told else "")

    return token


def _tool(event: Event) -> str:
    return one_line(event.data.get("tool_name") or event.data.get("name")) or "unknown"


def _run_started(event: Event, paint: Paint) -> str:
    model = short_model(event.data.get("model")) or one_line(event.data.get("provider") or event.provider)
    return paint("blue", "r+") + (f" {paint('magenta', model)}" if model else "")


def _run_completed(event: Event, paint: Paint) -> str:
    reason, cost = short_reason(event.data.get("stop_reason")), cost_of(event.data, 4)
    return paint("blue", "r-" + (f":{reason}" if reason else "") + (f" {cost}" if cost else ""))


def _tool_completed(event: Event, paint: Paint) -> str:
    output = shorten(as_text(event.data.get("tool_output")), RESULT_PREVIEW)
    token = paint("green", f"t-{_tool(event)}")
    return f"{token} {paint('green', 'tr:')}{paint('dim', output)}" if output else token


def _tool_failed(event: Event, paint: Paint) -> str:
    return f"{paint('red', f't!{_tool(event)}')} {paint('dim', one_line(_tool_error(event.data)))}"


def _tool_error(data: Mapping[str, Any]) -> str:
    output = data.get("tool_output")
    return error_text(data, as_text(output) or "failed")


def _tokens(event: Event, paint: Paint) -> str:
    tokens_in, tokens_out = tokens_of(event.data)
    cost = cost_of(event.data, 4)
    return paint("dim", f"tk:{tokens_in}/{tokens_out}" + (f" {cost}" if cost else ""))


def _difference(event: Event, paint: Paint) -> str:
    files, more, less = (event.data.get(key) or 0 for key in ("files_changed", "insertions", "deletions"))
    return paint("dim", one_line(f"w:{files}f+{more}-{less}"))


def _other(event: Event, paint: Paint) -> str:
    return paint("dim", f"?{event.type}")


_TOKENS: Final[Mapping[str, _Token]] = {
    "session_created": _with("blue", "s+", "agent_id"),
    "session_forked": _with("blue", "s+fork", "parent_session_id"),
    "session_started": _word("blue", "s:started"),
    "session_paused": _with("yellow", "s:paused", "reason"),
    "session_resumed": _word("blue", "s:resumed"),
    "session_completed": _word("blue", "s-"),
    "session_failed": _problem("session failed"),
    "session_cancelled": _problem("session cancelled"),
    "session_deleted": _word("dim", "s:deleted"),
    "run_started": _run_started,
    "run_completed": _run_completed,
    "run_failed": _problem("run failed"),
    "run_cancelled": lambda _event, paint: f"{paint('red', '!')} {paint('dim', 'cancelled')}",
    "run_timeout": lambda _event, paint: f"{paint('red', '!')} {paint('dim', 'timeout')}",
    "run_paused": _with("yellow", "r:paused", "reason"),
    "run_resumed": _word("blue", "r:resumed"),
    "run_recovered": _word("yellow", "r:recovered"),
    "run_interrupted": _word("yellow", "r:interrupted"),
    "message_sent": _with("blue", "<<", "content"),
    "message_received": _with("blue", "msg", "content"),
    "tool_call_started": _named("green", "t+"),
    "tool_call_completed": _tool_completed,
    "tool_call_failed": _tool_failed,
    "error_occurred": _problem("unknown error"),
    "error_recovered": _word("green", "e:recovered"),
    "token_usage_updated": _tokens,
    "turn_completed": _with("dim", "turn", "turn"),
    "workspace_snapshot_taken": lambda event, paint: paint("dim", "w:" + one_line(event.data.get("label"))),
    "workspace_diff_computed": _difference,
    "policy_violation": lambda event, paint: paint("red", "p!" + one_line(event.data.get("kind"))),
    "tool_approval_requested": _named("yellow", "a?"),
    "tool_approval_granted": _named("green", "a+"),
    "tool_approval_denied": _named("red", "a-"),
    "transcript_compacted": _word("dim", "c:compacted"),
}
