"""What one session writes, without its session."""

from __future__ import annotations

import pytest

from asm_actors.effects import Note, Refuse, Reply
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType as E
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.providers.items import TextDelta, ThinkingDelta
from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.settings import Redaction
from asm_actors.redaction.writes import WriteRedactor
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.turn import Turn, drafts_of
from asm_actors.sessions.session import Session

KEY = "sk-" + "ant-api03-q7Zx2Lv9Bn4Mk1Jh8Gf3"
HEAD, TAIL = KEY[:14], KEY[14:]
GONE = "[REDACTED]"


@pytest.fixture
def writes(redactor):
    return WriteRedactor(redactor)


def draft(kind, data=EMPTY, run_id="r", at=0, **fields):
    return Draft(kind, at, run_id, data, provider="p", **fields)


def said(text, run_id="r", at=0):
    return draft(E.MESSAGE_STREAMED, {"content": text, "delta": text}, run_id, at)


def thought(text, run_id="r"):
    return draft(E.MESSAGE_STREAMED, {"content": "", "delta": "", "thinking": text}, run_id)


def texts(drafts):
    return [one.data.get("thinking") or one.data["delta"] for one in drafts if one.type is E.MESSAGE_STREAMED]


# --- Events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(E))
def test_events_of_every_type_lose_their_secrets_in_data_metadata_and_correlation(writes, kind):
    if kind in (
        E.SESSION_CREATED,
        E.SESSION_STARTED,
        E.SESSION_RESUMED,
        E.SESSION_COMPLETED,
        E.TOKEN_USAGE_UPDATED,
    ):
        data = EMPTY  # names and numbers
    else:
        data = {"a": KEY, "b": [{"password": "hunter2"}]}
    (made,) = writes.drafts([draft(kind, data, metadata={"m": KEY}, correlation_id=KEY)])
    assert made.data == ({"a": GONE, "b": [{"password": GONE}]} if data else {})
    assert made.metadata == {"m": GONE}
    assert made.correlation_id == GONE
    assert (made.type, made.provider) == (kind, "p")


def test_what_holds_no_secret_is_written_as_it_is(writes):
    drafts = [
        draft(E.MESSAGE_SENT, {"role": "user", "content": "Hello"}),
        said("Hi, "),
        said("you there"),
        draft(E.MESSAGE_RECEIVED, {"role": "assistant", "content": "Hi, you there"}),
        draft(E.RUN_COMPLETED, {"stop_reason": "end_turn", "token_usage": {"input_tokens": 1}}),
    ]
    made = writes.drafts(drafts)
    assert all(one is other for one, other in zip(made, drafts, strict=True))


def test_metadata_may_be_left_out():
    writes = WriteRedactor(Redactor(Redaction(scan_metadata=False)))
    (made,) = writes.drafts([draft(E.ERROR_OCCURRED, {"a": KEY}, metadata={"m": KEY})])
    assert (made.data, made.metadata) == ({"a": GONE}, {"m": KEY})
    session = Session(id="s", agent_id="a", context={"c": KEY}, metadata={"m": KEY})
    run = Run(id="r", session_id="s", input=KEY, metadata={"m": KEY})
    shown, (shown_run,), _ = writes.records(session, [run], ())
    assert (shown.context, shown.metadata) == ({"c": GONE}, {"m": KEY})
    assert (shown_run.input, shown_run.metadata) == (GONE, {"m": KEY})


# --- Streams ---------------------------------------------------------------------------------------------------


def test_pieces_are_made_as_the_fast_path_expects_them():
    made = drafts_of(Turn(), [TextDelta("a"), ThinkingDelta("b")], 0, "r", "p", None)
    assert made[0].data == {"content": "a", "delta": "a"}
    assert made[0].data["content"] is made[0].data["delta"]
    assert made[1].data == {"content": "", "delta": "", "thinking": "b"}


