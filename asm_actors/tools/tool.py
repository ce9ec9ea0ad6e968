"""`Tool`: a Python function that a model may call, and `tool`, which makes one of a function.

::

    @tool(safe_to_repeat=True)
    def weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
        \"\"\"Look up the weather of a city.\"\"\"
        ...

A plain function runs on a thread of a pool for tools, a coroutine function on the event loop of the actors. What it
returns is told to the model as JSON; what it raises is told as an error, and the run goes on. Arguments are checked
against the schema before the function is called; a parameter whose type is a class gets an instance of it, and one
whose type is `ToolContext` is told which call this is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, overload

from attrs import field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.json_schema import Checker, compile_schema
from asm_actors.serialization import invalid, json_map
from asm_actors.structuring import is_plain, structure
from asm_actors.tools.context import ToolContext
from asm_actors.tools.docstrings import description_of
from asm_actors.tools.schema import parameters_of

__all__ = ["TIMEOUT_S", "Tool", "tool", "tools_by_name"]

TIMEOUT_S: Final = 60.0
"""Seconds that a call may take unless the tool says otherwise."""
# What all model APIs take as a name.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@frozen
class Tool:
    """A function that a model may call. Calling the tool calls the function.

    Attributes:
        name: Its name, letters, digits, ``_`` and ``-``, at most 64.
        description: What it does, for the model.
        input_schema: JSON Schema of its arguments: an object with ``properties`` and ``required``.
        function: The function; it gets the arguments by name. A coroutine function is awaited, any other one runs on a
            thread of a bounded pool.
        safe_to_repeat: Whether a call whose outcome was lost in a crash may simply be made again.
        timeout: Seconds that one call may take; None for no bound. Of a plain function they count from when it has got
            a thread; one whose time is over is left behind, for its thread cannot be stopped.
        requires_approval: Whether each call waits until somebody has granted it, whatever the run's policy says.
        types: Of the arguments whose values are made from JSON (instances of classes, dates, …): their types.
        context_parameter: Name of the parameter that takes the `ToolContext`; None: it takes none.

    Raises:
        ValidationError: A field is malformed; the message names it.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any] = field(hash=False)
    function: Callable[..., Any]
    safe_to_repeat: bool = False
    timeout: float | None = TIMEOUT_S
    requires_approval: bool = False
    types: Mapping[str, Any] = field(factory=dict, eq=False, repr=False)
    context_parameter: str | None = field(init=False, eq=False, repr=False)
    _checker: Checker = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or _NAME.fullmatch(self.name) is None:
            raise invalid("the name of a tool", "must be 1 to 64 letters, digits, _ and -", self.name)
        if not isinstance(self.description, str):
            raise invalid("description", "must be a text", self.description)
        if not isinstance(self.input_schema, Mapping):
            raise invalid("input_schema", "must be a JSON Schema, a map", self.input_schema)
        json_map(self.input_schema, "input_schema")
        if self.input_schema.get("type", "object") != "object":
            raise invalid("input_schema", "must be that of an object", self.input_schema.get("type"))
        if not callable(self.function):
            raise invalid("function", "must be callable", self.function)
        for name in ("safe_to_repeat", "requires_approval"):
            if type(getattr(self, name)) is not bool:
                raise invalid(name, "must be True or False", getattr(self, name))
        if self.timeout is not None and (
            isinstance(self.timeout, bool)
            or not isinstance(self.timeout, int | float)
            or not 0 < self.timeout < inf
        ):
            raise invalid("timeout", "must be seconds greater than 0, or None", self.timeout)
        set_once = object.__setattr__
        set_once(self, "_checker", _checker_of(self))
        set_once(self, "context_parameter", _context_parameter(self.function))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(
            getattr(self.function, "__call__", None)  # noqa: B004 - an object with an `async def __call__`
        )

    def to_map(self) -> dict[str, Any]:
        """Return what a model is told of it: ``name description input_schema``."""
        return {
            "name": self.name,
            "description": self.description,
            "input_schema": dict(self.input_schema),
        }

    def fault_of(self, arguments: Mapping[str, Any]) -> str | None:
        """Return what is wrong with a call's arguments, for the model, or None."""
        properties = self.input_schema.get("properties") or {}
        missing = [name for name in self.input_schema.get("required") or () if name not in arguments]
        unknown: list[str] = []
        if self.input_schema.get("additionalProperties", True) is False:
            unknown = [name for name in arguments if name not in properties]
        parts = []
        if missing:
            parts.append(f"missing: {', '.join(missing)}")
        if unknown:
            parts.append(f"unknown: {', '.join(unknown)}")
        if not parts:
            parts = self._checker.faults(arguments)
        if not parts and self.types:
            try:
                self.prepared(arguments)
            except AsmError as error:
                parts = [error.message]
        if not parts:
            return None
        return f"the arguments of {self.name} are wrong ({'; '.join(parts)}); it takes {_listed(properties)}"

    def prepared(self, arguments: Mapping[str, Any], context: ToolContext | None = None) -> dict[str, Any]:
        """Return what the function is called with.

        Args:
            arguments: What the model gave, and the schema allows.
            context: Which call it is; only looked at if the function takes it.

        Raises:
            ValidationError: No value of an argument's type can be made of it; the message names the argument.
        """
        made = dict(arguments)
        for name, hint in self.types.items():
            if name in made:
                try:
                    made[name] = structure(made[name], hint)
                except AsmError as error:
                    raise AsmError(ErrorCode.VALIDATION_ERROR, f"{name}: {error.message}") from error
        if self.context_parameter is not None and context is not None:
            made[self.context_parameter] = context
        return made


