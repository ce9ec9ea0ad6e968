"""Approvals, policies, pauses, cancels, continuation and structured output with the real client over real HTTP."""

from __future__ import annotations

import asyncio
import threading

import pytest

import asm_actors as asm
from asm_actors import ErrorCode
from asm_actors.testing.flow_promises import FlowRules, flow_faults
from asm_actors.testing.mock_server import answer, tool_calls

pytestmark = pytest.mark.npm
RATES = (0.01, 0.02)
PRICING = {"claude": {"default": {"input": RATES[0], "output": RATES[1]}}}
USAGE = (10, 5)
OF_CALLS = {"prompt_tokens": 10, "completion_tokens": 5}
RULES = FlowRules(gated=("pay",), rates=RATES)


class Shop:
    """A system with tools: ``pay`` asks before each call, ``send`` waits at a gate if it is held."""

    def __init__(self, serve, base_url, **options):
        self.made, self.gate, self.is_held = [], asyncio.Event(), threading.Event()
        self.began, self.loop = threading.Event(), None

        @asm.tool(requires_approval=True)
        def pay(key: str) -> str:
            """Pay a bill."""
            self.made.append(f"pay {key}")
            return f"paid {key}"

        @asm.tool(timeout=None)
        async def send(key: str) -> str:
            """Send a letter."""
            self.made.append(f"send {key}")
            self.loop = asyncio.get_running_loop()
            self.began.set()
            if self.is_held.is_set():
                await self.gate.wait()
            return f"sent {key}"

        self.served = serve(base_url, tools=[pay, send], pricing=PRICING, **options)
        self.sessions = self.served.sessions

    def open_gate(self):
        self.loop.call_soon_threadsafe(self.gate.set)

    def said(self, run, kind):
        """Wait for an event of a run; return its payload."""
        stream = self.sessions.stream_session_events(
            run.session_id, run_id=run.id, type=kind, limit=1, wait_timeout_ms=20_000
        )
        (event,) = stream
        return event.data

    def asked(self, run):
        """Wait until a run asks; return the id of the call."""
        return self.said(run, "tool_approval_requested")["tool_call_id"]


@pytest.fixture
def mock(mock_model_server):
    """Adds fixtures to the mock model server: a call of a tool, then an answer to its result."""

    def add(text, *calls, then="Done.", usage=(10, 5)):
        mock_model_server.add(
            tool_calls(text, *calls),
            answer(text, then, usage=usage, match={"hasToolResult": True}),
        )

    return add


@pytest.fixture
def shop(mock_model_server, serve):
    """Starts a `Shop`."""
    return lambda **options: Shop(serve, mock_model_server.base_url, **options)


@pytest.fixture
def bodies(mock_model_server):
    """The messages of each request that begins with a text; each must be a conversation which the API accepts."""

    def of(text):
        found = [
            request["body"]["messages"]
            for request in mock_model_server.requests(limit=10_000)
            if request["body"]["messages"][0]["content"] == text
        ]
        for messages in found:
            assert pairing_faults(messages) == []
        return found

    return of


def pairing_faults(messages):
    """What the API refuses: a call without its result right behind it, or a result without its call."""
    faults, open_ids, used = [], [], set()
    for message in (*_results_first(messages), {"role": "user"}):
        if message["role"] == "tool":
            if message["tool_call_id"] in open_ids:
                open_ids.remove(message["tool_call_id"])
            else:
                faults.append(f"{message['tool_call_id']} answers no call before it")
            continue
        faults += [f"{call_id} has no answer" for call_id in open_ids]
        open_ids = [call["id"] for call in message.get("tool_calls") or ()]
        faults += [f"{call_id} occurs twice" for call_id in open_ids if call_id in used]
        used.update(open_ids)
    return faults


