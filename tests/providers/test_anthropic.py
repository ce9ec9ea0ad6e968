from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from asm_actors.errors import AsmError, ErrorCategory, ErrorCode
from asm_actors.normalization.provider_error import ProviderErrorInfo
from asm_actors.providers.anthropic import AnthropicProvider, error_from, retry_after_of

KEY = "sk-ant-secret-0123456789"


@pytest.fixture(scope="module")
def sdk():
    return importlib.import_module("anthropic")


@pytest.fixture(scope="module")
def http(sdk):
    """The HTTP library below the SDK, whatever its name is in this version."""
    bases = sdk.DefaultAsyncHttpxClient.__mro__
    return next(
        module for kind in bases if (module := sys.modules[kind.__module__]).__name__.startswith("httpx")
    )


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


# Configuration ------------------------------------------------------------------------------------------------


def test_without_a_key_check_says_what_to_do():
    with pytest.raises(AsmError) as caught:
        AnthropicProvider().check()
    error = caught.value
    assert error.code is ErrorCode.PROVIDER_AUTHENTICATION_FAILED
    assert "ANTHROPIC_API_KEY" in error.message
    assert "api_key=" in error.message
    assert error.provider_error["kind"] == "authentication"


def test_without_a_key_it_does_not_open():
    with pytest.raises(AsmError) as caught:
        asyncio.run(AnthropicProvider().open())
    assert caught.value.code is ErrorCode.PROVIDER_AUTHENTICATION_FAILED


def test_the_key_may_come_from_the_environment_and_later(monkeypatch):
    provider = AnthropicProvider()
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    provider.check()


def test_the_base_url_is_the_argument_then_the_environment(monkeypatch):
    assert AnthropicProvider().base_url is None
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://env")
    assert AnthropicProvider().base_url == "http://env"
    assert AnthropicProvider(base_url="http://arg").base_url == "http://arg"


def test_a_given_client_needs_no_key(sdk):
    AnthropicProvider(client=sdk.AsyncAnthropic(api_key=KEY)).check()


def test_secrets_do_not_show():
    provider = AnthropicProvider(
        api_key=KEY,
        base_url="https://user:password@proxy.test/v?token=abc",
        default_headers={"x-secret": KEY},
    )
    shown = repr(provider)
    assert shown == (
        "AnthropicProvider(name='anthropic', model='claude-haiku-4-5', base_url='https://proxy.test/v')"
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"idle_timeout": 0},
        {"connect_timeout": float("nan")},
        {"max_tokens": 0},
        {"thinking": 12},
        {"thinking": "loud"},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(AsmError) as caught:
        AnthropicProvider(**settings)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_the_manifest_says_what_claude_can_do():
    manifest = AnthropicProvider(name="claude").capabilities()
    assert manifest.provider == "claude"
    assert {capability.name for capability in manifest.capabilities} == {
        "streaming",
        "tool_use",
        "vision",
        "system_prompts",
        "interrupt",
    }


