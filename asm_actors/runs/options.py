"""The options of a run which say how it is executed: one table of what there is, and what is legal. Pure.

1. An option is normalised when it is given, into JSON: that is what the run's record keeps and a later life reads.
2. Normalising twice is normalising once. So a record that somebody made by hand is checked by the same table.
3. What is given with one run stands over what its session says for all of its runs; options for the provider
   (`adapter_opts`) key by key, any other as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, TypedDict

from asm_actors.config import ON_RESTART
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.json_schema import compile_schema
from asm_actors.policies.permission_mode import normalize as permission_mode
from asm_actors.policies.resolving import resolve_policy
from asm_actors.serialization import check_integer, invalid, json_map
from asm_actors.tools.schema import is_record, schema_of_type
from asm_actors.transcripts.options import CONTINUATION_MODES, check_continuation_opts, check_mode
from asm_actors.workspace.config import WorkspaceConfig

__all__ = [
    "CONTINUATION_MODES",
    "ON_UNKNOWN_OUTCOME",
    "RunOptions",
    "check_options",
    "merged_options",
    "run_options",
]

ON_UNKNOWN_OUTCOME: Final = ("fail", "ask", "report")
"""What may become of a call whose outcome is unknown, and which must not simply be repeated."""

_MOST: Final = 1_000_000


class RunOptions(TypedDict, total=False):
    """Options of `start_run`, `submit_run` and `run_once`; what is left out follows the session or the system."""

    adapter_opts: Mapping[str, Any] | None
    """Options for the provider, such as ``model`` or ``max_tokens``."""
    tools: Iterable[str] | None
    """Names of the host's tools which the run may use; by default all that its session allows."""
    max_turns: int | None
    """Turns that it may take; by default 50. If the last one asks for calls of tools, these are not made, since the
    model would not hear of their results, and the run fails."""
    on_restart: str | None
    """What becomes of it if its process ends while it is under way: ``resume`` after its last completed step, ``retry``
    from its input, or ``fail``; by default as the system was started. A retry may make completed calls of tools again;
    with one of unknown outcome it follows `on_unknown_outcome`."""
    on_unknown_outcome: str | None
    """What becomes then of a call of a tool which had begun, whose end is not recorded, and which is not safe to
    repeat: ``fail`` the run (default), ``ask`` for an approval to repeat it (see `grant_approval`), or ``report`` to
    the model that its outcome is unknown. If `on_restart` is ``retry``, a grant has the run begun again from its input,
    a denial ends it as ``outcome_unknown``, and a run whose model is told is resumed."""
    policy: Any
    """What it may do and use: a `Policy`, or a map of its fields. It is put together with those of the session and of
    the system; the tightest limit wins."""
    policies: Iterable[Any] | None
    """Several policies, to be put together; they count instead of `policy`."""
    continuation: bool | str | None
    """How it goes on from the conversation before it: False (default): not at all; ``replay``: the earlier messages are
    sent again; ``native``: the provider goes on by itself, where it can; ``auto``: native or replay, as it can be."""
    continuation_opts: Mapping[str, Any] | None
    """What of the conversation counts: ``max_messages max_chars max_tokens_approx run_id type since limit after
    before``; and when it is summed up first: ``compact_over_tokens keep_last``."""
    workspace: Any
    """What is to be done about the files that it works on: a `WorkspaceConfig`, or a map of its fields."""
    permission_mode: str | None
    """How much an agent that calls tools on its own may do without asking: a `PermissionMode`."""
    output_schema: Any
    """JSON Schema of the answer, or a class it is made of (attrs, dataclass, TypedDict). The answer must be JSON that
    fits, alone or in one fenced block; it stands in the result's ``object``, and `RunResult.object_as` makes an
    instance of it. A run whose answers never fit fails with ``invalid_format``. Of a class only its schema is kept, so
    only what that says is asked of the model: attrs validators such as ``gt``, ``in_``, ``max_len`` and ``matches_re``
    (`tools.validators` has all of them), and no validators of one's own, converters and ``__post_init__``. A
    ``pattern`` is matched by `re`, which holds up everything else meanwhile: keep away from nested repetitions such as
    ``(a+)+``."""
    max_output_retries: int | None
    """How many times the model is told what is wrong with an answer that does not fit; by default 2."""
    priority: int | None
    """Runs with a higher number start first where several wait; by default that of the session."""


