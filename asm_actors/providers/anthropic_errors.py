"""What Anthropic's API says when it refuses, as errors of ours. Pure: no I/O, no SDK."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.normalization.provider_error import ProviderErrorKind
from asm_actors.providers.anthropic_stream import said

__all__ = ["plain_error", "retry_after_of", "root_of", "scrubbed", "status_error", "without_secrets"]

# Characters of what the API says that are kept; a gateway may answer with a whole page.
_MESSAGE_LENGTH: Final = 2000

# What the API says in ``error.type``; asked where the status does not tell: an error in mid-stream comes with
# a 200.
_BY_TYPE: Final[Mapping[str, ErrorCode]] = {
    "api_error": ErrorCode.PROVIDER_UNAVAILABLE,
    "authentication_error": ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
    "billing_error": ErrorCode.PROVIDER_QUOTA_EXCEEDED,
    "conflict_error": ErrorCode.PROVIDER_ERROR,
    "invalid_request_error": ErrorCode.PROVIDER_ERROR,
    "not_found_error": ErrorCode.PROVIDER_ERROR,
    "overloaded_error": ErrorCode.PROVIDER_UNAVAILABLE,
    "permission_error": ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
    "rate_limit_error": ErrorCode.PROVIDER_RATE_LIMITED,
    "request_too_large": ErrorCode.PROVIDER_ERROR,
    "timeout_error": ErrorCode.PROVIDER_TIMEOUT,
}
# Statuses with a meaning of their own. Of the others, 5xx is ``provider_unavailable``, the rest
# ``provider_error``.
_BY_STATUS: Final[Mapping[int, ErrorCode]] = {
    401: ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
    402: ErrorCode.PROVIDER_QUOTA_EXCEEDED,
    403: ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
    408: ErrorCode.PROVIDER_TIMEOUT,
    429: ErrorCode.PROVIDER_RATE_LIMITED,
    501: ErrorCode.PROVIDER_ERROR,
    504: ErrorCode.PROVIDER_TIMEOUT,
}
# What the normal form calls each code, where nothing more is known.
_KINDS: Final[Mapping[ErrorCode, ProviderErrorKind]] = {
    ErrorCode.PROVIDER_AUTHENTICATION_FAILED: ProviderErrorKind.AUTHENTICATION,
    ErrorCode.PROVIDER_ERROR: ProviderErrorKind.INVALID_REQUEST,
    ErrorCode.PROVIDER_QUOTA_EXCEEDED: ProviderErrorKind.QUOTA_EXCEEDED,
    ErrorCode.PROVIDER_RATE_LIMITED: ProviderErrorKind.RATE_LIMIT,
    ErrorCode.PROVIDER_TIMEOUT: ProviderErrorKind.TIMEOUT,
    ErrorCode.PROVIDER_UNAVAILABLE: ProviderErrorKind.SERVER_ERROR,
}
# Words in the API's machine-readable cause, or in its message, that speak of money and not of the request.
_QUOTA_WORDS: Final = ("spend_limit", "billing", "credit balance")


def retry_after_of(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a response asks to wait, from ``retry-after-ms`` or ``retry-after``.

    A date is taken relative to the response's own ``date``, so that clocks need not agree.

    Args:
        headers: the response's headers, names in lower case or in a map that ignores case.
        now: what a date is relative to if the response has none; by default the present.
    """
    milliseconds, plain = headers.get("retry-after-ms"), headers.get("retry-after")
    for text, unit in ((milliseconds, 0.001), (plain, 1.0)):
        try:
            seconds = float(text or "") * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    until = _date(plain)
    if until is None:
        return None
    since = _date(headers.get("date")) or now or datetime.now(UTC)
    return max(0.0, (until - since).total_seconds())


def status_error(error: Any, secret: str | None) -> AsmError:
    """Make the error for an answer that is none: of the SDK's ``APIStatusError``.

    Args:
        error: with ``status_code body message response``.
        secret: a text that must not appear in the result.
    """
    status = error.status_code
    body = _map_in(error.body, "error")
    kind, cause = str(body.get("type")), _map_in(body, "details").get("error_code")
    message = scrubbed(str(body.get("message") or error.message)[:_MESSAGE_LENGTH], secret)
    code = _BY_STATUS.get(status) or _BY_TYPE.get(kind)
    if code is None:
        code = ErrorCode.PROVIDER_UNAVAILABLE if status >= 500 else ErrorCode.PROVIDER_ERROR
    if any(word in f"{cause} {message}".lower() for word in _QUOTA_WORDS):
        code = ErrorCode.PROVIDER_QUOTA_EXCEEDED
    overloaded = status == 529 or kind == "overloaded_error"
    headers = error.response.headers
    details = {
        "status": status,
        "error_type": body.get("type"),
        "error_code": cause,
        "request_id": headers.get("request-id"),
    }
    return AsmError(
        code,
        f"the provider answered {status}: {message}" if status >= 400 else f"the provider failed: {message}",
        details={name: value for name, value in details.items() if value is not None},
        provider_error=said(ProviderErrorKind.OVERLOADED if overloaded else _KINDS[code], message),
        retry_after=retry_after_of(headers),
    )


def plain_error(code: ErrorCode, message: str, kind: ProviderErrorKind | None = None) -> AsmError:
    """Make an error of which no more is known than its code."""
    return AsmError(code, message, provider_error=said(kind or _KINDS[code], message))


def _map_in(outer: object, name: str) -> Mapping[str, Any]:
    inner = outer.get(name) if isinstance(outer, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def root_of(error: BaseException) -> str:
    """Return the deepest text there is: the SDK itself only says that there was a connection error."""
    found = str(error)
    link: BaseException | None = error
    while link is not None:
        found = str(link) or found
        link = link.__cause__ or link.__context__
    return found


def scrubbed(text: str, secret: str | None) -> str:
    """Return a text without a secret."""
    return text.replace(secret, "[key]") if secret else text


def without_secrets(url: str) -> str:
    """Return an address without who may use it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