def _results_first(messages):
    """Where one message of the API has results and words, the server's journal has the words first."""
    found = list(messages)
    for at in range(len(found) - 1, 0, -1):
        if (found[at - 1]["role"], found[at]["role"]) == ("user", "tool"):
            end = next((n for n in range(at, len(found)) if found[n]["role"] != "tool"), len(found))
            found.insert(end - 1, found.pop(at - 1))
    return found


def results(messages):
    return [message["content"] for message in messages if message["role"] == "tool"]


@pytest.fixture
def ended(reopen, story):
    """``ended(shop, run)``: stops the system, checks its journal, and returns what it tells of the run."""

    def tell(shop, run):
        shop.served.system.stop()
        store = reopen()
        assert flow_faults(store, RULES) == []
        return story(store, run.id)

    return tell


# --- Approvals ---------------------------------------------------------------------------------------------------


def test_a_call_waits_and_is_made_with_what_somebody_changed(mock, shop, bodies, ended):
    mock("http-grant", ("pay", {"key": "much"}))
    found = shop()
    run = found.served.submit("http-grant")
    call_id = found.asked(run)
    assert found.sessions.get_run(run.id).status == "awaiting_approval"
    assert len(bodies("http-grant")) == 1
    found.sessions.grant_approval(run.id, call_id, by="ann", tool_input={"key": "less"})
    assert found.served.outcome(run) is None
    assert found.made == ["pay less"]
    assert results(bodies("http-grant")[1]) == ["paid less"]
    told = ended(found, run)
    assert told.data("tool_call_started")[0]["tool_input"] == {"key": "less"}


def test_a_denied_call_is_not_made_and_the_model_is_told(mock, shop, bodies, ended):
    mock("http-deny", ("pay", {"key": "much"}))
    found = shop()
    run = found.served.submit("http-deny")
    found.sessions.deny_approval(run.id, found.asked(run), by="ann", reason="too much")
    assert found.served.outcome(run) is None
    assert found.made == []
    assert results(bodies("http-deny")[1]) == ["the call of pay was denied by ann: too much"]
    ended(found, run)


def test_a_question_that_nobody_answers_is_denied_in_time(mock, shop, bodies, ended):
    mock("http-late", ("pay", {"key": "much"}))
    found = shop(policy={"approval_timeout": 0.05})
    run = found.served.submit("http-late")
    assert found.served.outcome(run) is None
    assert found.made == []
    assert "nobody allowed it within 0.05 s" in results(bodies("http-late")[1])[0]
    assert ended(found, run).data("tool_approval_denied")[0]["timed_out"]


# --- Policies ----------------------------------------------------------------------------------------------------


def test_a_tool_that_a_rule_forbids_is_not_called(mock, shop, bodies, ended):
    mock("http-rule", ("send", {"key": "a"}))
    found = shop(policy={"name": "quiet", "tool_rules": [("deny", ["send"])]})
    run = found.served.submit("http-rule")
    assert found.served.outcome(run) is None
    assert found.made == []
    assert "send" in results(bodies("http-rule")[1])[0]
    story = ended(found, run)
    assert [data["details"]["tool_name"] for data in story.data("policy_violation")] == ["send"]
    assert story.run.details["policy"]["violated"]


def test_a_budget_ends_the_run_before_its_call_is_made(mock_model_server, shop, ended):
    mock_model_server.add(tool_calls("http-budget", ("send", {"key": "a"}), usage=OF_CALLS))
    found = shop(policy={"limits": {"max_total_tokens": 10}})
    run = found.served.submit("http-budget")
    assert found.served.outcome(run).code is ErrorCode.POLICY_VIOLATION
    assert found.made == []
    story = ended(found, run)
    assert story.data("policy_violation")[0]["details"] == {
        "metric": "total_tokens",
        "actual": 15,
        "limit": 10,
        "policies": ["default"],
    }


