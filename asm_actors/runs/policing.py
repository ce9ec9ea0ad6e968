"""Part of a run's core: what its policy makes of it. Pure; rules in `runs.state`.

1. A run without a policy, none of whose tools wants somebody to be asked, has no evaluator, and pays nothing for this.
2. The policy hears each fact when it happens, and puts what it finds on record behind the event that led to it. Calls
   of the host's tools are asked about one after the other, before any of them begins, so that limits count.
3. A run that has to end by its policy is stopped like one that is cancelled: first the stream is closed, or the tools
   are, then it ends as failed with ``policy_violation``, whatever the provider came to meanwhile.
4. What the policy knows is a fold over the run's events (`policies.state`): a rebuilt run knows the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from attrs import evolve

from asm_actors.capabilities.manifest import Manifest
from asm_actors.cost.pricing import PricingTable
from asm_actors.effects import Effect, SetTimer
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.policies.approval import Approval
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.policies.evaluator import GATED_ONLY, Evaluator
from asm_actors.policies.facts import Fact, RunBegan, TimePassed, TurnOver, UsageSoFar, UsageTold, fact_of
from asm_actors.policies.hints import compile_hints, honoured_hints, with_hints
from asm_actors.policies.policy import Policy, stack_merge
from asm_actors.policies.preflight import preflight
from asm_actors.policies.resolving import as_policy
from asm_actors.policies.rulings import Deny, Ruling
from asm_actors.policies.state import PolicyState
from asm_actors.runs.execution import Handler, Phase, RunState, append, draft, fail
from asm_actors.runs.notices import TimeIsUp
from asm_actors.runs.request import provider_of
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.stops import stop
from asm_actors.sessions.session import Session
from asm_actors.tools.tool import Tool

__all__ = [
    "GRANTS",
    "HANDLERS",
    "evaluator_for",
    "fact_told",
    "fail_policed",
    "grants_of",
    "has_policy",
    "hears",
    "is_over",
    "judged",
    "looked_again",
    "policed_by",
    "policy_for",
    "refused_at_once",
    "stopped",
    "timed",
    "turn_told",
    "watch_over",
]

GRANTS: Final = "grants"
"""Key in a session's ``options``: grants that stand for like calls of all its runs."""
_LOOKING: Final = frozenset(
    {Phase.WAITING, Phase.RECOVERING, Phase.PREPARING, Phase.STREAMING, Phase.PARKED, Phase.CALLING}
)
"""Where a run stands that is not about to end."""


def policy_for(system: Policy | None, session: Session, run: Run) -> Policy | None:
    """Return the policy of a run: the system's, its session's and its own as one; None if there is none.

    Raises:
        ValidationError: One of the records holds what is no policy.
    """
    given = [
        found for found in (session.options.get("policy"), run.options.get("policy")) if found is not None
    ]
    if not given:
        return system
    mine = [as_policy(found) for found in given]
    return stack_merge(mine if system is None else [system, *mine])


def evaluator_for(
    policy: Policy | None,
    pricing: PricingTable,
    provider: str | None,
    tools: Mapping[str, Tool],
    run: Run,
    known: PolicyState | None = None,
) -> Evaluator | None:
    """Make what looks at a run; None if nothing has to.

    Args:
        policy: See `policy_for`.
        pricing: What models cost.
        provider: Who answers.
        tools: The host's tools that it may use.
        run: Its record.
        known: What is known of it, if it is taken up again.
    """
    gated = frozenset(name for name, tool in tools.items() if tool.requires_approval)
    if policy is None and not gated:
        return None
    state = PolicyState(started_us=run.started_us) if known is None else known
    return Evaluator(policy or GATED_ONLY, state, pricing, provider, gated)


