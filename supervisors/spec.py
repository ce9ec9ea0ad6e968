"""What a supervisor is told: child specs and flags, with every rule and every default.

1. A spec or a flag that exists is valid. Each broken rule has its own `SpecError`, raised where it is made.
2. Rules that need both the flags and the children live in `check_specs`. Nothing else validates.
3. Meanings and defaults are OTP's: intensity 1 within 5 seconds, 5 seconds to stop a worker, no bound for a
   supervisor (whose children have bounds of their own).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from enum import Enum, StrEnum
from typing import Any, Final, Literal, TypeAlias, TypeVar

from attrs import Attribute, Factory, field, frozen

from supervisors.backoff import Backoff

__all__ = [
    "BRUTAL_KILL",
    "DEFAULT_INTENSITY",
    "DEFAULT_PERIOD",
    "DEFAULT_WORKER_SHUTDOWN",
    "AutoShutdown",
    "BrutalKill",
    "ChildKind",
    "ChildSpec",
    "Restart",
    "ShutdownTime",
    "SpecError",
    "Strategy",
    "SupervisorFlags",
    "check_specs",
]

DEFAULT_INTENSITY: Final = 1
"""Restarts allowed within the period."""
DEFAULT_PERIOD: Final = 5.0
"""Seconds over which restarts are counted."""
DEFAULT_WORKER_SHUTDOWN: Final = 5.0
"""Seconds a worker may take to stop before it is killed."""


class SpecError(ValueError):
    """A child spec or a supervisor flag breaks a rule.

    Attributes:
        field: Name of the field at fault.
        advice: What to write instead.
    """

    def __init__(self, field: str, problem: str, advice: str) -> None:
        super().__init__(f"{field}: {problem}; {advice}")
        self.field = field
        self.problem = problem
        self.advice = advice

    def __reduce__(self) -> tuple[type[SpecError], tuple[str, str, str]]:
        return SpecError, (self.field, self.problem, self.advice)


class Restart(StrEnum):
    """When an ended child is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Only after an abnormal exit."""
    TEMPORARY = "temporary"
    """Never, not even when a sibling's end took it down."""


class Strategy(StrEnum):
    """Whom the restart of one child takes along."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""
    REST_FOR_ONE = "rest_for_one"
    """The siblings that were started after it."""


class AutoShutdown(StrEnum):
    """Whether the end of significant children ends their supervisor."""

    NEVER = "never"
    """No; then no child may be significant."""
    ANY_SIGNIFICANT = "any_significant"
    """With the first that ends for good."""
    ALL_SIGNIFICANT = "all_significant"
    """With the last that ends for good."""


class ChildKind(StrEnum):
    """What a child is to its supervisor; only counting and the default shutdown time differ."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class BrutalKill(Enum):
    """The type of `BRUTAL_KILL`."""

    BRUTAL_KILL = "brutal_kill"

    def __repr__(self) -> str:
        return self.name


BRUTAL_KILL: Final = BrutalKill.BRUTAL_KILL
"""A shutdown time that gives none: the child is killed without being asked to stop."""

ShutdownTime: TypeAlias = float | Literal[BrutalKill.BRUTAL_KILL] | None
"""Seconds a child may take to stop; None is no bound; `BRUTAL_KILL` is no time at all."""

_E = TypeVar("_E", bound=Enum)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _check_member(owner: object, attribute: Attribute[_E], value: object) -> None:
    """Refuse a plain string or a member of another enum."""
    del owner
    allowed = _ENUMS[attribute.name]
    if not isinstance(value, allowed):
        members = ", ".join(f"{allowed.__name__}.{member.name}" for member in allowed)
        raise SpecError(attribute.name, f"{value!r} is not a {allowed.__name__}", f"use one of {members}")


def _check_intensity(owner: object, attribute: Attribute[int], value: object) -> None:
    del owner
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SpecError(attribute.name, f"{value!r} is not a number of restarts", "use an int of 0 or more")


def _check_period(owner: object, attribute: Attribute[float], value: Any) -> None:
    del owner
    if not _is_number(value) or value <= 0 or math.isinf(value):
        raise SpecError(attribute.name, f"{value!r} is not a span of time", "use seconds greater than 0")


def _check_shutdown(owner: object, attribute: Attribute[ShutdownTime], value: Any) -> None:
    del owner
    if value is None or value is BRUTAL_KILL:
        return
    if not _is_number(value) or value < 0 or math.isinf(value):
        advice = "use seconds of 0 or more, None for no bound, or BRUTAL_KILL"
        raise SpecError(attribute.name, f"{value!r} is not a shutdown time", advice)


def _check_class(owner: object, attribute: Attribute[type[Any]], value: object) -> None:
    del owner
    if not isinstance(value, type):
        advice = "give the class itself, and its arguments as args= and kwargs="
        raise SpecError(attribute.name, f"{value!r} is not a class", advice)


def _check_hashable(owner: object, attribute: Attribute[Hashable], value: object) -> None:
    del owner
    try:
        hash(value)
    except TypeError:
        raise SpecError(attribute.name, f"{value!r} cannot be hashed", "use a str, int or tuple") from None


