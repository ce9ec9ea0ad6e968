from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import runner
from bench.__main__ import main
from bench.cases import BENCHES, CASES, cases_of, load
from bench.child import run
from bench.harness import Durability, Options
from bench.runner import CaseError, run_cases, run_in_child

TINY = {"sessions": 3, "runs": 3, "chunks": 2}


def options(bench: str = "storm", **more) -> Options:
    return Options(**{"bench": bench, "sizes": TINY, **more})


def test_the_child_warms_up_unless_the_bench_forbids_it(monkeypatch):
    seen = []

    def case(asked):
        seen.append(asked.size("sessions"))
        return {"wall_s": 1.0}

    monkeypatch.setattr("bench.child.load", lambda _bench, _case: case)
    for bench in ("storm", "idle"):
        run("case", options(bench, sizes={"sessions": 500}))

    assert seen == [20, 500, 500]


def test_cases_take_turns_and_are_compared_within_a_turn(monkeypatch):
    rates = {"a": iter([10.0, 40.0, 90.0]), "b": iter([5.0, 10.0, 30.0])}
    monkeypatch.setattr(
        runner, "run_in_child", lambda case, _options, timeout: {"events_per_s": next(rates[case])}
    )
    turns = []

    results = run_cases(["a", "b"], options(), repeat=3, on_start=lambda *turn: turns.append(turn))

    assert turns == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]
    assert results == [
        {"events_per_s": 40.0, "repeat": 3, "compared_by": "events_per_s", "ratios": {"b": 3.0}},
        {"events_per_s": 10.0, "repeat": 3, "compared_by": "events_per_s", "ratios": {"a": 0.333}},
    ]


def test_a_case_that_fails_says_why(tmp_path):
    with pytest.raises(CaseError, match="FileNotFoundError"):
        run_in_child("asyncio_lmdb", options(directory=str(tmp_path / "missing")), timeout=60)


def test_a_case_that_takes_too_long_is_ended():
    with pytest.raises(CaseError, match="no result after"):
        run_in_child("asyncio_lmdb", options(), timeout=0.001)


# The command


def test_every_case_belongs_to_a_bench_and_can_be_loaded():
    assert {bench for bench, _ in CASES} <= BENCHES.keys()
    assert all(callable(load(*name)) for name in CASES)


def test_the_module_lists_the_benches_when_none_is_named():
    root = Path(runner.__file__).parent.parent
    shown = subprocess.run(
        [sys.executable, "-m", "bench"], cwd=root, capture_output=True, text=True, check=True
    )

    assert "python -m bench NAME [--json] [options]" in shown.stdout
    assert all(f" {name} " in shown.stdout for name in BENCHES)


@pytest.mark.parametrize("bench", BENCHES)
def test_each_bench_explains_itself_and_its_sizes(bench):
    shown = CliRunner().invoke(main, [bench, "--help"])

    assert shown.exit_code == 0
    assert BENCHES[bench].summary in " ".join(shown.output.split())
    assert all(f"--{size.name}" in shown.output for size in BENCHES[bench].sizes)


@pytest.fixture
def requests(monkeypatch):
    """Collect what the command would run, and give each case one figure."""
    asked = []

    def answer(cases, request, **how):
        asked.append((cases, request, how))
        return [{"bench": request.bench, "case": case, "wall_s": 1.25} for case in cases]

    monkeypatch.setattr("bench.__main__.run_cases", answer)
    return asked


def test_json_is_one_object_per_result_and_line(requests):
    shown = CliRunner().invoke(main, ["storm", "--json", "--cases", "asyncio_lmdb,asyncio_sqlite"])

    assert [json.loads(line)["case"] for line in shown.stdout.splitlines()] == [
        "asyncio_lmdb",
        "asyncio_sqlite",
    ]


def test_without_json_the_results_are_a_table(requests):
    shown = CliRunner().invoke(main, ["storm", "--cases", "asyncio_lmdb"])

    assert "storm: 1,000 sessions, 20 chunks, fsync" in shown.stdout
    assert "1.250" in shown.stdout


def test_the_options_reach_the_cases(requests, tmp_path):
    arguments = "streams --sessions 7 --chunks 4 --pause-ms 2.5 --durability os --repeat 3 --timeout 9"
    shown = CliRunner().invoke(main, [*arguments.split(), "--directory", str(tmp_path)])

    assert shown.exit_code == 0, shown.output
    ((cases, request, how),) = requests
    assert cases == cases_of("streams", on_request=False)
    assert request == Options(
        bench="streams",
        sizes={"runs": 7, "chunks": 4},
        pause_ms=2.5,
        durability=Durability.OS,
        directory=str(tmp_path),
    )
    assert (how["repeat"], how["timeout"]) == (3, 9.0)


def test_a_list_of_sizes_is_a_request_each(requests):
    CliRunner().invoke(main, ["storm", "--sessions", "10,1_000", "--chunks", "1,2"])

    assert [tuple(request.sizes.values()) for _, request, _ in requests] == [
        (10, 1),
        (10, 2),
        (1_000, 1),
        (1_000, 2),
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("storm --cases nobody", "storm has no case 'nobody'"),
        ("storm --sessions 0", "at least 1"),
        ("storm --sessions many", "not a count"),
        ("streams --burst", "--burst goes with no pause"),
        ("unheard-of", "No such command"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(arguments, complaint, requests):
    shown = CliRunner().invoke(main, arguments.split())

    assert shown.exit_code == 2
    assert complaint in shown.output
    assert requests == []


def test_a_bench_without_cases_says_so(requests, monkeypatch):
    monkeypatch.setattr("bench.__main__.cases_of", lambda _bench, **_: ())
    shown = CliRunner().invoke(main, ["mailbox"])

    assert shown.exit_code == 1
    assert "no case of mailbox is registered" in shown.output


def test_a_failed_case_ends_the_command_with_its_reason(monkeypatch):
    def fail(*_args, **_how):
        raise CaseError("asyncio_lmdb", "no space left")

    monkeypatch.setattr("bench.__main__.run_cases", fail)
    shown = CliRunner().invoke(main, ["storm", "--json"])

    assert shown.exit_code == 1
    assert "the case asyncio_lmdb failed: no space left" in shown.output
