"""A provider's failure in its normal form."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError
from asm_actors.normalization.provider_error import ProviderErrorInfo, ProviderErrorKind, sign


def normal(attributes=None, details=None, provider="claude", **bounds):
    return ProviderErrorInfo.normalize(provider, attributes or {}, details=details, **bounds)


def test_nothing_known_gives_the_defaults():
    info, rest = normal(provider=None)
    assert info == ProviderErrorInfo()
    assert rest == {}
    assert info.to_map() == {
        "provider": "unknown",
        "kind": "unknown",
        "message": "Provider execution failed",
        "exit_code": None,
        "stderr": None,
        "truncated": None,
    }


@pytest.mark.parametrize(
    ("provider", "expected"),
    [("claude", "claude"), ("my-own", "my-own"), ("", "unknown"), (3, "unknown"), ("x" * 300, "unknown")],
)
def test_the_provider_is_a_name_or_unknown(provider, expected):
    assert normal(provider=provider)[0].provider == expected


@pytest.mark.parametrize("kind", list(ProviderErrorKind))
def test_known_kinds_are_kept(kind):
    assert normal({"kind": kind.value})[0].kind is kind
    assert normal({"kind": kind})[0].kind is kind


@pytest.mark.parametrize("kind", ["strange", "", None, 3, [], {}])
def test_other_kinds_are_unknown(kind):
    assert normal({"kind": kind})[0].kind is ProviderErrorKind.UNKNOWN


@pytest.mark.parametrize(
    ("attributes", "details", "message"),
    [
        ({"message": "said"}, {}, "said"),
        ({"message": "said", "stderr": "other"}, {}, "said"),
        ({"message": "", "stderr": "first\nsecond"}, {}, "first"),
        ({"message": "  ", "stderr": "\n  first \nsecond"}, {}, "first"),
        ({"message": 3}, {"stderr": "from details"}, "from details"),
        ({"stderr": ""}, {}, "Provider execution failed"),
        ({"message": "a\ud800"}, {}, "a?"),
    ],
)
def test_the_message_is_said_or_found_or_the_default(attributes, details, message):
    assert normal(attributes, details)[0].message == message


@pytest.mark.parametrize(
    ("attributes", "details", "exit_code"),
    [
        ({"exit_code": 3}, {}, 3),
        ({"exit_code": "3"}, {}, 3),
        ({"exit_code": " -9 "}, {}, -9),
        ({"exit_code": 0}, {"exit_code": 5}, 0),
        ({}, {"exit_code": 5}, 5),
        ({}, {"exit_status": "6"}, 6),
        ({"exit_code": "x"}, {"exit_status": 6}, 6),
        ({"exit_code": "1_0"}, {}, None),
        ({"exit_code": "٣"}, {}, None),
        ({"exit_code": 1.0}, {}, None),
        ({"exit_code": True}, {}, None),
        ({"exit_code": 1 << 70}, {}, None),
        ({"exit_code": "9" * 5_000}, {}, None),
    ],
)
def test_the_exit_code_is_an_integer_or_nothing(attributes, details, exit_code):
    assert normal(attributes, details)[0].exit_code == exit_code


@pytest.mark.parametrize(
    ("stderr", "kept", "truncated"),
    [
        ("ab", "ab", None),
        ("a\nb\nc", "a\nb\nc", None),
        ("a\nb\nc\nd", "a\nb\nc", True),
        ("123456789", "12345678", True),
        ("12345678", "12345678", None),
        ("1234567é", "1234567", True),
        ("123456é", "123456é", None),
        ("日本語", "日本", True),
        (b"ab", "ab", None),
        (b"\xff", "\ufffd", None),
        (12, "12", True),
        (["x"], "['x']", True),
    ],
)
def test_error_output_is_clipped_to_lines_then_bytes(stderr, kept, truncated):
    info, _ = normal({"stderr": stderr}, max_lines=3, max_bytes=8)
    assert (info.stderr, info.truncated) == (kept, truncated)


def test_the_bounds_by_default_are_200_lines_and_16_kib():
    assert normal({"stderr": "x\n" * 500})[0].stderr == "\n".join("x" * 200)
    assert len(normal({"stderr": "x" * 20_000})[0].stderr) == 16_384


def test_who_cut_it_before_is_believed():
    assert normal({"stderr": "x", "truncated": True})[0].truncated is True
    assert normal({"stderr": "x", "truncated": "no"})[0].truncated is None


def test_what_moved_into_the_form_leaves_the_details():
    details = {"stderr": "s", "exit_code": 1, "exit_status": 1, "more": {"a": {1}}}
    info, rest = normal({}, details)
    assert (info.stderr, info.exit_code) == ("s", 1)
    assert rest == {"more": {"a": [1]}}
    assert "stderr" in details


@pytest.mark.parametrize("attributes", [None, [], "boom", 3])
def test_whatever_it_is_given_it_never_raises(attributes):
    info, rest = ProviderErrorInfo.normalize("claude", attributes, details=attributes)
    assert info == ProviderErrorInfo(provider="claude")
    assert rest == {}


@pytest.mark.parametrize(
    "value", [None, 3, {"exit_code": "1"}, {"truncated": 1}, {"message": 2}, {"provider": ""}]
)
def test_reading_is_strict(value):
    with pytest.raises(AsmError):
        ProviderErrorInfo.from_map(value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("provider_timeout", "timeout"),
        ("provider_rate_limited", "rate_limit"),
        ("provider_authentication_failed", "authentication"),
        ("provider_quota_exceeded", "quota_exceeded"),
        ("provider_unavailable", "connection_error"),
        ("provider_error", "unknown"),
    ],
)
def test_an_error_of_a_provider_that_said_nothing_is_signed(code, kind):
    error = AsmError(code, "it broke", details={"exit_code": "3", "more": 1})
    sign(error, "claude")
    assert error.provider_error == {
        "provider": "claude",
        "kind": kind,
        "message": "it broke",
        "exit_code": 3,
        "stderr": None,
        "truncated": None,
    }
    assert error.details == {"more": 1}
    assert set(error.to_payload()) == {"error_code", "error_message", "provider_error", "details"}


@pytest.mark.parametrize(
    "error", [AsmError("provider_error", provider_error={"provider": "claude"}), AsmError("timeout")]
)
def test_an_error_that_is_signed_or_no_providers_is_left_alone(error):
    before = error.to_map()
    sign(error, "other")
    assert error.to_map() == before


def test_who_is_not_known_is_unknown():
    error = AsmError("provider_error")
    sign(error, None)
    assert error.provider_error["provider"] == "unknown"
