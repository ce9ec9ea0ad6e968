"""Whole systems: what is on the disk, what callers see, what a live attempt sees."""

from __future__ import annotations

import json
import logging

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError
from asm_actors.providers.items import (
    MessageDone,
    Raw,
    TextDelta,
    ThinkingDelta,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.providers.script import Script, crash, fail, stall, text, tool_call, tool_result
from asm_actors.testing.system import SimulatedSystem

GONE = "[REDACTED]"
_BODY = "q7Zx2Lv9Bn4Mk1Jh8Gf3Ds6Aw5Er0Ty"


def key(name):
    """A secret of its own for each place, so that a leak names it."""
    return "sk-" + f"ant-api03-{name}-{_BODY}"


def pieces(content, size):
    return [TextDelta(content[k : k + size]) for k in range(0, len(content), size)]


LEAKY = Script(
    TurnStarted("model-1", key("native")),
    Raw("api_retry", {"note": key("raw")}),
    *[ThinkingDelta(item.text) for item in pieces(f"I think {key('thinking')}!", 7)],
    *pieces(f"It says {key('delta')} and postgres://app:hunter2hunter2@db/x.", 5),
    tool_call("call_1", "shell", {"command": f"x-api-key: {key('tool-input')}", "env": {"PASSWORD": "hunter2hunter2"}}),
    tool_result("call_1", "shell", [{"stdout": f"key={key('tool-output')}", key("tool-key"): 1}]),
    MessageDone(f"It says {key('delta')}", ({"type": "text", "text": key("block")},)),
    Usage(1, 2),
    TurnDone("end_turn", metadata={"trace": key("done")}),
)  # fmt: skip


def raw_bytes(directory):
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def everything(store):
    """All that a journal holds, as one text."""
    parts = [event.to_map() for event in store.read_all(limit=100_000, scan_limit=100_000).events]
    parts += [session.to_map() for session in store.sessions(include_deleted=True)]
    parts += [run.to_map() for run in store.runs()]
    return json.dumps(parts, ensure_ascii=False)


def leave_secrets_everywhere(system):
    """Put a secret into every place that takes a text; what may fail fails."""
    manager = system.sessions
    session = manager.start_session(
        agent_id="agent",
        provider="leaky",
        context={"system_prompt": f"Use {key('prompt')}", "deep": [{"a": {"password": "hunter2hunter2"}}]},
        metadata={"note": key("session-metadata"), "correlation_id": key("correlation")},
        tags=["t"],
    )
    manager.activate_session(session.id)
    run = manager.start_run(
        session.id,
        {"messages": [{"role": "user", "content": f"my key is {key('input')}"}]},
        metadata={"note": key("run-metadata")},
        adapter_opts={"headers": {"authorization": f"Bearer {key('options')}"}},
    )
    manager.execute_run(run.id)
    for name in ("failing", "crashing"):
        broken = manager.start_run(session.id, key(name), provider=name)
        with pytest.raises(AsmError) as caught:
            manager.execute_run(broken.id)
        assert _BODY not in f"{caught.value} {caught.value.to_map()}"
    waiting = manager.submit_run(session.id, "wait", provider="stalling")
    next(iter(manager.stream_session_events(session.id, run_id=waiting.id, type="message_streamed")))
    cancelled = manager.cancel_run(waiting.id, reason=f"because of {key('reason')}")
    assert _BODY not in json.dumps(cancelled.to_map())
    manager.pause_session(session.id, reason=key("pause"))
    manager.resume_session(session.id)
    manager.fail_session(
        session.id, AsmError("internal_error", key("session-error"), details={"k": key("detail")})
    )
    big = "x" * 50_000 + key("large")
    manager.run_once({"prompt": big}, provider="echo")
    return session, run


class Echo(asm.BaseProvider):
    async def reply(self, request):
        yield request.messages[-1]["content"]


def providers():
    error = AsmError(
        "provider_error",
        f"refused {key('error')}",
        details={"stderr": key("error-detail")},
        provider_error={"message": key("provider-error")},
    )
    return {
        "leaky": asm.ScriptedProvider(LEAKY),
        "failing": asm.ScriptedProvider(Script(text("so far "), fail(error))),
        "crashing": asm.ScriptedProvider(
            Script(text("so far "), crash(RuntimeError(f"lost {key('crash')}")))
        ),
        "stalling": asm.ScriptedProvider(Script(text(f"partial {key('partial')} "), stall())),
        "echo": Echo(),
    }


@pytest.mark.parametrize("settle", [False, True], ids=["in blocks", "in tables"])
def test_no_secret_reaches_the_disk(tmp_path, settle):
    with asm.ActorSystem.start(tmp_path / "journal", providers()) as system:
        leave_secrets_everywhere(system)
    store = asm.LmdbStore(tmp_path / "journal")
    store.open()
    if settle:
        store.settle()
    held = everything(store)
    assert store.verify().is_sound
    store.close()
    for found in (held.encode(), raw_bytes(tmp_path)):
        assert _BODY.encode() not in found
        assert b"hunter2hunter2" not in found
        assert GONE.encode() in found


def test_without_redaction_it_does(tmp_path):
    """The counter-check: the places do take the secrets, and the bytes are where the test above looks."""
    with (
        asm.ActorSystem.start(tmp_path / "journal", providers(), redaction=False) as system,
        pytest.raises(AssertionError),
    ):
        leave_secrets_everywhere(system)
    found = raw_bytes(tmp_path)
    assert _BODY.encode() in found
    with asm.ActorSystem.start(
        tmp_path / "other", providers(), redaction=asm.Redaction(enabled=False)
    ) as system:
        result = system.sessions.run_once({"prompt": key("input")}, provider="echo")
        assert result.output["content"] == key("input")
    assert raw_bytes(tmp_path / "other").count(key("input").encode()) >= 4


def test_every_place_that_takes_a_text_is_among_those(tmp_path):
    """The counter-check of the counter-check: with redaction off each of these names reaches the journal."""
    names = {
        "native", "raw", "thinking", "delta", "tool-input", "tool-output", "tool-key", "block", "done", "prompt",
        "session-metadata", "correlation", "input", "run-metadata", "options", "error", "error-detail",
        "provider-error", "failing", "partial", "reason", "pause", "session-error", "detail", "large",
    }  # fmt: skip

    with SimulatedSystem(providers=providers(), redaction=False) as sim:
        manager = sim.manager
        session = sim.active_session(
            provider="leaky",
            context={"system_prompt": f"Use {key('prompt')}"},
            metadata={"note": key("session-metadata"), "correlation_id": key("correlation")},
        )
        run = manager.start_run(
            session.id,
            {"messages": [{"role": "user", "content": key("input")}]},
            metadata={"note": key("run-metadata")},
            adapter_opts={"h": key("options")},
        )
        manager.execute_run(run.id)
        broken = manager.start_run(session.id, key("failing"), provider="failing")
        with pytest.raises(AsmError):
            manager.execute_run(broken.id)
        waiting = manager.submit_run(session.id, "wait", provider="stalling")
        sim.settle()
        manager.cancel_run(waiting.id, reason=key("reason"))
        manager.pause_session(session.id, reason=key("pause"))
        manager.resume_session(session.id)
        manager.fail_session(
            session.id, AsmError("internal_error", key("session-error"), details={"k": key("detail")})
        )
        manager.run_once({"prompt": key("large")}, provider="echo")
        events = sim.events(session.id)
        assembled = "".join(
            event.data["delta"] + event.data.get("thinking", "") for event in events if "delta" in event.data
        )
        held = everything(sim.store) + assembled
    assert {name for name in names if key(name) not in held} == set()


# --- What callers see, what an attempt sees ----------------------------------------------------------------------


def test_callers_see_what_is_stored_and_the_live_attempt_sees_the_original():
    seen = []

    class Watching(Echo):
        async def reply(self, request):
            seen.append((request.messages[-1]["content"], request.system_prompt, request.options["h"]))
            yield f"I got {request.messages[-1]['content']}"

    provider = Watching()
    heard = []
    with SimulatedSystem(providers={"mock": provider}) as sim:
        made = sim.manager.start_session(
            agent_id="a", context={"system_prompt": key("prompt")}, metadata={"m": key("m")}
        )
        session = sim.manager.activate_session(made.id)
        run = sim.manager.start_run(session.id, key("input"), adapter_opts={"h": key("h")})
        result = sim.manager.execute_run(run.id, event_callback=heard.append)
        assert seen == [(key("input"), key("prompt"), key("h"))]
        for value in (
            made,
            session,
            run,
            result.run,
            sim.manager.get_session(session.id),
            sim.manager.get_run(run.id),
        ):
            assert _BODY not in json.dumps(value.to_map())
        assert made.context == {"system_prompt": GONE}
        assert made == sim.store.session(made.id).replace(
            status=made.status, updated_us=made.updated_us, last_sequence=made.last_sequence
        )
        assert run == sim.store.run(run.id).replace(**{
            name: getattr(run, name)
            for name in ("status", "output", "started_us", "ended_us", "turn_count", "token_usage", "provider_metadata",
                         "options", "from_sequence")
        })  # fmt: skip
        assert result.run == sim.store.run(run.id)
        assert result.output == {"content": f"I got {GONE}", "stop_reason": "end_turn", "tool_calls": []}
        assert sim.manager.await_run(run.id).output == result.output
        assert result.events == heard == sim.events_of(run.id)
        assert _BODY not in repr(heard)
        assert [event.data["content"] for event in heard if event.type == "message_sent"] == [GONE]
        streamed = "".join(event.data["delta"] for event in heard if event.type == "message_streamed")
        assert streamed == f"I got {GONE}"
        sim.check_promises()


def test_a_run_that_waits_through_a_restart_sees_the_redacted_text():
    seen = []

    class Watching(Echo):
        async def reply(self, request):
            seen.append(request.messages[-1]["content"])
            yield "ok"

    with SimulatedSystem(providers={"mock": Watching()}) as sim:
        session = sim.active_session()
        sim.manager.pause_session(session.id)
        run = sim.manager.submit_run(session.id, f"use {key('input')}")
        sim.restart()
        sim.manager.resume_session(session.id)
        sim.manager.await_run(run.id)
    assert seen == [f"use {GONE}"]


def test_sequence_numbers_have_no_gap_where_a_piece_was_dropped():
    script = Script(*pieces(f"a {key('delta')} b", 3))
    with SimulatedSystem(script=script) as sim:
        result = sim.manager.run_once("hi")
        events = sim.events(result.session_id)
        assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
        streamed = [event.data["delta"] for event in events if event.type == "message_streamed"]
        assert "".join(streamed) == f"a {GONE} b"
        assert all(streamed)
        assert sim.session(result.session_id).last_sequence == len(events)
        sim.check_promises()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 100])