def test_a_budget_in_dollars_asks_by_the_price_table(mock_model_server, shop, ended):
    mock_model_server.add(
        tool_calls("http-dollars", ("send", {"key": "a"}), usage=OF_CALLS),
        answer("http-dollars", "Done.", usage=(20, 10), match={"hasToolResult": True}),
    )
    found = shop(policy={"limits": {"max_cost_usd": 0.1}, "on_violation": "request_approval"})
    run = found.served.submit("http-dollars")
    asked = found.said(run, "tool_approval_requested")
    assert (asked["violation_kind"], asked["lifts"]) == ("budget_exceeded", ["cost_usd"])
    found.sessions.grant_approval(run.id, asked["tool_call_id"], scope="run")
    assert found.served.outcome(run) is None
    assert found.made == ["send a"]
    assert ended(found, run).run.cost_usd == pytest.approx(30 * RATES[0] + 15 * RATES[1])


# --- Pauses, cancels ---------------------------------------------------------------------------------------------


def test_a_paused_run_asks_for_no_turn_before_it_is_resumed(mock, shop, bodies, ended):
    mock("http-pause", ("send", {"key": "a"}))
    found = shop()
    found.is_held.set()
    run = found.served.submit("http-pause")
    assert found.began.wait(20.0)
    found.sessions.pause_run(run.id, by="ann")
    found.open_gate()
    assert found.said(run, "run_paused") == {"scope": "run", "by": "ann"}
    assert len(bodies("http-pause")) == 1
    found.sessions.resume_run(run.id)
    assert found.served.outcome(run) is None
    assert results(bodies("http-pause")[1]) == ["sent a"]
    ended(found, run)


def test_a_cancel_stops_the_tool_and_the_model_is_asked_nothing_more(mock, shop, bodies, ended):
    mock("http-cancel-tool", ("send", {"key": "a"}))
    found = shop()
    found.is_held.set()
    run = found.served.submit("http-cancel-tool")
    assert found.began.wait(20.0)
    assert found.sessions.cancel_run(run.id).status == "cancelled"
    story = ended(found, run)
    assert story.types[-2:] == ["tool_call_failed", "run_cancelled"]
    assert len(bodies("http-cancel-tool")) == 1


def test_a_cancel_in_the_middle_of_an_answer_keeps_what_was_said(mock_model_server, shop, ended):
    mock_model_server.add(answer("http-cancel-talk", "word " * 400, latency=20))
    found = shop()
    run = found.served.speaking("http-cancel-talk")
    final = found.sessions.interrupt_run(run.id, by="ann")
    assert (final.status, final.output["partial"]) == ("cancelled", True)
    story = ended(found, run)
    assert story.data("run_cancelled")[0]["operation"] == "interrupt"
    assert final.output["content"] == story.streamed


# --- Continuation, structured output -----------------------------------------------------------------------------


def test_a_conversation_with_calls_is_sent_again_as_the_api_wants_it(mock, shop, bodies, ended):
    mock("http-again", ("send", {"key": "a"}), ("pay", {"key": "b"}), ("pay", {"key": "c"}))
    found = shop(policy={"approval_timeout": None})
    first = found.served.submit("http-again")
    found.asked(first)
    for one in found.sessions.pending_approvals(run_id=first.id):
        decide = (
            found.sessions.grant_approval if one.tool_input["key"] == "b" else found.sessions.deny_approval
        )
        decide(first.id, one.call_id)
    assert found.served.outcome(first) is None
    # Cancelled while it asks: the conversation has a call without an answer.
    second = found.sessions.submit_run(first.session_id, "http-again, once more", continuation="replay")
    found.asked(second)
    found.sessions.cancel_run(second.id)
    third = found.sessions.submit_run(first.session_id, "http-again, at last", continuation="auto")
    assert found.served.outcome(third) is None
    last = bodies("http-again")[-1]
    assert [message["content"] for message in last if message["role"] == "user"] == [
        "http-again",
        "http-again, once more",
        "http-again, at last",
    ]
    assert len(results(last)) == 6
    assert ended(found, third).run.details["continuation"]["used"] == "replay"