def watch_over(
    state: RunState,
    session: Session,
    system: Policy | None,
    pricing: PricingTable,
    manifest: Manifest | None,
    progress: Progress | None = None,
) -> None:
    """Have what is given to the run looked at by its policy from now on, if it has one.

    Args:
        state: A new one; changed in place.
        session: Its session.
        system: The system's policy.
        pricing: What models cost.
        manifest: What its provider says about itself: of what the policy says it gets what it keeps to.
        progress: How far the run had come, if it is taken up again.
    """
    policy = None
    try:
        policy = policy_for(system, session, state.run)
    except AsmError as error:
        state.fault, policy = error, GATED_ONLY
    known = None if progress is None else progress.policed
    state.evaluator = evaluator_for(policy, pricing, state.provider, state.tools, state.run, known)
    if state.evaluator is None:
        return
    granted = grants_of(session)
    if granted:
        book = ApprovalBook() if state.book is None else state.book
        state.book = evolve(book, standing=(*granted, *book.standing))
    if manifest is not None and policy is not None:
        hints, _ = honoured_hints(compile_hints(policy, state.provider), manifest)
        if hints:
            request = state.request
            options = with_hints(request.options, hints, manifest.config)
            state.request = request._replace(options=options)


def grants_of(session: Session) -> tuple[Approval, ...]:
    """Return the grants that stand for calls of all runs of a session; what cannot be read grants nothing."""
    found = []
    for given in session.options.get(GRANTS) or ():
        try:
            found.append(Approval.from_map(given))
        except AsmError:
            continue  # somebody else wrote it: then somebody is asked once more
    return tuple(found)


class PolicyRules(Protocol):
    """What of a system's rules matters to policies."""

    @property
    def policy(self) -> Policy | None:
        """What all runs may do and use."""

    @property
    def pricing(self) -> PricingTable:
        """What models cost."""

    @property
    def default_provider(self) -> str | None:
        """The provider of runs that name none."""


def has_policy(rules: PolicyRules, session: Session, run: Run) -> bool:
    """Whether a run has a policy."""
    return rules.policy is not None or "policy" in run.options or "policy" in session.options


def policed_by(
    rules: PolicyRules, session: Session, run: Run, known: PolicyState | None = None
) -> Evaluator | None:
    """Return what looks at a run for its policy while it has no actor; None if it has none, or none that can be read.

    Args:
        rules: The system's.
        session: Its session.
        run: Its record.
        known: What is known of it.
    """
    if not has_policy(rules, session, run):
        return None
    try:
        policy = policy_for(rules.policy, session, run)
    except AsmError:
        return None
    name = provider_of(session, run, rules.default_provider)
    return evaluator_for(policy, rules.pricing, name, EMPTY, run, known)


# --- Facts -------------------------------------------------------------------------------------------------------


def _observe(state: RunState, fact: Fact, now: int) -> tuple[list[Draft], Ruling]:
    assert state.evaluator is not None
    ruling = state.evaluator.observe(fact, now)
    state.evaluator = ruling.evaluator
    if ruling.ends_run and state.verdict is None:
        state.verdict = _verdict(state, ruling)
    told = [
        draft(state, EventType.POLICY_VIOLATION, now, violation.to_map()) for violation in ruling.violations
    ]
    return told, ruling


def _verdict(state: RunState, ruling: Ruling) -> AsmError:
    context = {"session_id": state.run.session_id, "run_id": state.run.id}
    evaluator, denial = ruling.evaluator, ruling.about_call
    if isinstance(denial, Deny) and not evaluator.state.is_cancelled:
        # Nothing was violated, or only told before: the denial is what ends it.
        details = {
            "policy": evaluator.policy.name,
            "violations": [one.to_map() for one in evaluator.state.violations],
            "tool_call_id": denial.call_id,
        }
        return AsmError(ErrorCode.POLICY_VIOLATION, denial.reason, details=details, context=context)
    return evaluator.error(context)


def is_over(state: RunState) -> bool:
    """Whether the run has to end by its policy."""
    return state.verdict is not None


def fact_told(state: RunState, fact: Fact, now: int) -> list[Draft]:
    """Have the policy hear a fact; return what is to be put on record."""
    return _observe(state, fact, now)[0]


def judged(state: RunState, fact: Fact, now: int) -> tuple[list[Draft], Ruling]:
    """As `fact_told`, of a call that is asked about: also return the ruling."""
    return _observe(state, fact, now)