@pytest.mark.parametrize("end", ["completes", "is cancelled", "fails"])
def test_a_stream_that_ends_within_a_secret_shows_nothing_of_it(size, end):
    last = {"completes": (), "is cancelled": (stall(),), "fails": (fail("provider_error", "no"),)}[end]
    script = Script(*pieces(f"it is {key('x')}", size), *last)
    with SimulatedSystem(script=script) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "hi")
        sim.settle()
        if end == "is cancelled":
            assert sim.manager.cancel_run(run.id).output == {"content": f"it is {GONE}", "partial": True}
        streamed = [event for event in sim.events_of(run.id) if event.type == "message_streamed"]
        assert "".join(event.data["delta"] for event in streamed) == f"it is {GONE}"
        assert sim.types_of(run.id)[-1] == {
            "completes": "run_completed", "is cancelled": "run_cancelled", "fails": "run_failed"
        }[end]  # fmt: skip
        sim.check_promises()


def test_a_provider_that_crashes_within_a_secret_leaves_nothing_of_it():
    script = Script(*pieces(f"it is {key('x')}"[:-5], 4), crash(RuntimeError("x")))
    with SimulatedSystem(script=script) as sim:
        with pytest.raises(AsmError):
            sim.manager.run_once("hi")
        assert _BODY[:12] not in everything(sim.store)