def test_an_answer_that_does_not_fit_is_asked_for_once_more(mock_model_server, shop, bodies, ended):
    mock_model_server.add(
        answer("http-schema", "It is four.", usage=USAGE),
        answer("does not fit the required JSON Schema", '{"n": 4}', usage=USAGE),
    )
    found = shop()
    run = found.served.submit("http-schema", output_schema={"type": "object", "required": ["n"]})
    assert found.served.outcome(run) is None
    assert len(bodies("http-schema")) == 2
    story = ended(found, run)
    assert (story.run.details["object"], story.run.details["object_attempts"]) == ({"n": 4}, 2)
    assert story.run.token_usage == {"input_tokens": 20, "output_tokens": 10}


# --- All at once -------------------------------------------------------------------------------------------------

N = 50
KINDS = ("grant", "deny", "forbidden", "cancel", "talk")


async def _one_session(manager, number):
    kind, text = KINDS[number % len(KINDS)], f"http-many-{number:02d}"
    session = await manager.activate_session((await manager.start_session(agent_id="agent")).id)
    options = {"policy": {"tool_rules": [("deny", ["send"])]}} if kind == "forbidden" else {}
    run = await manager.submit_run(session.id, text, **options)
    if kind in ("grant", "deny", "cancel"):
        stream = manager.stream_session_events(
            session.id, run_id=run.id, type="tool_approval_requested", limit=1, wait_timeout_ms=30_000
        )
        (call_id,) = [event.data["tool_call_id"] async for event in stream]
        if kind == "grant":
            await manager.grant_approval(run.id, call_id, tool_input={"key": f"edited {number}"})
        elif kind == "deny":
            await manager.deny_approval(run.id, call_id)
        else:
            return await manager.cancel_run(run.id)
    await manager.await_run(run.id, timeout=30.0)
    again = await manager.submit_run(session.id, f"{text}, and now?", continuation="replay", tools=[])
    await manager.await_run(again.id, timeout=30.0)
    return await manager.get_run(run.id)


def test_fifty_sessions_do_all_of_it_at_once(mock_model_server, journal, reopen, story, bodies):
    made = []

    @asm.tool(requires_approval=True)
    async def pay(key: str) -> str:
        """Pay a bill."""
        made.append(key)
        return f"paid {key}"

    @asm.tool
    async def send(key: str) -> str:
        """Send a letter."""
        made.append(f"sent {key}")
        return "sent"

    for number in range(N):
        kind, text = KINDS[number % len(KINDS)], f"http-many-{number:02d}"
        mock_model_server.add(answer(f"{text}, and now?", f"Nothing, {number}.", usage=USAGE))
        if kind != "talk":
            call = ("send" if kind == "forbidden" else "pay", {"key": f"asked {number}"})
            mock_model_server.add(tool_calls(text, call, usage=OF_CALLS))
        mock_model_server.add(answer(text, f"Done, {number}.", usage=USAGE))
    claude = asm.AnthropicProvider(
        "claude-test", api_key="sk-mock-not-a-key", base_url=mock_model_server.base_url
    )

    async def all_of_them():
        limits = asm.Limits(max_parallel_sessions=N, max_parallel_runs=10)
        system = asm.AsyncActorSystem.start(
            journal, {"claude": claude}, limits, tools=[pay, send], pricing=PRICING
        )
        async with system:
            return await asyncio.gather(*(_one_session(system.sessions, number) for number in range(N)))

    runs = asyncio.run(all_of_them())
    assert sorted(made) == sorted(f"edited {number}" for number in range(0, N, len(KINDS)))
    store = reopen()
    assert flow_faults(store, RULES) == []
    for number, run in enumerate(runs):
        kind, text = KINDS[number % len(KINDS)], f"http-many-{number:02d}"
        assert run.status == ("cancelled" if kind == "cancel" else "completed")
        assert len(story(store, run.id).ends) == 1
        sent = bodies(text)
        assert len(sent) == {"cancel": 1, "talk": 2}.get(kind, 3)
        if kind == "grant":
            assert results(sent[-1]) == [f"paid edited {number}"]
