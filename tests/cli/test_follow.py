"""`asm events`: reading in order, choosing, following another process."""

from __future__ import annotations

import json

import pytest


def test_events_of_the_journal_come_in_order_of_position(run_asm, journal):
    found = run_asm.lines("events", "--journal", str(journal))
    assert [event["position"] for event in found] == list(range(1, len(found) + 1))
    assert {event["session_id"][-1] for event in found} == {"1", "2", "3"}


def test_events_of_a_session_come_in_order_of_sequence_number(run_asm, journal, names):
    found = run_asm.lines("events", names.session(1), "--journal", str(journal))
    assert [event["sequence_number"] for event in found] == list(range(1, len(found) + 1))
    assert (found[0]["type"], found[-1]["type"]) == ("session_created", "session_completed")


def test_after_begins_behind_a_sequence_number_or_a_position(run_asm, journal, names):
    all_of_one = run_asm.lines("events", names.session(1), "--journal", str(journal))
    assert (
        run_asm.lines("events", names.session(1), "--journal", str(journal), "--after", "3") == all_of_one[3:]
    )
    everything = run_asm.lines("events", "--journal", str(journal))
    assert run_asm.lines("events", "--journal", str(journal), "--after", "5") == everything[5:]


def test_type_run_and_limit_choose(run_asm, journal, names):
    streamed = run_asm.lines(
        "events", "--journal", str(journal), "--type", "message_streamed", "--limit", "2"
    )
    assert [event["type"] for event in streamed] == ["message_streamed"] * 2
    of_run = run_asm.lines("events", "--journal", str(journal), "--run", names.run(2))
    assert {event["run_id"] for event in of_run} == {names.run(2)}
    assert of_run[-1]["type"] == "run_failed"
    several = run_asm.lines(
        "events", "--journal", str(journal), "--type", "run_started", "--type", "run_failed"
    )
    assert [event["type"] for event in several] == ["run_started", "run_started", "run_failed"]


def test_a_line_tells_place_type_and_what_was_said(run_asm, journal, names):
    lines = run_asm("events", names.session(2), "--journal", str(journal)).stdout.splitlines()
    (failed,) = [line for line in lines if "run_failed" in line]
    assert failed.split()[0] == "6"
    assert '"provider_error" "it broke"' in failed


def test_an_unknown_type_is_refused_with_those_there_are(run_asm, journal):
    line = run_asm.refused("events", "--journal", str(journal), "--type", "sneezed")
    assert "'sneezed'" in line
    assert "session_created" in line


def test_an_unknown_session_or_run_is_refused_with_the_next_step(run_asm, journal):
    for words, listing in ((("ses_none",), "sessions"), (("--run", "run_none"), "runs")):
        line = run_asm.refused("events", *words, "--journal", str(journal))
        assert line.endswith(f"list them with: asm {listing} --journal {journal}")


def test_a_run_of_another_session_is_refused(run_asm, journal, names):
    line = run_asm.refused("events", names.session(1), "--run", names.run(2), "--journal", str(journal))
    assert names.session(2) in line


def test_a_long_session_is_read_in_pages_without_loss(run_asm, tmp_path, monkeypatch):
    import asm_actors as asm
    from asm_actors.cli import follow

    monkeypatch.setattr(follow, "_PAGE", 7)
    with asm.ActorSystem.start(tmp_path / "long", {"mock": asm.ScriptedProvider(chunks=50)}) as system:
        session_id = system.sessions.run_once("x").session_id
    for words in ((), (session_id,)):
        found = run_asm.lines("events", *words, "--journal", "long")
        assert [event["position"] for event in found] == list(range(1, len(found) + 1))
        assert sum(event["type"] == "message_streamed" for event in found) == 50
        ends = run_asm.lines("events", *words, "--journal", "long", "--type", "session_completed")
        assert len(ends) == 1


@pytest.mark.parametrize("what", ["session", "run"])
def test_following_another_process_ends_with_the_session_or_the_run(children, tmp_path, what):
    holder, session_id, run_id = children.hold(tmp_path / "held")
    words = (session_id,) if what == "session" else ("--run", run_id)
    follower = children.asm("events", *words, "--journal", "held", "--follow", "--json")
    seen = [json.loads(follower.stdout.readline()) for _ in range(2)]
    if what == "session":
        # The session stays open: so does its follower, until somebody ends it.
        while seen[-1]["type"] != "message_streamed":
            seen.append(json.loads(follower.stdout.readline()))
        holder.communicate()
        seen.append(json.loads(follower.stdout.readline()))
        while seen[-1]["type"] != "run_cancelled":
            seen.append(json.loads(follower.stdout.readline()))
        assert follower.poll() is None
    else:
        holder.communicate()
        seen += [json.loads(line) for line in follower.stdout]
        assert follower.wait() == 0
        assert seen[-1]["type"] == "run_cancelled"
    numbers = [event["sequence_number"] for event in seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_following_the_journal_of_another_process_misses_nothing_when_that_process_ends(children, tmp_path):
    holder, _, run_id = children.hold(tmp_path / "held")
    follower = children.asm("events", "--journal", "held", "--follow", "--json", "--limit", "6")
    seen = [json.loads(follower.stdout.readline()) for _ in range(5)]
    holder.communicate()
    seen += [json.loads(line) for line in follower.stdout]
    assert [event["position"] for event in seen] == [1, 2, 3, 4, 5, 6]
    assert (seen[-1]["type"], seen[-1]["run_id"]) == ("run_cancelled", run_id)
    assert follower.wait() == 0


def test_following_what_is_over_ends_at_once(run_asm, journal, names):
    found = run_asm.lines("events", names.session(1), "--journal", str(journal), "--follow")
    assert found[-1]["type"] == "session_completed"


def test_following_ends_at_the_limit(run_asm, journal):
    assert len(run_asm.lines("events", "--journal", str(journal), "--follow", "--limit", "3")) == 3
