"""What the renderers share: payloads as short texts. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from asm_actors.events import Event
from asm_actors.jsonable import jsonable
from asm_actors.rendering.ansi import clean

__all__ = [
    "PREVIEW",
    "RESULT_PREVIEW",
    "as_text",
    "cost_of",
    "error_text",
    "number",
    "one_line",
    "pieces_of",
    "short_model",
    "short_reason",
    "shorten",
    "tokens_of",
]

PREVIEW: Final = 120
"""Characters of a preview."""
RESULT_PREVIEW: Final = 2000
"""Characters of what a tool gave."""

_REASONS: Final = {"tool_use": "tool", "end_turn": "end"}


def as_text(value: Any) -> str:
    """A payload's value as text that a terminal may be given: text as it is, anything else as JSON, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    return clean(json.dumps(jsonable(value), ensure_ascii=False))


def shorten(text: str, limit: int) -> str:
    """At most so many characters, and three dots if some are left out."""
    return text if len(text) <= limit else text[:limit] + "..."


def one_line(value: Any, limit: int = PREVIEW) -> str:
    """A value as a preview on one line."""
    return shorten(" ".join(as_text(value).split()), limit)


def number(value: Any) -> int | float | None:
    """The value if it is a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def short_model(model: Any) -> str:
    """A model's name without its maker and its date: ``claude-haiku-4-5-20251001`` is ``haiku-4-5``."""
    name = as_text(model).removeprefix("claude-").removeprefix("anthropic.").removeprefix("claude-")
    return "-".join([part for part in name.split("-") if part][:3])


def short_reason(reason: Any) -> str:
    """Why a run stopped, in a word."""
    text = as_text(reason).lower()
    return _REASONS.get(text, text)


def cost_of(data: Mapping[str, Any], digits: int) -> str | None:
    """What a payload says of cost, in US dollars: ``$0.0123``; None if it says nothing."""
    cost = number(data.get("cost_usd"))
    if cost is None:
        cost = number(data.get("total_cost_usd"))
    return None if cost is None else f"${cost:.{digits}f}".rstrip("0").rstrip(".")


def tokens_of(usage: Any) -> tuple[int, int]:
    """Tokens in and out."""
    given = usage if isinstance(usage, Mapping) else {}
    return int(number(given.get("input_tokens")) or 0), int(number(given.get("output_tokens")) or 0)


def error_text(data: Mapping[str, Any], default: str = "unknown error") -> str:
    """What went wrong, and whether it is tried again."""
    error = data.get("error")
    inner = error.get("message") if isinstance(error, Mapping) else error
    text = as_text(data.get("error_message") or inner or data.get("reason")) or default
    delay = number(data.get("retry_in_s"))
    if delay is not None:
        return f"{text} (again in {delay:.1f}s)"
    return f"{text} (again soon)" if data.get("will_retry") else text


def pieces_of(event: Event) -> tuple[str, str]:
    """What a piece of a stream adds: ``("text", …)`` or ``("thinking", …)``; the text may be empty."""
    data = event.data
    text = data.get("delta") or data.get("content")
    if not text and data.get("thinking"):
        return "thinking", as_text(data["thinking"])
    return "text", as_text(text)
