"""What the random programs do: small values that are made into appends, searches and records when their turn comes.

Hypothesis chooses the step, whose it is and what is odd about it. What does not change what can go wrong (which of two
agents, how many tokens) comes from a number that it chooses as well.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from asm_actors.events import EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.cursors import NamedCursor
from asm_actors.journal.large import LARGE_FROM
from asm_actors.maintenance.artifact import Artifact
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus
from tests.journal.machine.agreement import RUN_KEYS, SESSION_KEYS
from tests.journal.machine.model import Model

SESSIONS = [f"s{n}" for n in range(6)]
PROVIDERS = ("p", "q")
TAGS = ("red", "green")
TYPES = (EventType.MESSAGE_STREAMED, EventType.MESSAGE_RECEIVED, EventType.TOOL_CALL_STARTED)
ODDITIES = (
    "chosen",
    "chosen twice",
    "fork",
    "fork",
    "foreign run",
    "large",
    "packed",
    "twin keys",
    "unstorable",
    "wrong record",
)

names = st.sampled_from(SESSIONS)
varieties = st.integers(0, 1 << 16)


class Wish(NamedTuple):
    """An append that is wanted."""

    name: str
    count: int
    has_record: bool
    has_run: bool
    expect: str
    oddity: str | None
    variety: int


wishes = st.builds(
    Wish,
    names,
    st.sampled_from([0, 1, 1, 3, 40]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["none", "none", "right", "right", "wrong"]),
    st.none() | st.none() | st.sampled_from(ODDITIES),
    varieties,
)


def append_for(model: Model, wish: Wish, base: int) -> tuple[Append, Sequence[Draft]]:
    """Make an append of a wish.

    Args:
        model: What is there before it.
        wish: What is wanted.
        base: For the ids of its events.

    Returns:
        The append, and its drafts, which may be packed in it.
    """
    rng = random.Random(wish.variety)
    record = _record(model, wish, rng) if wish.has_record or wish.oddity == "fork" else None
    runs = _runs(model, wish, rng)
    # Of runs that are there, as an import demands.
    owned = [*model.runs_of(wish.name), *(run for run in runs if run.session_id == wish.name)]
    run_ids = [None, *dict.fromkeys(run.id for run in owned)]
    drafts = [_draft(wish, k, rng, rng.choice(run_ids)) for k in range(wish.count)]
    if wish.oddity == "unstorable" and drafts:
        drafts[-1] = drafts[-1]._replace(data={"unstorable": object()})
    head = model.heads.get(wish.name, 0 if record is None else record.forked_at or 0)
    expect = {"none": None, "right": head, "wrong": head + 7}[wish.expect]
    append = Append(wish.name, drafts, base, record, runs, expect)
    if wish.oddity == "packed" and drafts:
        append = append._replace(drafts=pack_drafts(base, drafts), expect=head if expect is None else expect)
    return append, drafts


def _record(model: Model, wish: Wish, rng: random.Random) -> Session:
    fields: dict[str, Any] = {
        "status": rng.choice(list(SessionStatus)),
        "agent_id": rng.choice("xy"),
        "tags": tuple(sorted(rng.sample(TAGS, rng.randrange(3)))),
        "deleted_us": rng.choice((None, None, None, 7)),
        "created_us": rng.randrange(13),
        "updated_us": rng.randrange(13),
        "provider": rng.choice((None, *PROVIDERS)),
    }
    if wish.oddity == "large":
        fields["context"] = _large(rng)
    known = model.sessions.get(wish.name)
    if known is not None and wish.oddity != "wrong record":
        return known.replace(**fields)
    fields["idempotency_key"] = rng.choice((None, None, *SESSION_KEYS))
    if wish.oddity == "fork":
        fields["parent_session_id"] = rng.choice(SESSIONS)
        last = model.heads.get(fields["parent_session_id"], 2)
        fields["forked_at"] = rng.choice((0, 1, last // 2 or 1, last or 1, last or 1, last + 1))
    return Session("s9" if wish.oddity == "wrong record" else wish.name, **fields)


def _runs(model: Model, wish: Wish, rng: random.Random) -> tuple[Run, ...]:
    if wish.oddity == "foreign run":
        foreign = [run for run in model.runs.values() if run.session_id != wish.name]
        if foreign:
            return (rng.choice(foreign).replace(session_id=rng.choice((wish.name, "s9"))),)
    if wish.oddity == "twin keys":
        return tuple(_run(model, wish, rng, n, RUN_KEYS[0]) for n in (3, 4))
    if not wish.has_run:
        return ()
    key = rng.choice((None, None, *RUN_KEYS))
    return tuple(_run(model, wish, rng, n, key) for n in rng.sample(range(3), rng.choice((1, 1, 2))))


def _run(model: Model, wish: Wish, rng: random.Random, n: int, key: str | None) -> Run:
    fields: dict[str, Any] = {
        "status": rng.choice(list(RunStatus)),
        "provider": rng.choice((None, *PROVIDERS)),
        "created_us": rng.randrange(13),
        "started_us": rng.choice((None, rng.randrange(13))),
        "token_usage": rng.choice(
            ({}, {"input_tokens": 3}, {"input_tokens": 1, "output_tokens": 4}, {"total_tokens": 9})
        ),
        "cost_usd": rng.choice((None, None, 0.25)),
        "provider_metadata": rng.choice(({}, {"model": "big-1"}, {"model": "small"})),
        "input": {"prompt": f"p{rng.randrange(3)}"},
    }
    if wish.oddity == "large":
        fields["output"] = _large(rng)
    name = f"{wish.name}r{n}"
    known = model.runs.get(name)
    if known is not None and known.session_id == wish.name:
        return known.replace(**fields)
    return Run(name, wish.name, idempotency_key=key, **fields)


def _draft(wish: Wish, k: int, rng: random.Random, run_id: str | None) -> Draft:
    data = {"n": k, "text": "x" * 50} if rng.random() < 0.8 else {}
    if wish.oddity == "large" and not k:
        data = _large(rng)
    chosen = None
    if wish.oddity in ("chosen", "chosen twice") and k < 2:
        chosen = f"own{rng.randrange(4) if wish.oddity == 'chosen' else 0}"
    return Draft(
        rng.choice(TYPES),
        rng.randrange(13),
        run_id,
        data,
        rng.choice(({}, {"m": 1})),
        rng.choice((None, *PROVIDERS)),
        rng.choice((None, None, "c1", "c2")),
        chosen,
    )


def _large(rng: random.Random) -> dict[str, Any]:
    return {"text": "lorem ipsum " * (LARGE_FROM // 8), "kind": rng.randrange(2)}


def cursors_for(rng: random.Random) -> dict[str, NamedCursor | None]:
    """Some cursors to be kept or forgotten."""
    chosen = rng.sample(("a", "b", "ü", "z/1"), rng.randrange(1, 4))
    return {
        name: rng.choice(
            (None, NamedCursor(name, {"session_id": "s1"}, rng.randrange(9), 1, rng.randrange(9)))
        )
        for name in chosen
    }


def artifacts_for(rng: random.Random) -> list[Artifact]:
    """Some records of artifacts."""
    return [
        Artifact(
            f"art_{rng.randrange(4)}",
            rng.choice(SESSIONS),
            f"key{rng.randrange(4)}",
            rng.randrange(9),
            "0" * 64,
            "file",
            "there",
            rng.randrange(5),
            rng.choice((None, None, 7)),
        )
        for _ in range(rng.randrange(1, 3))
    ]
