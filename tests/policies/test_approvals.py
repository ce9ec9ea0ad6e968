"""Questions about calls, and who decides."""

from __future__ import annotations

import json

import pytest

from asm_actors.errors import AsmError
from asm_actors.events import Event, EventType, shape_warnings
from asm_actors.policies.approval import Approval, ApprovalRequest, GrantScope, fingerprint
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.policies.evaluator import Evaluator
from asm_actors.policies.policy import Policy
from asm_actors.policies.rulings import Allow, AskApproval, Deny

SECOND = 1_000_000


def question(call_id="c1", tool="bash", timeout=None, kind="tool_denied", lifts=(), **tool_input):
    return ApprovalRequest(call_id, tool, tool_input, "careful", kind, "why", lifts, timeout)


def asked(*requests, run="r", now=0):
    book = ApprovalBook()
    for request in requests:
        book = book.request(run, request, now).book
    return book


def allowed(book, run="r", call="new", tool="bash", **tool_input):
    return book.about(run, call, tool, tool_input).standing is not None


def test_a_question_waits_for_its_decision():
    entry = ApprovalBook().request("r", question(cmd="ls", timeout=5), 7)
    assert entry.kind is EventType.TOOL_APPROVAL_REQUESTED
    approval = entry.approval
    assert (approval.run_id, approval.call_id, approval.tool_name, approval.tool_input) == (
        "r", "c1", "bash", {"cmd": "ls"},
    )  # fmt: skip
    assert (approval.is_pending, approval.is_granted, approval.expires_us) == (True, False, 7 + 5 * SECOND)
    assert entry.book.pending == (approval,)
    assert approval.request == question(cmd="ls", timeout=5)
    again = entry.book.request("r", question(cmd="ls"), 9)
    assert (again.book, again.approval, again.kind) == (entry.book, approval, None)


def test_a_grant_says_who_why_and_with_which_arguments():
    entry = asked(question(cmd="ls")).grant("r", "c1", 3, by="ann", reason="fine", tool_input={"cmd": "pwd"})
    assert entry.kind is EventType.TOOL_APPROVAL_GRANTED
    assert entry.data == {
        "tool_call_id": "c1",
        "tool_name": "bash",
        "by": "ann",
        "reason": "fine",
        "scope": "once",
        "tool_input": {"cmd": "pwd"},
    }
    assert shape_warnings(entry.kind, entry.data) == ()
    approval = entry.approval
    assert (approval.is_granted, approval.by, approval.reason, approval.decided_us) == (
        True,
        "ann",
        "fine",
        3,
    )
    assert (approval.tool_input, approval.arguments) == ({"cmd": "ls"}, {"cmd": "pwd"})
    assert entry.book.pending == ()


def test_a_denial_says_who_and_why():
    entry = asked(question()).deny("r", "c1", 3, by="ann")
    assert entry.kind is EventType.TOOL_APPROVAL_DENIED
    assert entry.data == {"tool_call_id": "c1", "tool_name": "bash", "by": "ann"}
    assert entry.approval.denial == "the call of bash was denied by ann"


@pytest.mark.parametrize("decide", [ApprovalBook.grant, ApprovalBook.deny])
@pytest.mark.parametrize("key", [("r", "c2"), ("other", "c1")])
def test_nobody_decides_what_nobody_asked(decide, key):
    with pytest.raises(AsmError) as raised:
        decide(asked(question()), *key, 1)
    assert raised.value.code == "invalid_operation"


def test_the_first_decision_counts():
    book = asked(question()).deny("r", "c1", 1, by="ann").book
    for second in (book.grant("r", "c1", 2, by="bob", scope="session"), book.deny("r", "c1", 2)):
        assert (second.book, second.kind, second.data) == (book, None, {})
        assert (second.approval.by, second.approval.is_granted) == ("ann", False)


@pytest.mark.parametrize(
    "how",
    [{"by": ""}, {"by": 3}, {"reason": 3}, {"scope": "ever"}, {"scope": None}, {"tool_input": 3},
     {"tool_input": {"a": object()}}],
)  # fmt: skip
def test_a_malformed_decision_changes_nothing(how):
    book = asked(question())
    with pytest.raises(AsmError) as raised:
        book.grant("r", "c1", 1, **how)
    assert raised.value.code == "validation_error"
    assert book == asked(question())