def _checker_of(made: Tool) -> Checker:
    try:
        return compile_schema(dict(made.input_schema))
    except AsmError as error:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR,
            f"the input_schema of tool {made.name} is no JSON Schema: {error.message}",
            details={"field": "input_schema"},
        ) from error


def _context_parameter(function: Callable[..., Any]) -> str | None:
    try:
        return parameters_of(function).context
    except AsmError:  # nothing can be read of it, and the schema was given
        return None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


@overload
def tool(  # noqa: D418 - every public name has a docstring here
    function: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    input_schema: Mapping[str, Any] | None = None,
    safe_to_repeat: bool = False,
    timeout: float | None = TIMEOUT_S,
    requires_approval: bool = False,
) -> Callable[[Callable[..., Any]], Tool]:
    """Make a decorator."""


@overload
def tool(  # noqa: D418 - as above
    function: Callable[..., Any],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    input_schema: Mapping[str, Any] | None = None,
    safe_to_repeat: bool = False,
    timeout: float | None = TIMEOUT_S,
    requires_approval: bool = False,
) -> Tool:
    """Make a tool."""


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    input_schema: Mapping[str, Any] | None = None,
    safe_to_repeat: bool = False,
    timeout: float | None = TIMEOUT_S,
    requires_approval: bool = False,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function; also a decorator, with or without arguments.

    Args:
        function: The function.
        name: The tool's name; by default the function's.
        description: What it does; by default the first part of the docstring.
        input_schema: JSON Schema of the arguments; by default made of the signature and of the ``Args`` of the
            docstring (see `tools.schema` for what is known), and then arguments of classes are instances of them. With
            a schema of one's own, arguments are what the model gave.
        safe_to_repeat: See `Tool`.
        timeout: See `Tool`.
        requires_approval: See `Tool`.

    Raises:
        ValidationError: A field is malformed, or the function takes arguments by position only.
    """
    if function is None:
        return lambda given: tool(
            given,
            name=name,
            description=description,
            input_schema=input_schema,
            safe_to_repeat=safe_to_repeat,
            timeout=timeout,
            requires_approval=requires_approval,
        )
    if not callable(function):
        raise invalid("function", "must be callable", function)
    types: Mapping[str, Any] = {}
    if input_schema is None:
        parameters = parameters_of(function)
        input_schema = parameters.schema
        types = {given: hint for given, hint in parameters.types.items() if not is_plain(hint)}
    return Tool(
        name=getattr(function, "__name__", type(function).__name__) if name is None else name,
        description=description_of(function) if description is None else description,
        input_schema=input_schema,
        function=function,
        safe_to_repeat=safe_to_repeat,
        timeout=timeout,
        requires_approval=requires_approval,
        types=types,
    )


def tools_by_name(tools: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """Return tools by their names; functions are made into tools.

    Raises:
        ValidationError: One is neither, or two have the same name.
    """
    if isinstance(tools, str | Mapping) or not isinstance(tools, Iterable):
        raise invalid("tools", "must be a list of tools or functions", tools)
    found: dict[str, Tool] = {}
    for given in tools:
        if not callable(given):
            raise invalid("tools", "must be a list of tools or functions", given)
        made = given if isinstance(given, Tool) else tool(given)
        if made.name in found:
            raise AsmError(ErrorCode.VALIDATION_ERROR, f"two tools have the name {made.name!r}; rename one")
        found[made.name] = made
    return found