@pytest.mark.parametrize("place", range(len(KEY) + 1))
@pytest.mark.parametrize("piece", [said, thought])
@pytest.mark.parametrize("together", [True, False])
def test_a_secret_in_two_pieces_is_written_in_none(writes, place, piece, together):
    pieces = [piece(f"see {KEY[:place]}"), piece(f"{KEY[place:]} there")]
    last = draft(E.MESSAGE_RECEIVED, {"content": f"see {KEY} there"})
    made = [*writes.drafts(pieces), *writes.drafts([last])] if together else []
    if not together:
        for one in (*pieces, last):
            made += writes.drafts([one])
    assert "".join(texts(made)) == f"see {GONE} there"
    assert made[-1].data["content"] == f"see {GONE} there"
    assert all(KEY[k : k + 12] not in repr(made) for k in range(len(KEY) - 11))


def test_a_piece_of_which_nothing_is_left_is_no_event(writes):
    made = writes.drafts([said("one ", at=1), said(HEAD, at=2), said(TAIL, at=3), said(" two", at=4)])
    assert texts(made) == ["one ", f"{GONE} two"]
    assert [one.timestamp_us for one in made] == [1, 4]
    assert made[1].data == {"content": f"{GONE} two", "delta": f"{GONE} two"}


@pytest.mark.parametrize(
    "kind",
    [kind for kind in E if kind not in (E.MESSAGE_STREAMED, E.SESSION_PAUSED) and kind.value[:3] != "ses"],
)
def test_what_was_held_back_is_written_before_anything_else_of_its_run(writes, kind):
    assert texts(writes.drafts([said("an s", at=1)])) == ["an "]
    made = writes.drafts([draft(kind, {"n": 1}, at=2)])
    assert [one.type for one in made] == [E.MESSAGE_STREAMED, kind]
    assert (texts(made), made[0].timestamp_us, made[0].run_id) == (["s"], 1, "r")


def test_thinking_and_text_are_two_texts_in_the_order_in_which_they_came(writes):
    made = writes.drafts(
        [said("s"), thought(KEY[1:]), thought("s"), said(KEY[1:]), said("."), draft(E.RUN_COMPLETED)]
    )
    assert "".join(texts(made)) == "s" + KEY[1:] + "s" + KEY[1:] + "."
    assert [("thinking" in one.data) for one in made[:-1]] == [False, True, True, False, False][
        : len(made) - 1
    ]


def test_runs_of_one_session_are_different_texts(writes):
    made = []
    for one in (said("see s", "a"), said("see s", "b"), said(KEY[1:] + ".", "a"), said("ix.", "b")):
        made += writes.drafts([one])
    made += writes.drafts([draft(E.RUN_COMPLETED, run_id="a"), draft(E.RUN_COMPLETED, run_id="b")])
    assert "".join(texts(one for one in made if one.run_id == "a")) == f"see {GONE}."
    assert "".join(texts(one for one in made if one.run_id == "b")) == "see six."


def test_pieces_of_several_runs_in_one_write_are_told_apart(writes):
    made = writes.drafts([said("see s", "a"), said("see s", "b"), said(KEY[1:] + ".", "a"), said("ix.", "b")])
    made = [*made, *writes.drafts([draft(E.RUN_FAILED, run_id="a"), draft(E.RUN_FAILED, run_id="b")])]
    assert "".join(texts(one for one in made if one.run_id == "a")) == f"see {GONE}."
    assert "".join(texts(one for one in made if one.run_id == "b")) == "see six."


def test_a_new_message_is_a_new_text(writes):
    assert texts(writes.drafts([said("password=")])) == ["password="]
    writes.drafts([draft(E.MESSAGE_RECEIVED, {"content": "password="})])
    assert texts(writes.drafts([said("hunter2hunter2"), draft(E.RUN_COMPLETED)])) == ["hunter2hunter2"]


def test_nothing_of_a_text_is_kept_when_its_run_is_over(writes):
    for number in range(100):
        run_id = f"r{number}"
        writes.drafts([said("see sk-", run_id)])
        run = Run(
            id=run_id, session_id="s", status=RunStatus.COMPLETED, ended_us=1, output={"content": "x" * 1000}
        )
        writes.drafts([draft(E.RUN_COMPLETED, run_id=run_id)])
        writes.records(None, [run], (Reply(None, run),))
    assert not writes._texts
    assert (writes._run, writes._run_shown) == (None, None)
    assert not any(writes._parts)