def test_importing_and_making_a_provider_does_not_import_the_sdk():
    code = (
        "import sys; from asm_actors.providers.anthropic import AnthropicProvider;"
        "AnthropicProvider(api_key='k').check(); sys.exit('anthropic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Errors -------------------------------------------------------------------------------------------------------


def make_response(http, status=400, **headers):
    request = http.Request("POST", "https://api.test/v1/messages")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.Response(status, request=request, headers=named)


def make_status_error(sdk, http, status, body=None, kind=None, **headers):
    kind = kind or sdk.APIStatusError
    return kind("the message", response=make_response(http, status, **headers), body=body)


def api_body(kind, message="said", **details):
    return {"type": "error", "error": {"type": kind, "message": message, "details": details}}


# Every exception class of the SDK itself, and the code it becomes.
EXPECTED = {
    "APIConnectionError": ErrorCode.PROVIDER_UNAVAILABLE,
    "APIError": ErrorCode.PROVIDER_ERROR,
    "APIResponseValidationError": ErrorCode.PROVIDER_ERROR,
    "APIStatusError": ErrorCode.PROVIDER_ERROR,
    "APITimeoutError": ErrorCode.PROVIDER_TIMEOUT,
    "APIWebhookValidationError": ErrorCode.PROVIDER_ERROR,
    "AnthropicError": ErrorCode.PROVIDER_ERROR,
    "AuthenticationError": ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
    "BadRequestError": ErrorCode.PROVIDER_ERROR,
    "ClientClosedRequestError": ErrorCode.PROVIDER_ERROR,
    "ConflictError": ErrorCode.PROVIDER_ERROR,
    "ContentTooLargeError": ErrorCode.PROVIDER_ERROR,
    "CredentialsError": ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
    "GatewayTimeoutError": ErrorCode.PROVIDER_TIMEOUT,
    "HTTPNotImplementedError": ErrorCode.PROVIDER_ERROR,
    "IdentityTokenFileError": ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
    "InternalServerError": ErrorCode.PROVIDER_UNAVAILABLE,
    "NotFoundError": ErrorCode.PROVIDER_ERROR,
    "OverloadedError": ErrorCode.PROVIDER_UNAVAILABLE,
    "PaymentRequiredError": ErrorCode.PROVIDER_QUOTA_EXCEEDED,
    "PermissionDeniedError": ErrorCode.PROVIDER_AUTHENTICATION_FAILED,
    "PreconditionFailedError": ErrorCode.PROVIDER_ERROR,
    "RateLimitError": ErrorCode.PROVIDER_RATE_LIMITED,
    "RequestHeaderFieldsTooLargeError": ErrorCode.PROVIDER_ERROR,
    "RequestTimeoutError": ErrorCode.PROVIDER_TIMEOUT,
    "RetryableError": ErrorCode.PROVIDER_ERROR,
    "ServiceUnavailableError": ErrorCode.PROVIDER_UNAVAILABLE,
    "UnprocessableEntityError": ErrorCode.PROVIDER_ERROR,
}


def family(kind):
    return {kind}.union(*(family(child) for child in kind.__subclasses__()))


def own_exceptions(sdk):
    """The classes of the SDK's own module; more are made from the API's list of causes."""
    home = vars(importlib.import_module("anthropic._exceptions")).values()
    kinds = [kind for kind in home if isinstance(kind, type) and issubclass(kind, sdk.AnthropicError)]
    return {kind.__name__: kind for kind in kinds}


def instance(sdk, http, kind):
    if issubclass(kind, sdk.APIStatusError):
        status = getattr(kind, "status_code", 500 if issubclass(kind, sdk.InternalServerError) else 418)
        return make_status_error(sdk, http, status, kind=kind)
    request = http.Request("POST", "https://api.test")
    if issubclass(kind, sdk.APIResponseValidationError):
        return kind(make_response(http, 200), None)
    if issubclass(kind, sdk.APITimeoutError):
        return kind(request)
    if issubclass(kind, sdk.APIConnectionError):
        return kind(request=request)
    if issubclass(kind, sdk.APIError):
        return kind("text", request, body=None)
    return kind("text")


def test_the_map_names_every_exception_of_the_sdk(sdk):
    assert set(own_exceptions(sdk)) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_exception_of_the_sdk_has_its_code(sdk, http, name):
    error = error_from(instance(sdk, http, own_exceptions(sdk)[name]))
    assert error.code is EXPECTED[name]
    assert ProviderErrorInfo.from_map(error.provider_error).to_map() == error.provider_error
    assert error.provider_error["provider"] == "claude"


def test_every_further_class_for_a_cause_the_api_names_is_mapped_too(sdk, http):
    causes = family(sdk.APIStatusError) - set(own_exceptions(sdk).values())
    assert causes
    for kind in causes:
        assert error_from(instance(sdk, http, kind)).category is ErrorCategory.PROVIDER


def test_the_transport_below_the_sdk_is_mapped_as_well(http):
    for kind in family(http.HTTPError):
        made = kind.__new__(kind)
        error = error_from(made)
        timed_out = issubclass(kind, http.TimeoutException)
        assert error.code is (ErrorCode.PROVIDER_TIMEOUT if timed_out else ErrorCode.PROVIDER_UNAVAILABLE)
        assert error.retryable


@pytest.mark.parametrize(
    ("status", "code", "retryable", "kind"),
    [
        (400, ErrorCode.PROVIDER_ERROR, False, "invalid_request"),
        (401, ErrorCode.PROVIDER_AUTHENTICATION_FAILED, False, "authentication"),
        (402, ErrorCode.PROVIDER_QUOTA_EXCEEDED, False, "quota_exceeded"),
        (403, ErrorCode.PROVIDER_AUTHENTICATION_FAILED, False, "authentication"),
        (404, ErrorCode.PROVIDER_ERROR, False, "invalid_request"),
        (408, ErrorCode.PROVIDER_TIMEOUT, True, "timeout"),
        (413, ErrorCode.PROVIDER_ERROR, False, "invalid_request"),
        (422, ErrorCode.PROVIDER_ERROR, False, "invalid_request"),
        (429, ErrorCode.PROVIDER_RATE_LIMITED, True, "rate_limit"),
        (500, ErrorCode.PROVIDER_UNAVAILABLE, True, "server_error"),
        (502, ErrorCode.PROVIDER_UNAVAILABLE, True, "server_error"),
        (503, ErrorCode.PROVIDER_UNAVAILABLE, True, "server_error"),
        (504, ErrorCode.PROVIDER_TIMEOUT, True, "timeout"),
        (529, ErrorCode.PROVIDER_UNAVAILABLE, True, "overloaded"),
    ],
)
def test_each_status_has_its_code(sdk, http, status, code, retryable, kind):
    error = error_from(make_status_error(sdk, http, status))
    assert (error.code, error.retryable, error.provider_error["kind"]) == (code, retryable, kind)
    assert error.details["status"] == status


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("api_error", ErrorCode.PROVIDER_UNAVAILABLE),
        ("authentication_error", ErrorCode.PROVIDER_AUTHENTICATION_FAILED),
        ("billing_error", ErrorCode.PROVIDER_QUOTA_EXCEEDED),
        ("invalid_request_error", ErrorCode.PROVIDER_ERROR),
        ("overloaded_error", ErrorCode.PROVIDER_UNAVAILABLE),
        ("permission_error", ErrorCode.PROVIDER_AUTHENTICATION_FAILED),
        ("rate_limit_error", ErrorCode.PROVIDER_RATE_LIMITED),
        ("timeout_error", ErrorCode.PROVIDER_TIMEOUT),
        ("never_heard_of", ErrorCode.PROVIDER_ERROR),
    ],
)
def test_an_error_in_mid_stream_goes_by_its_type(sdk, http, kind, code):
    error = error_from(make_status_error(sdk, http, 200, api_body(kind, "what happened")))
    assert error.code is code
    assert error.message == "the provider failed: what happened"
    assert error.details["error_type"] == kind