# --- Time -------------------------------------------------------------------------------------------------------


def test_what_nobody_decides_in_time_is_denied():
    book = asked(question("c1", timeout=5), question("c2", timeout=3), question("c3"))
    assert book.next_expiry_us == 3 * SECOND
    assert book.expire(3 * SECOND - 1) == (book, ())
    after, (entry,) = book.expire(3 * SECOND)
    assert entry.approval.call_id == "c2"
    assert entry.data["timed_out"] is True
    assert entry.approval.is_timed_out
    assert entry.approval.denial == "the call of bash was denied: nobody allowed it within 3 s"
    assert after.next_expiry_us == 5 * SECOND
    last, entries = after.expire(100 * SECOND)
    assert [one.approval.call_id for one in entries] == ["c1"]
    assert last.next_expiry_us is None
    assert [one.call_id for one in last.pending] == ["c3"]


@pytest.mark.parametrize("decide", [ApprovalBook.grant, ApprovalBook.deny])
def test_a_decision_that_comes_too_late_finds_it_denied(decide):
    entry = decide(asked(question(timeout=5)), "r", "c1", 5 * SECOND, by="ann")
    assert entry.kind is EventType.TOOL_APPROVAL_DENIED
    assert (entry.approval.is_timed_out, entry.approval.by) == (True, None)


# --- Scope ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "same_run", "other_run"),
    [("once", False, False), ("run", True, False), ("session", True, True)],
)
def test_a_grant_stands_for_calls_that_are_like_it(scope, same_run, other_run):
    book = asked(question(a=1, b=[2])).grant("r", "c1", 1, scope=scope).book
    assert allowed(book, b=[2], a=1) is same_run
    assert allowed(book, "other", b=[2], a=1) is other_run
    for unlike in ({"a": 2, "b": [2]}, {"a": 1}, {"a": True, "b": [2]}, {"a": 1, "b": [2], "c": 3}):
        assert not allowed(book, **unlike)
    assert not allowed(book, tool="sh", a=1, b=[2])


def test_a_call_of_the_same_id_in_another_run_is_another_call():
    book = asked(question()).grant("r", "c1", 1).book
    assert book.about("r", "c1", "bash", {}).approval is not None
    assert book.about("other", "c1", "bash", {}).approval is None


def test_an_edit_stands_for_like_calls_and_for_its_own_result():
    book = asked(question(cmd="ls")).grant("r", "c1", 1, scope="run", tool_input={"cmd": "pwd"}).book
    for given in ("ls", "pwd"):
        assert book.about("r", "c2", "bash", {"cmd": given}).standing.arguments == {"cmd": "pwd"}


def test_the_newest_grant_counts():
    book = asked(question("c1", cmd="ls"), question("c2", cmd="ls"))
    book = (
        book.grant("r", "c1", 1, scope="session", by="ann")
        .book.grant("r", "c2", 2, scope="run", by="bob")
        .book
    )
    assert book.about("r", "c3", "bash", {"cmd": "ls"}).standing.by == "bob"
    assert book.about("q", "c3", "bash", {"cmd": "ls"}).standing.by == "ann"


def test_denials_do_not_stand():
    book = asked(question(cmd="ls")).deny("r", "c1", 1).book
    assert not allowed(book, cmd="ls")


@pytest.mark.parametrize("kind", ["budget_exceeded", "", "outcome_unknown"])
def test_only_what_a_rule_forbids_is_allowed_for_good(kind):
    entry = asked(question(kind=kind, lifts=("turns",))).grant("r", "c1", 1, scope="session")
    assert not allowed(entry.book)
    assert entry.data["lifts"] == ["turns"]


def test_a_single_grant_lifts_no_limit():
    assert "lifts" not in asked(question(lifts=("turns",))).grant("r", "c1", 1).data


# --- Events -----------------------------------------------------------------------------------------------------


def event(kind, data, run="r", now=0):
    return Event.new(id="e", type=kind, now=now, session_id="s", run_id=run, data=data)


