"""What is no part of the conversation: runs that sum it up, runs that were rolled back, what was summed up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.transcripts.builder import SUMMARY
from asm_actors.transcripts.transcript import Transcript
from tests.transcripts.history import numbered

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def said(run, content, role="assistant"):
    kind = "message_sent" if role == "user" else "message_received"
    return kind, {"content": content}, run


def piece(run, text):
    return "message_streamed", {"content": text, "delta": text}, run


def begun(run, **data):
    return "run_started", data, run


def over(run, kind="completed", **data):
    return f"run_{kind}", data, run


def summed_up(run, end, summary="gist"):
    return "transcript_compacted", {"summary": summary, "up_to_sequence": end, "run_id": run}, run


def texts(*specs):
    messages = Transcript.from_events(numbered(*specs), session_id="ses").messages
    return [message.content + "…" * message.is_partial for message in messages]


TALK = [said("r1", "one", "user"), begun("r1"), said("r1", "1"), over("r1")]


def test_a_run_that_sums_up_says_nothing():
    begins = [
        said("c", "sum it up", "user"),
        begun("c", purpose="compaction"),
        piece("c", "gi"),
        said("c", "gist"),
    ]
    assert texts(*TALK, *begins) == ["one", "1"]
    assert texts(*TALK, *begins, over("c", "failed")) == ["one", "1"]


def test_its_summary_stands_for_what_it_covers():
    behind = [said("r2", "two", "user"), piece("r2", "par")]
    assert texts(*TALK, *behind, summed_up("c", 4)) == [f"{SUMMARY}gist", "two", "par…"]
    assert texts(*TALK, summed_up("c", 1)) == [f"{SUMMARY}gist", "1"]


def test_a_later_summary_stands_for_an_earlier_one():
    assert texts(*TALK, summed_up("c", 4), summed_up("d", 5, "all")) == [f"{SUMMARY}all"]


def test_a_summary_of_less_changes_nothing():
    assert texts(*TALK, summed_up("c", 4), summed_up("d", 2, "less")) == [f"{SUMMARY}gist"]


def test_a_summary_without_a_text_or_a_place_changes_nothing():
    assert texts(*TALK, summed_up("c", 4, "")) == ["one", "1"]
    assert texts(*TALK, summed_up("c", None)) == ["one", "1"]


def test_a_summary_is_told_as_the_users_with_the_place_up_to_which_it_stands():
    events = numbered(*TALK, summed_up("c", 4))
    (message,) = Transcript.from_events(events).messages
    assert message.role == "user"
    assert message.metadata["sequence_number"] == 4
    assert message.metadata["event_type"] == "transcript_compacted"
    assert message.metadata["run_id"] == "c"


def test_a_run_that_was_rolled_back_leaves_nothing():
    rolled = [said("r2", "no", "user"), begun("r2"), said("r2", "2"), piece("r2", "x")]
    assert texts(*TALK, *rolled) == ["one", "1", "no", "2", "x…"]
    assert texts(*TALK, *rolled, over("r2", "cancelled", rolled_back=True)) == ["one", "1"]
    assert texts(*TALK, *rolled, over("r2", "cancelled", rolled_back=False)) == ["one", "1", "no", "2", "x"]


def test_what_another_run_is_saying_stays_in_its_place():
    open_ = piece("r3", "hm")
    rolled = [said("r2", "no", "user"), begun("r2"), open_, said("r2", "2"), said("r4", "four")]
    assert texts(*TALK, *rolled, over("r2", "cancelled", rolled_back=True)) == ["one", "1", "hm…", "four"]


def test_a_transcript_knows_which_runs_are_under_way():
    events = numbered(*TALK, begun("r2"), begun("c", purpose="compaction"))
    transcript = Transcript.from_events(events)
    assert transcript.open_runs == {"r2": "open", "c": "compaction"}
    assert Transcript.from_map(transcript.to_map()) == transcript
    assert Transcript.from_events(numbered(*TALK)).open_runs == {}


histories = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "message_sent",
                "message_received",
                "message_streamed",
                "tool_call_started",
                "tool_call_completed",
                "tool_approval_requested",
                "run_started",
                "run_completed",
                "run_cancelled",
                "run_recovered",
                "transcript_compacted",
                "session_forked",
            ]
        ),
        st.fixed_dictionaries(
            {"content": st.sampled_from(["", "a", "bc"])},
            optional={
                "purpose": st.just("compaction"),
                "rolled_back": st.booleans(),
                "summary": st.sampled_from(["", "gist"]),
                "up_to_sequence": st.integers(0, 20),
                "tool_call_id": st.sampled_from(["c1", "c2"]),
                "tool_name": st.just("add"),
                "discarded_after": st.integers(0, 10),
            },
        ),
        st.sampled_from(["r1", "r2", "r3", None]),
    ),
    max_size=20,
)


@SETTINGS
@given(histories, st.data())
def test_going_on_in_any_pieces_leads_to_the_same(specs, data):
    events = numbered(*specs)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=5)))
    transcript = Transcript("ses")
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        transcript = Transcript.from_map(transcript.to_map()).updated(events[begin:end])
    assert transcript == Transcript.from_events(events, session_id="ses")


@SETTINGS
@given(histories)
def test_nothing_of_a_run_that_was_rolled_back_is_left(specs):
    events = numbered(*specs, over("r2", "cancelled", rolled_back=True))
    messages = Transcript.from_events(events, session_id="ses").messages
    left = [one for one in messages if one.metadata["run_id"] == "r2"]
    assert all(one.metadata["event_type"] == "transcript_compacted" for one in left)