@pytest.mark.parametrize(
    "data",
    [
        {"delta": KEY},
        {"content": KEY, "delta": "x"},
        {"content": "x", "delta": "x", "more": KEY},
        {"content": KEY},
        {"content": None, "delta": None, "x": KEY},
        {"content": 7, "delta": 7, "x": KEY},
        {"thinking": 7, "x": KEY},
        {"content": "", "delta": "", "thinking": "x", "more": {"a": KEY}},
        {},
    ],
    ids=str,
)
def test_a_piece_of_another_shape_is_looked_at_as_a_whole(writes, data):
    made = writes.drafts([draft(E.MESSAGE_STREAMED, data), draft(E.RUN_COMPLETED)])
    assert "q7Zx2" not in repr(made)
    made = writes.drafts([said("x"), draft(E.MESSAGE_STREAMED, data), said("y"), draft(E.RUN_COMPLETED)])
    assert "q7Zx2" not in repr(made)
    assert made[-1].type is E.RUN_COMPLETED


# --- Records and answers ---------------------------------------------------------------------------------------


def test_all_payloads_of_records_lose_their_secrets(writes):
    session = Session(
        id="s", agent_id="a", context={"system_prompt": KEY}, metadata={"m": [KEY]}, tags=("t",)
    )
    run = Run(
        id="r", session_id="s", input={"messages": [{"content": KEY}]},
        output={"content": KEY, "tool_calls": [{"input": KEY}]},
        error={"message": KEY, "details": {"k": KEY}, "provider_error": {"stderr": KEY}}, metadata={"m": KEY},
        options={"adapter_opts": {"headers": {"x-api-key": "12345678"}}}, provider_metadata={"model": KEY},
        token_usage={"input_tokens": 1, "note": KEY},
    )  # fmt: skip
    shown, (shown_run,), _ = writes.records(session, (run,), ())
    assert "q7Zx2" not in repr((shown, shown_run))
    assert "12345678" not in repr(shown_run)
    assert shown.replace(context=session.context, metadata=session.metadata) == session
    assert shown_run.input == {"messages": [{"content": GONE}]}
    assert shown_run.error == {"message": GONE, "details": {"k": GONE}, "provider_error": {"stderr": GONE}}
    assert session.context == {"system_prompt": KEY}
    assert run.input == {"messages": [{"content": KEY}]}


def test_records_without_secrets_are_the_same_objects(writes):
    session = Session(id="s", agent_id="a", context={"system_prompt": "Be brief."}, metadata={"n": 1})
    run = Run(id="r", session_id="s", input="Hello", output={"content": "Hi"})
    result = RunResult.of(run)
    then = (
        Reply(None, session),
        Reply(None, run),
        Reply(None, result),
        Note("n"),
        Reply(None, {"status": 1}),
    )
    shown, runs, answers = writes.records(session, (run,), then)
    assert shown is session
    assert runs[0] is run
    assert all(one is other for one, other in zip(answers, then, strict=True))


def test_whoever_is_answered_gets_the_record_as_it_is_stored(writes):
    session = Session(id="s", agent_id="a", context={"system_prompt": KEY})
    run = Run(id="r", session_id="s", input=KEY, output={"content": KEY})
    error = AsmError(ErrorCode.PROVIDER_ERROR, f"refused {KEY}")
    then = (Reply(1, session), Reply(2, run), Reply(3, RunResult.of(run)), Refuse(4, error))
    shown, (shown_run,), answers = writes.records(session, (run,), then)
    assert answers[0] == Reply(1, shown)
    assert answers[1].value is shown_run
    assert answers[2].value == RunResult.of(shown_run)
    assert answers[3].error.message == f"refused {GONE}"
    assert [one.to for one in answers] == [1, 2, 3, 4]


def test_each_new_record_of_a_run_is_looked_at(writes):
    run = Run(id="r", session_id="s", input="Hello", options={"submitted": True})
    assert writes.records(None, (run,), ())[1][0] is run
    later = run.replace(output={"content": KEY})
    assert writes.records(None, (later,), ())[1][0].output == {"content": GONE}
    again = later.replace(turn_count=2)
    assert writes.records(None, (again,), ())[1][0].output == {"content": GONE}
    clean = again.replace(output={"content": "x"}, input=KEY)
    assert writes.records(None, (clean,), ())[1][0].input == GONE
