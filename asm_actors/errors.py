"""Every error this project raises, in one tree.

::

    AsmError                 whose fault, and what to do
    ├─ ValidationError       the caller's: the request is malformed
    ├─ StateError            the caller's: legal in another state
    ├─ ResourceError         the caller's: it names something absent, or something that is already there
    ├─ ProviderError         the model API's, or the CLI's
    ├─ StorageError          the journal's, or a dependency's
    ├─ RuntimeFailure        the run's own end (deadline, cancel, policy), or a defect of ours
    ├─ ConcurrencyError      a limit: come back later, or ask for less
    └─ ToolError             a tool's, or a command's

Classes say whose fault it is; the ``code`` says what happened. The list of codes is closed
(``asm_actors.error_codes``): whoever branches on an error compares ``error.code`` with an :class:`ErrorCode`,
and may retry when ``error.retryable`` is true.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from asm_actors.error_codes import (
    CATEGORIES,
    DEFAULT_MESSAGES,
    RETRYABLE,
    ErrorCategory,
    ErrorCode,
    category_of,
    codes_in,
    is_valid_code,
)
from asm_actors.jsonable import jsonable, shown, stringify_keys

__all__ = [
    "DEFAULT_MESSAGES",
    "RETRYABLE",
    "AsmError",
    "ConcurrencyError",
    "ErrorCategory",
    "ErrorCode",
    "ProviderError",
    "ResourceError",
    "RuntimeFailure",
    "StateError",
    "StorageError",
    "ToolError",
    "ValidationError",
    "category_of",
    "codes_in",
    "is_retryable",
    "is_valid_code",
    "text_of",
]


def is_retryable(error: AsmError | str) -> bool:
    """Tell whether trying again may help: asks the error, or the code's own rule."""
    return error.retryable if isinstance(error, AsmError) else error in RETRYABLE


class AsmError(Exception):
    """The root of the tree. ``AsmError(code)`` and ``AsmError.of(code)`` both make the class of the category.

    Attributes:
        code: what happened.
        category: whose fault it is; follows from the code.
        retryable: whether the same request may succeed later.
        message: one sentence for a human reader.
        details: facts about this case, JSON-ready in :meth:`to_map`.
        provider_error: what the provider itself said, in its normal form, or None.
        context: where it happened, such as ``session_id`` and ``run_id``.
        retry_after: seconds to wait before trying again, or None if nobody said.
        timestamp: when it happened (aware, UTC), or None: making an error reads no clock.
    """

    code: ErrorCode
    category: ErrorCategory
    retryable: bool
    message: str
    details: dict[str, Any]
    provider_error: dict[str, Any] | None
    context: dict[str, Any]
    retry_after: float | None
    timestamp: datetime | None

    def __new__(cls, code: ErrorCode | str = ErrorCode.UNKNOWN_ERROR, *_: Any, **__: Any) -> Self:
        """Pick the subclass of the code's category when the root itself is called."""
        if cls is AsmError:
            kind = _CLASSES.get(category_of(code), AsmError)
            return super().__new__(kind)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(
        self,
        code: ErrorCode | str,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        provider_error: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        if code not in CATEGORIES:
            # A defect of whoever raises it, not of the caller: the list is closed.
            raise ValueError(f"{shown(code)} is no error code")
        self.code = ErrorCode(code)
        self.category = self.code.category
        fitting = _CLASSES[self.category]
        if type(self) is not fitting and type(self) in _CLASSES.values():
            raise ValueError(f"{code} makes a {fitting.__name__}, not a {type(self).__name__}")
        self.message = self.code.default_message if message is None else message
        self.retryable = self.code in RETRYABLE if retryable is None else retryable
        self.details = dict(details or {})
        self.provider_error = None if provider_error is None else dict(provider_error)
        self.context = dict(context or {})
        self.retry_after = retry_after
        self.timestamp = timestamp
        super().__init__(self.code, self.message)

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code.value!r}, {self.message!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AsmError):
            return NotImplemented
        return self is other or self.to_map() == other.to_map()

    def __hash__(self) -> int:
        return hash((self.code, self.message))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their positional arguments; the keyword ones travel as the state.
        return type(self), (self.code, self.message), self.__dict__.copy()

    @classmethod
    def of(cls, code: ErrorCode | str, message: str | None = None, **fields: Any) -> AsmError:
        """Make an error of the class that fits ``code``, whatever class this is called on.

        Args:
            code: one of :class:`ErrorCode`.
            message: the text; by default that of the code.
            **fields: the keyword arguments of the constructor.
        """
        return AsmError(code, message, **fields)

    @classmethod
    def wrap(cls, code: ErrorCode | str, exception: BaseException, message: str | None = None) -> AsmError:
        """Make an error out of a foreign exception, which becomes its ``__cause__``.

        The exception's type is kept in ``details["original_exception"]``; if ``message`` replaces its text,
        that text is kept in ``details["original_message"]``.
        """
        original = text_of(exception)
        details = {"original_exception": f"{type(exception).__module__}.{type(exception).__qualname__}"}
        if message is not None:
            details["original_message"] = original
        error = AsmError(code, message or original or None, details=details)
        error.__cause__ = exception
        return error

    def to_map(self) -> dict[str, Any]:
        """Return the error as a JSON-ready map; ``category`` and ``retryable`` are there for readers."""
        return {
            "code": self.code.value,
            "category": self.category.value,
            "retryable": self.retryable,
            "message": jsonable(self.message),
            "details": stringify_keys(self.details),
            "provider_error": None if self.provider_error is None else stringify_keys(self.provider_error),
            "context": stringify_keys(self.context),
            "retry_after": jsonable(self.retry_after),
            "timestamp": None if self.timestamp is None else self.timestamp.isoformat(),
        }

    def to_record(self) -> dict[str, Any]:
        """Return what the record of a failed run keeps.

        That is ``{code, message}``, with ``provider_error`` and ``details`` if any.
        """
        return {"code": self.code.value, "message": jsonable(self.message), **self._extras()}

    def to_payload(self) -> dict[str, Any]:
        """Return the payload of an event that tells of this error.

        That is ``{error_code, error_message}``, with ``provider_error`` and ``details`` if any.
        """
        return {"error_code": self.code.value, "error_message": jsonable(self.message), **self._extras()}

    def _extras(self) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if self.provider_error:
            extras["provider_error"] = stringify_keys(self.provider_error)
        if self.details:
            extras["details"] = stringify_keys(self.details)
        return extras

    @classmethod
    def from_map(cls, value: Any) -> AsmError:
        """Read what :meth:`to_map` wrote. ``code`` and ``message`` are required.

        Raises:
            ValidationError: the map, or a field in it, is malformed.
        """
        if not isinstance(value, Mapping):
            raise _malformed("an error is read from a map", value)
        code, message = value.get("code"), value.get("message")
        if not isinstance(code, str) or not is_valid_code(code):
            raise _malformed("an error needs a code from the list", code)
        if not isinstance(message, str):
            raise _malformed("an error needs a text in 'message'", message)
        retryable, retry_after = value.get("retryable"), value.get("retry_after")
        if retryable is not None and not isinstance(retryable, bool):
            raise _malformed("'retryable' is true, false or null", retryable)
        if retry_after is not None and (
            isinstance(retry_after, bool)
            or not isinstance(retry_after, int | float)
            or not 0 <= retry_after < math.inf
        ):
            raise _malformed("'retry_after' is a number of seconds or null", retry_after)
        return AsmError(
            code,
            message,
            details=_map_or_none(value, "details"),
            provider_error=_map_or_none(value, "provider_error"),
            context=_map_or_none(value, "context"),
            retry_after=retry_after,
            retryable=retryable,
            timestamp=_time_or_none(value.get("timestamp")),
        )


