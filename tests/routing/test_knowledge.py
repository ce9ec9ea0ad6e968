"""Health, stickiness, one decision: what is known of targets and what follows."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.routing.choice import Choice, Reason, Verdict, choose
from asm_actors.routing.health import Health, is_blamed
from asm_actors.routing.sticky import StickyTable

DOWN = AsmError(ErrorCode.PROVIDER_UNAVAILABLE)


def busy(seconds):
    return AsmError(ErrorCode.PROVIDER_RATE_LIMITED, retry_after=seconds)


@pytest.mark.parametrize(
    ("error", "at", "ready_in"),
    [
        (DOWN, 0.0, 30.0),
        (DOWN, 29.0, 1.0),
        (DOWN, 30.0, 0.0),
        (busy(2.0), 1.0, 1.0),
        (busy(2.0), 2.0, 0.0),
        (busy(90.0), 30.0, 60.0),
        (busy(0.0), 0.0, 0.0),
    ],
)
def test_a_target_that_failed_is_left_alone(error, at, ready_in):
    assert Health().failed(0.0, error, 30.0).ready_in(at) == ready_in


def test_a_longer_wait_that_was_asked_for_stays():
    assert Health().failed(0.0, busy(90.0), 30.0).failed(1.0, DOWN, 30.0).ready_in(1.0) == 89.0


def test_failures_are_counted_in_a_row():
    health = Health().failed(1.0, DOWN, 30.0).failed(2.0, busy(None), 30.0)
    assert (health.failures, health.failed_at, health.error) == (2, 2.0, ErrorCode.PROVIDER_RATE_LIMITED)
    assert health.succeeded(began_at=2.0) == Health()


def test_a_success_that_began_before_the_failure_says_nothing():
    health = Health().failed(1.0, DOWN, 30.0)
    assert health.succeeded(began_at=0.5) is health


@pytest.mark.parametrize(
    ("code", "blamed"),
    [
        ("provider_unavailable", True),
        ("provider_error", True),
        ("provider_quota_exceeded", True),
        ("provider_authentication_failed", True),
        ("timeout", True),
        ("internal_error", True),
        ("dependency_not_available", True),
        ("overloaded", True),
        ("validation_error", False),
        ("missing_required_capability", False),
        ("not_found", False),
        ("cancelled", False),
        ("policy_violation", False),
        ("command_failed", False),
        ("capability_not_supported", False),
    ],
)
def test_which_errors_count_against_a_target(code, blamed):
    assert is_blamed(AsmError(code)) is blamed
    assert is_blamed(AsmError(code, retryable=True))


def test_a_session_is_kept_for_its_time_and_each_use_renews_it():
    table = StickyTable(10.0)
    table.keep("s", "a", 0.0)
    assert table.get("s", 9.9) == "a"
    assert table.get("s", 10.0) is None
    table.keep("s", "b", 5.0)
    assert table.get("s", 14.9) == "b"
    assert table.get("other", 5.0) is None


def test_what_is_over_is_forgotten_and_the_number_is_bounded():
    table = StickyTable(10.0, most=2)
    table.keep("s1", "a", 0.0)
    table.keep("s2", "a", 1.0)
    table.keep("s1", "a", 2.0)
    table.keep("s3", "a", 3.0)
    assert [table.get(key, 3.0) for key in ("s1", "s2", "s3")] == ["a", None, "a"]
    table.keep("s4", "b", 12.5)
    assert table.count(12.5) == 2
    table.forget_target("b")
    table.forget("s3")
    assert table.count(0.0) == 0


def test_without_a_time_nothing_is_kept():
    table = StickyTable(0.0)
    table.keep("s", "a", 0.0)
    assert table.get("s", 0.0) is None


ABLE = Reason.ELIGIBLE


@pytest.mark.parametrize(
    ("reasons", "homes", "chosen", "candidates"),
    [
        ({"a": ABLE, "b": ABLE}, (), "a", "ab"),
        ({"a": Reason.UNHEALTHY, "b": ABLE}, (), "b", "b"),
        ({"a": ABLE, "b": ABLE, "c": ABLE}, ("c",), "c", "cab"),
        ({"a": ABLE, "b": ABLE}, (None, "b"), "b", "ba"),
        ({"a": ABLE, "b": Reason.EXCLUDED}, ("b", "a"), "a", "a"),
        ({"a": ABLE, "b": Reason.REFUSED}, ("b", "x"), "a", "a"),
        ({"a": Reason.TRIED}, (), None, ""),
        ({}, ("a",), None, ""),
    ],
)
def test_a_decision(reasons, homes, chosen, candidates):
    found = [Verdict(name, reason) for name, reason in reasons.items()]
    choice = choose(found, homes)
    assert (choice.chosen, "".join(choice.candidates)) == (chosen, candidates)


def test_a_decision_tells_why():
    choice = choose(
        [
            Verdict("a", Reason.INCAPABLE, "tool:bash"),
            Verdict("b", ABLE),
            Verdict("c", ABLE),
            Verdict("d", Reason.EXCLUDED),
        ],
        ["c"],
    )
    verdicts = {"a": "incapable: tool:bash", "b": "eligible", "c": "sticky", "d": "excluded"}
    assert choice.to_map() == {"chosen": "c", "candidates": ["c", "b"], "verdicts": verdicts}
    assert choice.passed_over == {"a": "incapable: tool:bash", "d": "excluded"}


@pytest.mark.parametrize(
    ("waits", "ready_in"), [([], None), ([None, None], None), ([None, 5.0, 3.0], 3.0), ([0.0, 2.0], 0.0)]
)
def test_a_decision_tells_when_time_will_help(waits, ready_in):
    found = tuple(Verdict(str(at), Reason.UNHEALTHY, None, wait) for at, wait in enumerate(waits))
    assert Choice(None, (), found).ready_in == ready_in
    assert Choice("x", ("x",), found).ready_in == 0.0