def test_every_error_type_the_sdk_knows_is_in_the_map(sdk):
    from typing import get_args

    from asm_actors.providers.anthropic_errors import _BY_TYPE

    known = set(get_args(importlib.import_module("anthropic.types.shared.error_type").ErrorType))
    of_other_endpoints = {"memory_precondition_failed_error", "memory_path_conflict_error"}
    assert known - of_other_endpoints <= set(_BY_TYPE)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, api_body("invalid_request_error", "Your credit balance is too low to access the API.")),
        (400, api_body("invalid_request_error", error_code="enforced_spend_limit_reached")),
        (429, api_body("rate_limit_error", error_code="contract_spend_limit_reached")),
        (403, api_body("permission_error", error_code="user_profile_billing_not_authorized")),
    ],
)
def test_trouble_with_money_is_a_spent_quota_whatever_the_status(sdk, http, status, body):
    error = error_from(make_status_error(sdk, http, status, body))
    assert (error.code, error.retryable) == (ErrorCode.PROVIDER_QUOTA_EXCEEDED, False)


@pytest.mark.parametrize(
    "body", [None, "text", {}, {"error": None}, {"error": "text"}, {"error": {"details": 3}}]
)
def test_a_body_of_any_shape_is_read(sdk, http, body):
    error = error_from(make_status_error(sdk, http, 418, body))
    assert (error.code, error.details) == (ErrorCode.PROVIDER_ERROR, {"status": 418})


def test_a_page_of_text_is_cut(sdk, http):
    error = error_from(make_status_error(sdk, http, 502, api_body("api_error", "x" * 10_000)))
    assert len(error.message) < 2100


def test_an_error_names_the_request(sdk, http):
    error = error_from(make_status_error(sdk, http, 500, request_id="req_1"))
    assert error.details["request_id"] == "req_1"


def test_the_key_is_taken_out_of_whatever_the_provider_says(sdk, http):
    said = api_body("authentication_error", f"invalid x-api-key {KEY}")
    for error in (
        error_from(make_status_error(sdk, http, 401, said), secret=KEY),
        error_from(sdk.AnthropicError(f"bad {KEY}"), secret=KEY),
        error_from(ValueError(KEY), secret=KEY),
        error_from(http.ConnectError(f"proxy refused {KEY}"), secret=KEY),
    ):
        assert KEY not in f"{error.to_map()}"
        assert "[key]" in error.message


def test_a_connection_error_says_what_the_system_said(sdk, http):
    try:
        try:
            raise OSError("Connection refused")
        except OSError as cause:
            raise sdk.APIConnectionError(request=http.Request("POST", "https://api.test")) from cause
    except sdk.APIConnectionError as error:
        mapped = error_from(error)
    assert mapped.message == "the provider cannot be reached: Connection refused"
    assert mapped.provider_error["kind"] == "connection_error"


def test_what_nobody_raises_on_purpose_is_not_mapped():
    assert error_from(RuntimeError("defect")) is None
    assert error_from(KeyError("defect")) is None


# Retry-After --------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT", "date": "Fri, 20 Nov 2026 12:00:20 GMT"}, 10.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_is_seconds_milliseconds_or_a_date(headers, seconds):
    assert retry_after_of(headers, NOW) == seconds


def test_a_date_without_any_reference_is_taken_from_the_present():
    assert retry_after_of({"retry-after": "Fri, 20 Nov 1998 12:00:30 GMT"}) == 0.0


def test_the_error_carries_it(sdk, http):
    assert error_from(make_status_error(sdk, http, 429, retry_after="12")).retry_after == 12.0
    assert error_from(make_status_error(sdk, http, 529, retry_after_ms="1500")).retry_after == 1.5
    assert error_from(make_status_error(sdk, http, 500)).retry_after is None