def _check_significant(owner: ChildSpec, attribute: Attribute[bool], value: object) -> None:
    if not isinstance(value, bool):
        raise SpecError(attribute.name, f"{value!r} is not a bool", "use True or False")
    if value and owner.restart is Restart.PERMANENT:
        raise SpecError(
            attribute.name,
            "a permanent child never ends for good, so it cannot be significant",
            "use Restart.TRANSIENT or Restart.TEMPORARY",
        )


def _check_backoff(owner: object, attribute: Attribute[Backoff | None], value: object) -> None:
    del owner
    if value is not None and not isinstance(value, Backoff):
        raise SpecError(attribute.name, f"{value!r} is not a back-off", "use Backoff(...) or None")


def _args_tuple(args: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(args, (str, bytes)):
        raise SpecError("args", f"{args!r} would be taken apart", "give a tuple: ('text',)")
    return tuple(args)


def _default_shutdown(spec: ChildSpec) -> ShutdownTime:
    return None if spec.kind is ChildKind.SUPERVISOR else DEFAULT_WORKER_SHUTDOWN


@frozen
class ChildSpec:
    """How to start, restart and stop one child.

    Attributes:
        id: Identifies the child within its supervisor.
        actor_class: Class of the actor. One that sets `is_supervisor = True` counts as a supervisor.
        args: Positional arguments of the class, the same for every life.
        kwargs: Keyword arguments of the class.
        restart: When an ended child is started again.
        shutdown: Seconds it may take to stop before it is killed; None for no bound; `BRUTAL_KILL` for no
            time. By default 5 seconds for a worker and no bound for a supervisor.
        significant: Whether its end may end the supervisor; see `AutoShutdown`.
        backoff: Pauses before restarts; None restarts at once.
        name: Registered in the dispatcher's registry for each life of the child; None for no name.

    Raises:
        SpecError: A field breaks its rule.
    """

    id: Hashable = field(validator=_check_hashable)
    actor_class: type[Any] = field(validator=_check_class)
    args: tuple[Any, ...] = field(default=(), converter=_args_tuple)
    kwargs: Mapping[str, Any] = field(factory=dict, converter=dict)
    restart: Restart = field(default=Restart.PERMANENT, validator=_check_member)
    shutdown: ShutdownTime = field(
        default=Factory(_default_shutdown, takes_self=True), validator=_check_shutdown, kw_only=True
    )
    significant: bool = field(default=False, validator=_check_significant, kw_only=True)
    backoff: Backoff | None = field(default=None, validator=_check_backoff, kw_only=True)
    name: Hashable | None = field(default=None, validator=_check_hashable, kw_only=True)

    @property
    def kind(self) -> ChildKind:
        """Worker or supervisor, as the class says."""
        is_supervisor = getattr(self.actor_class, "is_supervisor", False)
        return ChildKind.SUPERVISOR if is_supervisor else ChildKind.WORKER


@frozen
class SupervisorFlags:
    """How a supervisor treats its children as a whole.

    Attributes:
        strategy: Whom a restart takes along.
        intensity: Restarts allowed within `period`; one more and the supervisor gives up.
        period: Seconds over which restarts are counted.
        auto_shutdown: Whether the end of significant children ends the supervisor.

    Raises:
        SpecError: A field breaks its rule.
    """

    strategy: Strategy = field(default=Strategy.ONE_FOR_ONE, validator=_check_member)
    intensity: int = field(default=DEFAULT_INTENSITY, validator=_check_intensity)
    period: float = field(default=DEFAULT_PERIOD, validator=_check_period)
    auto_shutdown: AutoShutdown = field(default=AutoShutdown.NEVER, validator=_check_member)


_ENUMS: Final[Mapping[str, type[Enum]]] = {
    "restart": Restart,
    "strategy": Strategy,
    "auto_shutdown": AutoShutdown,
}


def check_specs(flags: SupervisorFlags, specs: Iterable[ChildSpec]) -> tuple[ChildSpec, ...]:
    """Check the children of one supervisor against its flags and against each other.

    Args:
        flags: The supervisor's flags.
        specs: Its children, in start order.

    Returns:
        The same specs, as a tuple.

    Raises:
        SpecError: An element is no spec, two share an id or a name, or one is significant to a supervisor
            that never shuts itself down.
    """
    checked = tuple(specs)
    ids: set[Hashable] = set()
    names: set[Hashable] = set()
    for spec in checked:
        if not isinstance(spec, ChildSpec):
            raise SpecError("children", f"{spec!r} is not a ChildSpec", "use ChildSpec(id, actor_class, ...)")
        if spec.id in ids:
            raise SpecError("id", f"{spec.id!r} is used by two children", "give each child an id of its own")
        if spec.name is not None and spec.name in names:
            raise SpecError("name", f"{spec.name!r} is used by two children", "give each child its own name")
        if spec.significant and flags.auto_shutdown is AutoShutdown.NEVER:
            raise SpecError(
                "significant",
                f"child {spec.id!r} is significant, but the supervisor's auto_shutdown is never",
                "use AutoShutdown.ANY_SIGNIFICANT or ALL_SIGNIFICANT, or significant=False",
            )
        ids.add(spec.id)
        names.add(spec.name)
    return checked