class ValidationError(AsmError):
    """The request is malformed; asking again in the same way gives the same error."""


class StateError(AsmError):
    """The request would be legal in another state of what it names."""


class ResourceError(AsmError):
    """The request names something absent, or would make something that is already there."""


class ProviderError(AsmError):
    """The model API or the CLI behind a provider failed."""


class StorageError(AsmError):
    """The journal, or something this process depends on, failed."""


class RuntimeFailure(AsmError):  # noqa: N818 - the name RuntimeError is the language's
    """The run ended by its deadline, a cancel or a policy; or something inside went wrong."""


class ConcurrencyError(AsmError):
    """A limit is reached, or the operation does not fit what is going on."""


class ToolError(AsmError):
    """A tool or a command failed, is absent, or may not be used."""


_CLASSES: Final[Mapping[ErrorCategory, type[AsmError]]] = {
    ErrorCategory.VALIDATION: ValidationError,
    ErrorCategory.STATE: StateError,
    ErrorCategory.RESOURCE: ResourceError,
    ErrorCategory.PROVIDER: ProviderError,
    ErrorCategory.STORAGE: StorageError,
    ErrorCategory.RUNTIME: RuntimeFailure,
    ErrorCategory.CONCURRENCY: ConcurrencyError,
    ErrorCategory.TOOL: ToolError,
}


def text_of(exception: BaseException) -> str:
    """Return the text of any exception; an empty one where it has none, or cannot make it."""
    try:
        return str(exception)
    except BaseException:  # a foreign exception's own __str__ may fail; its type is named anyway
        return ""


def _malformed(rule: str, found: object) -> AsmError:
    return AsmError(ErrorCode.VALIDATION_ERROR, f"{rule}, not {shown(found)}")


def _map_or_none(value: Mapping[Any, Any], name: str) -> Mapping[str, Any] | None:
    found = value.get(name)
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise _malformed(f"'{name}' is a map or null", found)
    return stringify_keys(found)


def _time_or_none(found: object) -> datetime | None:
    if found is None:
        return None
    if isinstance(found, str):
        try:
            time = datetime.fromisoformat(found)
            if time.tzinfo is not None:
                return time.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise _malformed("'timestamp' is ISO-8601 text with an offset, or null", found)
