"""The options of a run which say how it is executed and recovered. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypedDict

from asm_actors.config import ON_RESTART
from asm_actors.serialization import check_integer, invalid

__all__ = ["ON_UNKNOWN_OUTCOME", "RunOptions", "check_options", "run_options"]

ON_UNKNOWN_OUTCOME: Final = ("fail", "ask", "report")
"""What may become of a call whose outcome is unknown, and which must not simply be repeated."""


class RunOptions(TypedDict, total=False):
    """Options of `start_run`, `submit_run` and `run_once`; what is left out follows the session or the system."""

    tools: Iterable[str] | None
    """Names of the host's tools which the run may use."""
    max_turns: int | None
    """Turns that it may take."""
    on_restart: str | None
    """What becomes of it when its process ends while it is under way: ``resume retry fail``."""
    on_unknown_outcome: str | None
    """What becomes of a call whose outcome is unknown then: ``fail ask report``."""


def run_options(given: RunOptions, known_tools: Collection[str]) -> dict[str, Any]:
    """Check options and return those that were given, as a run's record keeps them.

    Args:
        given: The options; None stands for one that is not given.
        known_tools: Names of the system's tools.

    Raises:
        ValidationError: One is malformed, or there is no such tool.
    """
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "tools" in options:
        wanted = options["tools"]
        if isinstance(wanted, str | Mapping) or not isinstance(wanted, Iterable):
            raise invalid("tools", "must be a list of names", wanted)
        options["tools"] = list(wanted)
    check_options(options)
    for name in options.get("tools", ()):
        if name not in known_tools:
            known = ", ".join(known_tools) or "(the system has none)"
            raise invalid("tools", f"must be names of the system's tools: {known}", name)
    return options


def check_options(options: Mapping[str, Any]) -> None:
    """Check the options of a run's record, as far as the runtime itself reads them.

    Raises:
        ValidationError: One is malformed.
    """
    if not options:
        return
    _one_of("on_restart", options.get("on_restart"), ON_RESTART)
    _one_of("on_unknown_outcome", options.get("on_unknown_outcome"), ON_UNKNOWN_OUTCOME)
    turns = options.get("max_turns")
    if turns is not None:
        check_integer(turns, "max_turns", least=1)
    tools = options.get("tools")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(name, str) for name in tools)):
        raise invalid("tools", "must be a list of names", tools)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value is not None and not (isinstance(value, str) and value in known):
        raise invalid(name, f"must be one of {', '.join(known)}", value)