def run_options(given: Mapping[str, Any], known_tools: Collection[str] | None = None) -> dict[str, Any]:
    """Check options and return those that were given, as a run's record keeps them.

    Args:
        given: The options (`RunOptions`); None stands for one that is not given.
        known_tools: Names of the system's tools; None: any name may be one.

    Raises:
        ValidationError: One is malformed or unknown, or there is no such tool.
    """
    for name in given:
        if name not in _NORMALISERS and name != "policies":
            raise _unknown(name)
    options = {
        name: _NORMALISERS[name](value)
        for name, value in given.items()
        if value is not None and name not in ("policy", "policies")
    }
    policy = resolve_policy(given.get("policy"), given.get("policies"))
    if policy is not None:
        options["policy"] = policy.to_map()
    for name in options.get("tools", ()):
        if known_tools is not None and name not in known_tools:
            known = ", ".join(known_tools) or "(the system has none)"
            raise invalid("tools", f"must be names of the system's tools: {known}", name)
    return options


def check_options(options: Mapping[str, Any]) -> None:
    """Check the options of a run's record, as far as the runtime itself reads them.

    Raises:
        ValidationError: One is malformed.
    """
    for name, value in options.items():
        if value is not None and name in _NORMALISERS:
            _NORMALISERS[name](value)


def merged_options(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with others over them; see rule 3 of the module. Policies are not put together here."""
    merged = {**base, **over}
    mine, others = base.get("adapter_opts"), over.get("adapter_opts")
    if isinstance(mine, Mapping) and isinstance(others, Mapping):
        merged["adapter_opts"] = {**mine, **others}
    return merged


def _unknown(name: str) -> AsmError:
    near = get_close_matches(str(name), (*_NORMALISERS, "policies"), 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(_NORMALISERS)}"
    text = f"a run has no option {name!r:.80}; {hint}"
    return AsmError(ErrorCode.VALIDATION_ERROR, text, details={"field": str(name)[:80]})


def _one_of(name: str, known: tuple[str, ...]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise invalid(name, f"must be one of {', '.join(known)}", value)
        return str(value)

    return check


def _tools(value: Any) -> list[str]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise invalid("tools", "must be a list of names", value)
    names = list(value)
    if not all(isinstance(name, str) for name in names):
        raise invalid("tools", "must be a list of names", names)
    return names


def _integer(name: str, least: int) -> Callable[[Any], int]:
    return lambda value: check_integer(value, name, least=least)


def _priority(value: Any) -> int:
    number = check_integer(value, "priority", least=-_MOST)
    if number > _MOST:
        raise invalid("priority", f"must be at most {_MOST}", value)
    return number


def _policy(value: Any) -> dict[str, Any]:
    found = resolve_policy(value)
    assert found is not None
    return found.to_map()


def _workspace(value: Any) -> dict[str, Any]:
    if isinstance(value, WorkspaceConfig):
        return value.to_map()
    return WorkspaceConfig.from_map(value).to_map()


def _permission_mode(value: Any) -> str | None:
    mode = permission_mode(value)
    return None if mode is None else mode.value


def _output_schema(value: Any) -> dict[str, Any]:
    schema = schema_of_type(value) if is_record(value) else value
    if not isinstance(schema, Mapping):
        raise invalid(
            "output_schema", "must be a JSON Schema, or an attrs class, dataclass or TypedDict", value
        )
    checked = json_map(schema, "output_schema")
    try:
        compile_schema(checked)
    except AsmError as error:
        raise AsmError(
            error.code, f"output_schema: {error.message}", details={"field": "output_schema"}
        ) from error
    return checked


def _map(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: json_map(value, name)


_NORMALISERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "adapter_opts": _map("adapter_opts"),
    "tools": _tools,
    "max_turns": _integer("max_turns", 1),
    "on_restart": _one_of("on_restart", ON_RESTART),
    "on_unknown_outcome": _one_of("on_unknown_outcome", ON_UNKNOWN_OUTCOME),
    "policy": _policy,
    "continuation": check_mode,
    "continuation_opts": check_continuation_opts,
    "workspace": _workspace,
    "permission_mode": _permission_mode,
    "output_schema": _output_schema,
    "max_output_retries": _integer("max_output_retries", 0),
    "priority": _priority,
}
"""What options there are, and what makes of each the JSON that a record keeps; raises `ValidationError`."""