@pytest.mark.parametrize("end", ["run_completed", "run_failed", "run_cancelled", "run_timeout"])
def test_of_a_run_that_is_over_only_grants_for_the_session_are_kept(end):
    book = asked(question("c1", cmd="a"), question("c2", cmd="b"), question("c3"))
    book = book.grant("r", "c1", 1, scope="session").book.grant("r", "c2", 1, scope="run").book
    book = book.request("other", question("c9"), 2).book.fold([event(end, {})])
    assert list(book.approvals) == [("other", "c9")]
    assert [one.call_id for one in book.standing] == ["c1"]
    assert allowed(book, cmd="a")
    assert not allowed(book, cmd="b")


def test_a_run_that_begins_again_asks_again_and_keeps_its_grants():
    book = asked(question("c1", cmd="a"), question("c2")).grant("r", "c1", 1, scope="run").book
    assert book.fold([event("run_recovered", {"decision": "resume"})]) == book
    again = book.fold([event("run_recovered", {"decision": "retry"})])
    assert again.approvals == {}
    assert allowed(again, cmd="a")


def test_a_question_may_be_asked_again_after_its_decision():
    book = asked(question()).grant("r", "c1", 1).book
    entry = book.request("r", question(), 5)
    assert entry.kind is EventType.TOOL_APPROVAL_REQUESTED
    assert entry.approval.is_pending
    assert entry.book.deny("r", "c1", 6).approval.decided_us == 6


def test_records_of_others_are_read_as_far_as_they_go():
    book = ApprovalBook().fold(
        [
            event("tool_approval_granted", {"tool_call_id": "c0"}),
            event("tool_approval_requested", {"tool_call_id": "c1", "tool_name": "x", "tool_input": 3, "lifts": "a",
                                              "approval_timeout": "soon"}),
            event("tool_approval_granted", {"tool_call_id": "c1", "scope": "ever", "by": 3}),
            event("tool_approval_requested", {}, run=None),
            event("run_failed", {}, run=None),
        ]
    )  # fmt: skip
    (approval,) = book.approvals.values()
    assert (approval.tool_input, approval.timeout, approval.by) == ({}, None, None)
    assert (approval.is_granted, approval.scope) == (True, GrantScope.ONCE)


def test_books_and_questions_go_to_maps_and_come_back():
    book = asked(question("c1", timeout=2.5, cmd="a", lifts=("turns",)), question("c2"))
    book = (
        book.grant("r", "c1", 1, by="ann", scope="session", tool_input={"x": [1]})
        .book.deny("r", "c2", 2)
        .book
    )
    assert ApprovalBook.from_map(json.loads(json.dumps(book.to_map()))) == book
    assert len({book, ApprovalBook.from_map(book.to_map())}) == 1
    for bad in ({}, {"run_id": "r", "call_id": "c", "status": "maybe", "scope": "once", "asked_us": 0}, 3):
        with pytest.raises(AsmError):
            Approval.from_map(bad)


def test_likeness_does_not_depend_on_the_order_of_keys():
    assert fingerprint("t", {"a": 1, "b": {"x": 1, "y": 2}}) == fingerprint(
        "t", {"b": {"y": 2, "x": 1}, "a": 1}
    )
    assert fingerprint("t", {"a": 1}) != fingerprint("t", {"a": True})


# --- A grant that stands, under another policy ------------------------------------------------------------------

ASKS = {"tool_rules": {"ask": ["bash"]}}
DENIES = {"tool_rules": {"deny": ["bash"]}}
BOTH = {"tool_rules": {"ask": ["bash"], "deny": ["bash"]}}


@pytest.mark.parametrize(
    ("asked", "judge", "ruling"),
    [
        (ASKS, ASKS, Allow),
        (ASKS, DENIES, Deny),
        (ASKS, BOTH, Deny),
        (ASKS, DENIES | {"on_violation": "request_approval"}, AskApproval),
        (DENIES | {"on_violation": "request_approval"}, DENIES | {"on_violation": "request_approval"}, Allow),
        (DENIES | {"on_violation": "request_approval"}, DENIES, Deny),
        (DENIES | {"on_violation": "request_approval"}, BOTH | {"on_denied": "fail"}, Deny),
    ],
)
def test_a_grant_for_the_session_allows_what_was_asked_and_no_more(story, asked, judge, ruling):
    run = story(Policy(**asked))
    run.ask("c1", cmd="ls")
    run.grant("c1", scope="session")
    fact = run.book.about("run_2", "c9", "bash", {"cmd": "ls"})
    assert fact.standing is not None
    assert type(Evaluator(Policy(**judge)).observe(fact, 0).about_call) is ruling