def test_what_cannot_be_stored_as_it_is_is_mended_and_redacted():
    class Odd:
        def __repr__(self):
            return f"<odd {key('repr')}>"

    script = Script(
        tool_call("c", "t", {"a": Odd()}),
        tool_result("c", "t", {"b": Odd(), "c": {key("set")}}),
        text("\ud800"),
    )
    with SimulatedSystem(script=script) as sim:
        result = sim.manager.run_once("hi")
        assert _BODY not in everything(sim.store) + json.dumps(result.output)
        assert result.output["tool_calls"][0]["input"] == {"a": f"<odd {GONE}>"}


def test_several_runs_of_one_session_do_not_mix_their_texts():
    one = asm.ScriptedProvider(Script(*pieces(f"one {key('one')} end", 3)))
    two = asm.ScriptedProvider(Script(*pieces("two is a task-force, said s", 3)))
    with SimulatedSystem(providers={"one": one, "two": two}, limits=asm.Limits(max_concurrent_runs=2)) as sim:
        session = sim.active_session(provider="one")
        runs = [sim.manager.submit_run(session.id, "hi", provider=name) for name in ("one", "two")]
        for run, said in zip(runs, (f"one {GONE} end", "two is a task-force, said s"), strict=True):
            sim.manager.await_run(run.id)
            events = [event for event in sim.events_of(run.id) if event.type == "message_streamed"]
            assert "".join(event.data["delta"] for event in events) == said


