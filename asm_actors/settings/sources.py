"""Where settings come from: a file, the environment, the caller. Each value keeps the name of its source.

1. Every value is checked where it is found, so that an error names its file or variable, also if another source stands
   over it.
2. Errors say what is legal and not what was found: that may be a secret which was put in the wrong place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import jsonable, shown
from asm_actors.serialization import invalid
from asm_actors.settings.absent import ABSENT
from asm_actors.settings.reading import read_json, read_map
from asm_actors.settings.rules import Rule

__all__ = ["DEFAULT_SOURCE", "PREFIX", "RESERVED", "gather", "unknown"]

PREFIX: Final = "ASM_"
"""Variables of the environment that begin so are settings."""
RESERVED: Final = frozenset({"ASM_CONFIG"})
"""Variables with this prefix that are no settings: where the command finds its file."""
DEFAULT_SOURCE: Final = "default"
"""The source of a value that nobody set."""
_NESTED: Final = "__"

Rules: TypeAlias = Mapping[str, Rule]
Found: TypeAlias = dict[str, tuple[Any, str]]


def gather(rules: Rules, path: Path | None, env: Mapping[str, str], overrides: Mapping[str, Any]) -> Found:
    """Return every setting that somebody made: its value and its source, by name.

    Args:
        rules: What settings there are, and what each may be.
        path: A file, or None.
        env: Variables.
        overrides: Values of the caller.

    Raises:
        ValidationError: As told at `Config.load`.
    """
    if not isinstance(env, Mapping) or not all(isinstance(name, str) for name in env):
        raise invalid("env", "must be a map from names of variables to their texts", env)
    if not isinstance(overrides, Mapping):
        raise invalid("overrides", "must be a map from settings to values", overrides)
    found: Found = {}
    if path is not None:
        for name, value in read_map(path).items():
            found[name] = (_checked(rules, name, value, str(path)), str(path))
    _take_variables(rules, env, found)
    for name, value in overrides.items():
        found[name] = (_checked(rules, name, value, "override"), "override")
    return found


def unknown(name: str, known: Collection[str]) -> str:
    """Say that there is no setting of this name, and which one may be meant."""
    reason = ABSENT.get(name)
    if reason is not None:
        return f"the setting {name} has no meaning here: {reason}"
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else 'list them with "asm config show"'
    return f"there is no setting {shown(name)[1:-1]}; {hint}"


def _checked(rules: Rules, name: Any, value: Any, source: str) -> Any:
    rule = rules.get(name) if isinstance(name, str) else None
    if rule is None:
        raise _refused(source, unknown(str(name), rules))
    try:
        return rule.accept(name, value)
    except AsmError as error:
        raise _refused(source, error.message, name) from None


def _refused(source: str, message: str, name: str | None = None) -> AsmError:
    details = {"source": source} if name is None else {"source": source, "field": name}
    return AsmError(ErrorCode.VALIDATION_ERROR, f"{source}: {message}", details=details)


# --- The environment ------------------------------------------------------------------------------------------------


def _take_variables(rules: Rules, env: Mapping[str, str], found: Found) -> None:
    entries: dict[str, dict[str, list[str]]] = {}
    for variable in sorted(env):
        if not variable.startswith(PREFIX) or variable in RESERVED:
            continue
        text = env[variable]
        if not isinstance(text, str):
            raise _refused(variable, f"must be a text, not {shown(text)}")
        # An empty variable is how a shell unsets one for a command.
        if not text.strip():
            continue
        name, *keys = variable.removeprefix(PREFIX).split(_NESTED)
        name = name.lower()
        rule = rules.get(name)
        if rule is None:
            raise _refused(variable, unknown(name, rules))
        if keys:
            if not rule.is_map or "" in keys:
                raise _refused(variable, f"{name} has no such entry: it must be {rule.legal}", name)
            entries.setdefault(name, {})[variable] = keys
            continue
        try:
            found[name] = (rule.accept_text(name, text), variable)
        except AsmError as error:
            raise _refused(variable, error.message, name) from None
    # Entries come last, all of one map together: one alone may not be legal.
    for name, variables in entries.items():
        before = found.get(name)
        value = json.loads(json.dumps(jsonable(before[0]) if before else {})) or {}
        if not isinstance(value, dict):
            value = {"*": value}  # one limit for every key: it stays that of all others
        for variable, keys in variables.items():
            _set_entry(value, keys, env[variable])
        source = ", ".join(variables)
        try:
            whole = rules[name].accept(name, value)
        except AsmError as error:
            raise _refused(source, error.message, name) from None
        found[name] = (whole, source if before is None else f"{before[1]}, {source}")


def _set_entry(whole: dict[str, Any], keys: list[str], text: str) -> None:
    """Set one entry of a map, at the place that a variable's name says."""
    # Names of variables are written in capitals, names in maps are not; whoever mixes them means what is written.
    *path, last = [key.lower() if key.isupper() else key for key in keys]
    inner = whole
    for key in path:
        below = inner.get(key)
        if not isinstance(below, dict):
            below = inner[key] = {}
        inner = below
    try:
        inner[last] = read_json(text)
    except (ValueError, RecursionError):
        inner[last] = text