def hears(state: RunState, drafts: Sequence[Draft], now: int) -> list[Draft]:
    """Have the policy hear what a turn says; return the events with the violations behind those that led to them."""
    found: list[Draft] = []
    for one in drafts:
        found.append(one)
        fact = fact_of(one.type, one.data, one.provider)
        if fact is not None:
            found += fact_told(state, fact, now)
    turn = state.turn
    if turn.usage is not None and turn.usage is not state.usage_heard:
        state.usage_heard = turn.usage
        found += fact_told(state, UsageSoFar(turn.usage, turn.model), now)
    return found


def turn_told(state: RunState, now: int, *, wants_more: bool) -> list[Draft]:
    """Have the policy hear that the turn is over, before its events are told; return the violations.

    Args:
        state: Changed in place.
        now: Microseconds since the epoch.
        wants_more: Whether another turn is to follow.
    """
    turn = state.turn
    found = fact_told(state, UsageTold(turn.usage, turn.model), now) if turn.usage else []
    return found + fact_told(state, TurnOver(turn.cost_usd, turn.model, wants_more), now)


# --- The end, before the beginning, by time ----------------------------------------------------------------------


def stopped(state: RunState, drafts: list[Draft], now: int) -> list[Effect]:
    """End a run that has to end by its policy: what is under way is stopped first.

    Args:
        state: Changed in place.
        drafts: Events to be told before.
        now: Microseconds since the epoch.
    """
    is_idle = state.phase is Phase.CALLING and not any(call.is_running for call in state.calls.values())
    if is_idle:
        return fail_policed(state, drafts, now)
    effects: list[Effect] = [append(state, drafts)] if drafts else []
    ending = (RunStatus.FAILED, EventType.RUN_FAILED, ErrorCode.POLICY_VIOLATION, None)
    return effects + stop(state, ending, now)


def fail_policed(state: RunState, drafts: list[Draft], now: int) -> list[Effect]:
    """End a run that has to end by its policy, with nothing under way."""
    assert state.verdict is not None
    return fail(state, drafts, state.verdict, now)


def refused_at_once(state: RunState) -> AsmError | None:
    """Return why a run cannot go well, by its policy; looked at once, before anything else is done for it."""
    if state.fault is not None:
        return state.fault
    assert state.evaluator is not None
    try:
        preflight(state.evaluator.policy)
    except AsmError as error:
        return error
    return None


def timed(state: RunState, effects: list[Effect], now: int) -> list[Effect]:
    """Have the time that the policy allows counted, once the run has begun, or is taken up again."""
    if state.is_timed or state.evaluator is None or state.phase not in _LOOKING:
        return effects
    started = state.run.started_us
    if started is None:
        return effects
    state.is_timed = True
    if state.evaluator.state.started_us is None:
        # The one fact that `started` does not tell where it writes its event.
        model = state.request.options.get("model")
        fact_told(state, RunBegan(model if isinstance(model, str) else None), started)
    deadline = state.evaluator.deadline_us
    if deadline is None:
        return effects
    return [*effects, _timer(deadline, now)]


def _time_is_up(state: RunState, message: TimeIsUp, now: int) -> list[Effect]:
    if state.evaluator is None or state.phase not in _LOOKING:
        return []
    deadline = state.evaluator.deadline_us
    if deadline is not None and now < deadline:
        # A timer counts on another clock than the one that tells the time, and may be early by a few microseconds.
        return [_timer(deadline, now)]
    told = fact_told(state, TimePassed(), now)
    if is_over(state):
        return stopped(state, told, now)
    return [append(state, told)] if told else []


def _timer(deadline: int, now: int) -> Effect:
    return SetTimer("policy", max(0.0, (deadline - now) / 1_000_000), TimeIsUp())


def looked_again(state: RunState, now: int) -> list[Effect]:
    """Look at a run before it goes on; if it has to end, `is_over` says so, and what is returned ends it."""
    assert state.evaluator is not None
    if state.evaluator.state.is_cancelled:
        # It was about to end by its policy when its earlier life was over.
        state.verdict = state.evaluator.error({"session_id": state.run.session_id, "run_id": state.run.id})
        return stopped(state, [], now)
    told = fact_told(state, TimePassed(), now)
    if is_over(state):
        return stopped(state, told, now)
    return [append(state, told)] if told else []


HANDLERS: dict[type, Handler] = {TimeIsUp: _time_is_up}
"""Message type -> its handler."""
