"""What a provider says when it fails, in one form for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from asm_actors.config import ERROR_TEXT_MAX_BYTES, ERROR_TEXT_MAX_LINES
from asm_actors.errors import AsmError, ErrorCategory, ErrorCode
from asm_actors.jsonable import INT_MAX, INT_MIN, jsonable, stringify_keys
from asm_actors.serialization import Fields, check_id

__all__ = ["DEFAULT_PROVIDER_MESSAGE", "ProviderErrorInfo", "ProviderErrorKind", "clip_error", "sign"]

DEFAULT_PROVIDER_MESSAGE: Final = "Provider execution failed"
"""The message of an error about which the provider said nothing."""

UNKNOWN_PROVIDER: Final = "unknown"
"""The provider of an error that nobody signed."""

_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]{1,19}\s*", re.ASCII)
# What moves into the normal form leaves the details.
_MOVED: Final = frozenset({"stderr", "exit_code", "exit_status"})


class ProviderErrorKind(StrEnum):
    """What went wrong between here and the provider."""

    TRANSPORT_EXIT = "transport_exit"
    PROCESS_ERROR = "process_error"
    PARSE_ERROR = "parse_error"
    PROTOCOL_ERROR = "protocol_error"
    CLI_NOT_FOUND = "cli_not_found"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    AUTHENTICATION = "authentication"
    QUOTA_EXCEEDED = "quota_exceeded"
    INVALID_REQUEST = "invalid_request"
    CONNECTION_ERROR = "connection_error"
    SERVER_ERROR = "server_error"
    UNKNOWN = "unknown"


@frozen
class ProviderErrorInfo:
    """A provider's failure in its normal form: exactly these six fields.

    Attributes:
        provider: who failed, or ``unknown``.
        kind: what went wrong.
        message: one sentence.
        exit_code: that of its process, if it had one.
        stderr: the beginning of its error output, if there was any.
        truncated: True if ``stderr`` is not the whole of it, else None.
    """

    provider: str = UNKNOWN_PROVIDER
    kind: ProviderErrorKind = ProviderErrorKind.UNKNOWN
    message: str = DEFAULT_PROVIDER_MESSAGE
    exit_code: int | None = None
    stderr: str | None = None
    truncated: bool | None = None

    @classmethod
    def normalize(
        cls,
        provider: object,
        attributes: Mapping[str, Any],
        *,
        details: Mapping[str, Any] | None = None,
        max_lines: int = ERROR_TEXT_MAX_LINES,
        max_bytes: int = ERROR_TEXT_MAX_BYTES,
    ) -> tuple[ProviderErrorInfo, dict[str, Any]]:
        """Make the normal form out of whatever is known. It never raises: its callers are failing already.

        Args:
            provider: its name; anything else becomes ``unknown``.
            attributes: ``kind message exit_code stderr truncated``, each optional, of any type.
            details: further facts; ``exit_code`` (or ``exit_status``) and ``stderr`` are looked for here too.
            max_lines: lines of ``stderr`` kept.
            max_bytes: bytes of ``stderr`` kept, after the lines; characters stay whole.

        Returns:
            The normal form, and the JSON-ready details without what moved into it.
        """
        rest = stringify_keys(details) if isinstance(details, Mapping) else {}
        given = attributes if isinstance(attributes, Mapping) else {}
        raw_stderr = given.get("stderr") if given.get("stderr") is not None else _raw(details, "stderr")
        stderr, was_cut = _clip(raw_stderr, max_lines, max_bytes)
        info = cls(
            provider=_provider(provider),
            kind=_kind(given.get("kind")),
            message=_message(given.get("message"), stderr),
            exit_code=_first_integer(given.get("exit_code"), rest.get("exit_code"), rest.get("exit_status")),
            stderr=stderr,
            truncated=True if was_cut or given.get("truncated") is True else None,
        )
        return info, {key: value for key, value in rest.items() if key not in _MOVED}

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map with exactly six keys."""
        return {
            "provider": self.provider,
            "kind": self.kind.value,
            "message": self.message,
            "exit_code": self.exit_code,
            "stderr": self.stderr,
            "truncated": self.truncated,
        }

    @classmethod
    def from_map(cls, value: Any) -> ProviderErrorInfo:
        """Read what :meth:`to_map` wrote; absent fields have their defaults.

        Raises:
            ValidationError: the map, or a field in it, is malformed.
        """
        fields = Fields(value, "provider error")
        return cls(
            provider=fields.optional_id("provider") or UNKNOWN_PROVIDER,
            kind=_kind(fields.optional_text("kind")),
            message=fields.optional_text("message") or DEFAULT_PROVIDER_MESSAGE,
            exit_code=fields.optional_integer("exit_code", least=INT_MIN),
            stderr=fields.optional_text("stderr"),
            truncated=True if fields.boolean("truncated", default=False) else None,
        )


