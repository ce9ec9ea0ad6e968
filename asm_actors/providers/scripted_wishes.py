"""What a request wishes of a scripted answer: only tools that are allowed, no more tokens, JSON of a shape. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from asm_actors.config import CHARS_PER_TOKEN
from asm_actors.providers.items import MessageDone, TextDelta, ToolCallEnded, ToolCallStarted, TurnDone, Usage
from asm_actors.providers.script import Script, text, usage

__all__ = ["WISHES", "restrained", "sample_of"]

WISHES: Final = ("allowed_tools", "denied_tools", "max_tokens")
"""The hints which a script can be made to keep to."""

_DEEPEST: Final = 20
_OF_FORMAT: Final[Mapping[str, str]] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:30:00Z",
    "email": "someone@example.org",
    "time": "09:30:00Z",
    "uri": "https://example.org",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def restrained(script: Script, options: Mapping[str, Any], honours: Collection[str]) -> Script:
    """Return a script as a provider plays it that keeps to hints; the same one if they change nothing.

    Calls of tools that are not allowed are left out. Text beyond ``max_tokens`` (of four characters each) is, too, and
    the turn then stops for it.

    Args:
        script: the script.
        options: the request's.
        honours: which of :data:`WISHES` count.
    """
    hints = {name: options[name] for name in honours if options.get(name) is not None}
    left = _allowed(script, hints)
    steps = _short(left, hints.get("max_tokens"))
    if steps is None:
        return script if len(left) == len(script.steps) else Script(*_open(left))
    return Script(*steps)


def _allowed(script: Script, hints: Mapping[str, Any]) -> list[Any]:
    allowed, denied = hints.get("allowed_tools"), hints.get("denied_tools", ())
    return [
        step
        for step in script.steps
        if not isinstance(step, ToolCallStarted | ToolCallEnded)
        or ((allowed is None or step.name in allowed) and step.name not in denied)
    ]


def _open(steps: list[Any]) -> Iterator[Any]:
    """Leave out what is said of the whole, which is completed anew."""
    return (step for step in steps if not isinstance(step, MessageDone | TurnDone))


def _short(steps: list[Any], most: Any) -> list[Any] | None:
    """Cut what is too long; None if nothing is."""
    room = most * CHARS_PER_TOKEN if isinstance(most, int) else None
    if room is None or sum(len(step.text) for step in steps if isinstance(step, TextDelta)) <= room:
        return None
    kept: list[Any] = []
    for step in _open(steps):
        if isinstance(step, TextDelta):
            kept += text(step.text[:room])
            room -= len(step.text[:room])
        elif isinstance(step, Usage):
            kept.append(step._replace(output_tokens=min(most, step.output_tokens)))
        elif not isinstance(step, ToolCallStarted | ToolCallEnded):
            kept.append(step)
    if not any(isinstance(step, Usage) for step in kept):
        kept.append(usage(10, most))
    return [*kept, TurnDone("max_tokens")]


def sample_of(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """Return a small value that fits a JSON Schema of the usual kind; None where it says nothing.

    Args:
        schema: the schema.
        root: what it refers to; by default itself.
        depth: how deep it lies.
    """
    root = schema if root is None else root
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        return sample_of(_referred(schema["$ref"], root), root, depth + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return sample_of(schema[name][0], root, depth + 1)
    kind = schema.get("type")
    return _of_kind(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _of_kind(kind: Any, schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    if kind == "object" or (kind is None and "properties" in schema):
        parts = schema.get("properties") or {}
        wanted = schema.get("required") or ()
        return {name: sample_of(parts.get(name, {}), root, depth + 1) for name in wanted}
    if kind == "array":
        given = list(schema.get("prefixItems") or ())
        more = [schema.get("items") or {}] * max(0, schema.get("minItems", 0) - len(given))
        return [sample_of(item, root, depth + 1) for item in (*given, *more)]
    if kind == "string":
        return _OF_FORMAT.get(schema.get("format", ""), "text").ljust(schema.get("minLength", 0), "x")
    if kind in ("integer", "number"):
        least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        return min(least, schema["maximum"]) if "maximum" in schema else least
    return kind == "boolean" or None


def _referred(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return found
