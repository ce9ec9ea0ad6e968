from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.asm_cases.running import WorkloadProvider, check_journal
from bench.baselines.plain import VerificationError
from bench.cases import BENCHES, CASES, cases_of, load
from bench.harness import Durability, Options
from bench.report import title_of
from bench.table import PLAN, Row, as_markdown, requests
from bench.workload import AROUND, Workload

TIMES = {"wall_s", "cpu_s", "rss_bytes", "threads"}
LATENCIES = {"p50_ms", "p99_ms", "max_ms"}
EVENT_RATES = {"events", "events_per_s"}

#: The tiny request of each bench, and what a result of the runtime says beside times.
TINY = {
    "mailbox": ({"messages": 50, "actors": 3}, LATENCIES | {"messages_per_s"}),
    "journal": ({"events": 24, "sessions": 3, "batch": 2}, LATENCIES | EVENT_RATES),
    "fanout": ({"subscribers": 4, "stalled": 1, "chunks": 3}, {"events_per_s"}),
    "restart": ({"actors": 3}, LATENCIES | {"at_once_ms", "restarts_per_s"}),
    "storm": ({"sessions": 3, "chunks": 2}, LATENCIES | EVENT_RATES | {"sessions_per_s"}),
    "single": ({"sessions": 3, "chunks": 2}, LATENCIES | EVENT_RATES | {"sessions_per_s"}),
    "streams": ({"runs": 3, "chunks": 2}, EVENT_RATES | {"sessions_per_s"}),
    "idle": ({"sessions": 5}, {"bytes_per_session", "private_bytes_per_session", "sessions_per_s"}),
    "redaction": ({"sessions": 2, "turns": 1, "chunks": 2, "bytes": 1000}, set()),
    "cancel": ({"runs": 4, "cancels": 2, "chunks": 1}, LATENCIES | EVENT_RATES),
    "recovery": ({"runs": 6, "chunks": 1}, LATENCIES | EVENT_RATES | {"serving_s", "recovered_s"}),
    "cold": (
        {"sessions": 30, "events": 300, "asked": 5},
        LATENCIES | {"open_s", "start_s", "append_ratio", "private_bytes", "journal_bytes"},
    ),
}
OURS = [(bench, case) for bench, case in CASES if not CASES[bench, case].startswith("bench.baselines")]


def tiny(bench: str, **more) -> Options:
    sizes, _ = TINY[bench]
    pause_ms = 0.0 if BENCHES[bench].pause_ms is None else 1.0
    return Options(**{"bench": bench, "sizes": sizes, "pause_ms": pause_ms, **more})


def test_the_runtime_takes_part_in_every_bench_and_comes_first():
    assert TINY.keys() == BENCHES.keys()
    assert {cases_of(bench)[0] for bench in BENCHES} == {"asm"}


@pytest.mark.parametrize(("bench", "case"), OURS)
def test_a_case_measures_what_it_promises_and_leaves_nothing_behind(bench, case, tmp_path):
    found = load(bench, case)(tiny(bench, directory=str(tmp_path)))

    assert TIMES | TINY[bench][1] <= found.keys()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ["bare_lmdb", "bare_lmdb_by_session"])
def test_the_bare_journal_writes_the_same_number_of_events(case, tmp_path):
    request = tiny("journal", directory=str(tmp_path))

    assert load("journal", case)(request)["events"] == load("journal", "asm")(request)["events"] == 24


def test_plain_actors_take_part_in_mailbox():
    assert load("mailbox", "pykka_threads")(tiny("mailbox"))["messages_per_s"] > 0


def test_subscribers_get_every_event_and_the_stalled_ones_hold_nobody_up(tmp_path):
    found = load("fanout", "asm")(tiny("fanout", directory=str(tmp_path)))

    assert found.keys() >= LATENCIES
    assert found["deliveries_per_s"] == pytest.approx(3 * (3 + 5) / found["wall_s"], rel=0.01)


@pytest.mark.parametrize("durability", list(Durability))
def test_a_session_of_the_runtime_writes_as_many_events_as_any_other(durability, tmp_path):
    request = tiny("storm", directory=str(tmp_path), durability=durability, pause_ms=0.0, burst=True)

    assert load("storm", "asm")(request)["events"] == 3 * (2 + AROUND)
    assert load("storm", "asyncio_lmdb")(request)["events"] == 3 * (2 + AROUND)


def test_the_check_refuses_a_journal_that_holds_other_sessions(tmp_path):
    import asm_actors as asm

    work = Workload(chunks=2)
    with asm.ActorSystem.start(tmp_path, {"scripted": WorkloadProvider(work)}) as system:
        system.sessions.run_once({"prompt": "x"})
    check_journal(tmp_path, work, 1)

    with pytest.raises(VerificationError):
        check_journal(tmp_path, work, 2)
    with pytest.raises(VerificationError):
        check_journal(tmp_path, Workload(chunks=3), 1)


def test_the_command_prints_the_runtime_beside_the_others():
    shown = CliRunner().invoke(
        main, ["single", "--sessions=2", "--chunks=1", "--json", "--cases=asm,asyncio_lmdb"]
    )

    assert shown.exit_code == 0, shown.output
    ours, theirs = (json.loads(line) for line in shown.stdout.splitlines())
    assert (ours["case"], theirs["case"]) == ("asm", "asyncio_lmdb")
    assert ours["events"] == theirs["events"]
    assert ours["ratios"]["asyncio_lmdb"] > 0


# The plan of `all`


def test_the_plan_asks_every_bench_for_sizes_that_it_has():
    asked = list(requests(PLAN, Durability.FSYNC, None))

    assert {row.bench for row in PLAN} == BENCHES.keys()
    for row, request, cases in asked:
        assert set(row.sizes) <= {size.name for size in BENCHES[row.bench].sizes}
        assert cases[0] == "asm"
        assert not row.without & set(cases)
        assert len(title_of(request, [{}])) > 10
    assert [r.size("sessions") for _, r, _ in asked if r.bench == "storm"] == [1_000, 100, 10_000, 1_000]


def test_results_become_a_table_with_a_column_per_case():
    row = Row("single", ("p50_ms", "absent"), "soon")
    results = [
        {"case": "asm", "p50_ms": 1.5, "compared_by": "p50_ms", "ratios": {"other": 0.5}},
        {"case": "other", "p50_ms": 3.0, "compared_by": "p50_ms", "ratios": {"asm": 2.0}},
    ]

    assert as_markdown(row, tiny("single"), results).splitlines() == [
        "### single: 3 sessions, 2 chunks, fsync, 1 ms apart",
        "",
        "Goal: soon.",
        "",
        "|  | asm | other |",
        "| --- | ---: | ---: |",
        "| p50_ms | 1.500 | 3.000 |",
        "| p50_ms x asm |  | 2.00 |",
    ]


def test_all_measures_what_is_asked_for_and_says_what_failed(monkeypatch):
    from bench.runner import CaseError

    def answer(cases, request, **how):
        if request.bench == "idle":
            raise CaseError("asm", "no memory")
        return [{"case": case, "p50_ms": 1.0} for case in cases]

    monkeypatch.setattr("bench.__main__.run_cases", answer)
    shown = CliRunner().invoke(main, ["all", "--only", "single,idle"])

    assert shown.exit_code == 0, shown.output
    assert "### single: 300 sessions" in shown.output
    assert "### idle: no result" in shown.output
    assert "no memory" in shown.output
    assert "storm" not in shown.output


def test_all_refuses_a_bench_that_is_not_there():
    assert "there is no bench 'nobody'" in CliRunner().invoke(main, ["all", "--only", "nobody"]).output