def clip_error(error: AsmError, *, max_lines: int, max_bytes: int) -> None:
    """Cut the error output that an error of a provider brings along, so that what is kept of it has a bound.

    Args:
        error: it is changed where it stands; without error output, or with a short one, it stays as it is.
        max_lines: lines that are kept.
        max_bytes: bytes that are kept, after the lines.
    """
    told = error.provider_error
    if told is None or told.get("stderr") is None:
        return
    stderr, was_cut = _clip(told["stderr"], max_lines, max_bytes)
    if was_cut:
        # A new map: an error may be raised for several runs.
        error.provider_error = {**told, "stderr": stderr, "truncated": True}


def sign(error: AsmError, provider: str | None) -> None:
    """Have an error of a provider tell what the provider said in its normal form, also if it had not said anything.

    Args:
        error: it is changed where it stands; one that already tells it, or is no provider's, stays as it is.
        provider: the name of whoever failed, if that is known.
    """
    if error.category is not ErrorCategory.PROVIDER or error.provider_error is not None:
        return
    told = {"kind": _KINDS.get(error.code), "message": error.message}
    info, details = ProviderErrorInfo.normalize(provider, told, details=error.details)
    error.provider_error, error.details = info.to_map(), details


_KINDS: Final[Mapping[ErrorCode, ProviderErrorKind]] = {
    ErrorCode.PROVIDER_TIMEOUT: ProviderErrorKind.TIMEOUT,
    ErrorCode.PROVIDER_RATE_LIMITED: ProviderErrorKind.RATE_LIMIT,
    ErrorCode.PROVIDER_AUTHENTICATION_FAILED: ProviderErrorKind.AUTHENTICATION,
    ErrorCode.PROVIDER_QUOTA_EXCEEDED: ProviderErrorKind.QUOTA_EXCEEDED,
    ErrorCode.PROVIDER_UNAVAILABLE: ProviderErrorKind.CONNECTION_ERROR,
}


def _raw(details: object, key: str) -> object:
    return details.get(key) if isinstance(details, Mapping) else None


def _provider(found: object) -> str:
    try:
        return check_id(found, "provider")
    except AsmError:
        return UNKNOWN_PROVIDER


def _kind(found: object) -> ProviderErrorKind:
    try:
        return ProviderErrorKind(found)  # type: ignore[arg-type]  # anything unknown lands in the except
    except (ValueError, TypeError):
        return ProviderErrorKind.UNKNOWN


def _message(found: object, stderr: str | None) -> str:
    if isinstance(found, str) and found.strip():
        return str(jsonable(found))
    first = next((line.strip() for line in (stderr or "").splitlines() if line.strip()), "")
    return first or DEFAULT_PROVIDER_MESSAGE


def _first_integer(*candidates: object) -> int | None:
    for found in candidates:
        number = _integer(found)
        if number is not None:
            return number
    return None


def _integer(found: object) -> int | None:
    if isinstance(found, str) and _INTEGER.fullmatch(found):
        found = int(found)
    if isinstance(found, int) and not isinstance(found, bool) and INT_MIN <= found <= INT_MAX:
        return int(found)
    return None


def _clip(found: object, max_lines: int, max_bytes: int) -> tuple[str | None, bool]:
    """Return the text within both bounds, and whether anything is missing from it."""
    if found is None:
        return None, False
    text, cut = str(jsonable(found)), not isinstance(found, str | bytes | bytearray)
    lines = text.split("\n", max_lines)
    if len(lines) > max_lines:
        text, cut = "\n".join(lines[:max_lines]), True
    data = text.encode()
    if len(data) > max_bytes:
        # A character cut in the middle is dropped, so what is left is still text.
        text, cut = data[:max_bytes].decode("utf-8", "ignore"), True
    return text, cut
