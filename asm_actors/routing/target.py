"""What a router sends turns to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from attrs import Attribute, field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import Provider, TurnRequest
from asm_actors.providers.items import EMPTY, Item
from asm_actors.serialization import check_id, check_number, invalid

__all__ = ["Target", "target_of"]


def _provider(_instance: object, _attribute: Attribute[Provider], value: Provider) -> None:
    if not isinstance(value, Provider):
        raise invalid("a target", "must be a provider (see asm_actors.Provider)", value)


def _options(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise invalid("a target's options", "must be a map", value)
    return dict(value)


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    seconds = check_number(value, "a target's timeout")
    if not seconds:
        raise invalid("a target's timeout", "must be more than 0 seconds", value)
    return seconds


@frozen(kw_only=True)
class Target:
    """A provider, and how it is asked.

    Attributes:
        provider: The provider. It belongs to its router, which opens and closes it.
        options: Options for it (``adapter_opts``), such as its model; those of a request stand above them.
        timeout: Seconds one turn may take; None: as the provider says.

    Raises:
        ValidationError: A field is malformed.
    """

    provider: Provider = field(validator=_provider)
    options: Mapping[str, Any] = field(default=EMPTY, converter=_options)
    timeout: float | None = field(default=None, converter=_timeout)

    __hash__ = None  # type: ignore[assignment]

    @property
    def seconds(self) -> float | None:
        """Seconds one turn may take, None for no bound."""
        return self.provider.timeout if self.timeout is None else self.timeout

    def problem(self) -> str | None:
        """Say why it cannot work as configured; None: it can."""
        try:
            self.provider.check()
        except AsmError as error:
            return str(error)
        return None

    def stream(self, request: TurnRequest) -> AsyncGenerator[Item, None]:
        """Answer one turn."""
        options = request.options
        if self.options or "routing" in options:
            options = {**self.options, **options}
            if not getattr(self.provider, "is_router", False):
                options.pop("routing", None)  # it was for us; a provider may refuse what it does not know
            request = request._replace(options=options)
        return self.provider.stream(request)


def target_of(name: Any, value: Any) -> tuple[str, Target]:
    """Read one of a router's targets: a provider, a :class:`Target`, or a map with the fields of one.

    Raises:
        ValidationError: The name, or the target, is malformed.
    """
    name = check_id(name, "the name of a target")
    if isinstance(value, Target):
        return name, value
    if isinstance(value, Mapping):
        unknown = [key for key in value if key not in ("provider", "options", "timeout")]
        if unknown or "provider" not in value:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"target {name} is a provider, or a map with provider, and perhaps options and timeout",
                details={"field": "targets"},
            )
        return name, Target(**value)
    return name, Target(provider=value)