# --- Names, settings, logs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [{"id": key("x")}, {"agent_id": key("x")}, {"tags": ["a", key("x")]}, {"idempotency_key": key("x")}],
    ids=str,
)
def test_a_session_with_a_secret_for_a_name_is_refused(names):
    with SimulatedSystem() as sim:
        with pytest.raises(AsmError) as caught:
            sim.manager.start_session(**{"agent_id": "a", **names})
        assert caught.value.code == "validation_error"
        assert _BODY not in str(caught.value)
        assert sim.store.sessions() == []
    with SimulatedSystem(redaction=False) as sim:
        sim.manager.start_session(**{"agent_id": "a", **names})


@pytest.mark.parametrize("names", [{"id": key("x")}, {"idempotency_key": key("x")}], ids=str)
def test_a_run_with_a_secret_for_a_name_is_refused(names):
    with SimulatedSystem() as sim:
        session = sim.active_session()
        for make in (sim.manager.start_run, sim.manager.submit_run):
            with pytest.raises(AsmError) as caught:
                make(session.id, "hi", **names)
            assert caught.value.code == "validation_error"
        with pytest.raises(AsmError):
            sim.manager.run_once("hi", tags=[key("x")])
        assert sim.store.runs() == []


def test_what_the_system_was_configured_with_is_known_to_it(monkeypatch, tmp_path):
    monkeypatch.setenv("BACKEND_API_KEY", "an odd key of 25 letters!")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-in-any-known-form")
    with SimulatedSystem(
        providers={"echo": Echo(), "claude": asm.AnthropicProvider(api_key="given-by-hand-1")}
    ) as sim:
        said = "an odd key of 25 letters! not-in-any-known-form given-by-hand-1"
        assert sim.manager.run_once(said, provider="echo").output["content"] == f"{GONE} {GONE} {GONE}"


@pytest.mark.parametrize("redaction", [None, "yes", 1, {"enabled": True}], ids=repr)
def test_a_malformed_option_is_refused_before_anything_starts(redaction):
    with pytest.raises(AsmError) as caught:
        asm.ActorSystem.start(asm.MemoryStore(), redaction=redaction)
    assert caught.value.code == "validation_error"


def test_the_log_of_a_crash_shows_no_secret_while_a_system_runs(caplog):
    with SimulatedSystem(providers=providers()) as sim:
        with caplog.at_level(logging.DEBUG), pytest.raises(AsmError):
            sim.manager.run_once("hi", provider="crashing")
        formatter = logging.Formatter()
        told = "\n".join(map(formatter.format, caplog.records))
        assert "lost [REDACTED]" in told
        assert _BODY not in told
        logging.getLogger("asm_actors").warning("a %s of %d", "plain line", 1)
        assert caplog.records[-1].args == ("plain line", 1)
    logging.getLogger("asm_actors").warning("%s", key("after"))
    assert _BODY in caplog.text
