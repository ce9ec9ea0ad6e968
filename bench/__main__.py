"""The command `python -m bench NAME [--json] [options]`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console

from bench.cases import BENCHES, Bench, cases_of
from bench.harness import Durability, Options
from bench.report import show_benches, show_results
from bench.runner import CaseError, run_cases
from bench.table import PLAN, as_markdown, machine, requests

__all__ = ["main"]


class _Sizes(click.ParamType[tuple[int, ...]]):
    """One or more counts: `1000` or `100,1000,10000`; each is a request of its own."""

    name = "N[,N...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(part.replace("_", "")) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a count or a list of counts", param, ctx)
        if min(sizes) < 1:
            self.fail("a size is at least 1", param, ctx)
        return sizes


class _Cases(click.ParamType[tuple[str, ...]]):
    """Names of cases of one bench, separated by commas, each once."""

    name = "CASE[,CASE...]"

    def __init__(self, bench: str) -> None:
        self._bench = bench

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        known = cases_of(self._bench)
        names = tuple(dict.fromkeys(str(value).split(",")))
        for name in names:
            if name not in known:
                self.fail(
                    f"{self._bench} has no case {name!r}; it has {', '.join(known) or 'none'}", param, ctx
                )
        return names


class _Names(click.ParamType[tuple[str, ...]]):
    """Names of benches, separated by commas."""

    name = "BENCH[,BENCH...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        names = tuple(str(value).split(",")) if isinstance(value, str) else tuple(value)
        for name in names:
            if name not in BENCHES:
                self.fail(f"there is no bench {name!r}; there are {', '.join(BENCHES)}", param, ctx)
        return names


@attrs.frozen
class _Request:
    """How to measure, whatever the bench."""

    cases: tuple[str, ...]
    repeat: int
    timeout: float
    as_json: bool


def _command(bench: Bench) -> click.Command:
    def callback(**given: Any) -> None:
        request = _Request(
            cases=given["cases"] or cases_of(bench.name, on_request=False),
            repeat=given["repeat"],
            timeout=given["timeout"],
            as_json=given["as_json"],
        )
        if not request.cases:
            raise click.ClickException(f"no case of {bench.name} is registered")
        for options in _requests(bench, given):
            _run(request, options)

    return click.Command(
        bench.name,
        params=[*_size_options(bench), *_common_options(bench)],
        callback=callback,
        short_help=bench.summary,
        help=f"{bench.summary}\n\n{bench.details}",
    )


def _size_options(bench: Bench) -> list[click.Parameter]:
    options: list[click.Parameter] = [
        click.Option(
            [size.name, *(f"--{name}" for name in (size.name, *size.aliases))],
            type=_Sizes(),
            default=(size.default,),
            show_default=str(size.default),
            help=size.help,
        )
        for size in bench.sizes
    ]
    if bench.pause_ms is not None:
        options += [
            click.Option(
                ["--pause-ms"],
                type=click.FloatRange(min=0),
                default=bench.pause_ms,
                show_default=True,
                help="Milliseconds between two chunks.",
            ),
            click.Option(
                ["--burst"],
                is_flag=True,
                help="Chunks come without a turn of the loop between them (only with no pause).",
            ),
        ]
    if bench.keeps_journal:
        options.append(
            click.Option(
                ["--journal"],
                type=click.Path(file_okay=False, path_type=Path),
                help="A journal to use again; it is made if it is not there (default: one that is removed).",
            )
        )
    return options


def _common_options(bench: Bench) -> list[click.Parameter]:
    on_request = [name for name in cases_of(bench.name) if name not in cases_of(bench.name, on_request=False)]
    asked_for = f" Only on request: {', '.join(on_request)}." if on_request else ""
    return [
        click.Option(
            ["--cases"],
            type=_Cases(bench.name),
            show_default=", ".join(cases_of(bench.name, on_request=False)) or "none",
            help=f"The programs to measure.{asked_for}",
        ),
        click.Option(
            ["--repeat"],
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Runs of each case; they take turns, and the median of each figure counts.",
        ),
        click.Option(
            ["--durability"],
            type=click.Choice([str(level) for level in Durability]),
            default=str(Durability.FSYNC),
            show_default=True,
            help="fsync: each commit is synced to the disk; os: the operating system syncs when it likes.",
        ),
        click.Option(
            ["--directory"],
            type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
            help="Where journals are made (default: the system's temporary directory). "
            "A RAM disk has no fsync to measure.",
        ),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0, min_open=True),
            default=900.0,
            show_default=True,
            help="Seconds which one run of one case may take.",
        ),
        click.Option(["as_json", "--json"], is_flag=True, help="Print one JSON object per result and line."),
    ]


def _requests(bench: Bench, given: dict[str, Any]) -> Iterator[Options]:
    """Yield one request for each combination of the sizes."""
    if given.get("burst") and given["pause_ms"]:
        raise click.UsageError("--burst goes with no pause: add --pause-ms 0")
    names = [size.name for size in bench.sizes]
    for sizes in itertools.product(*(given[name] for name in names)):
        yield Options(
            bench=bench.name,
            sizes=dict(zip(names, sizes, strict=True)),
            pause_ms=given.get("pause_ms", 0.0),
            burst=given.get("burst", False),
            durability=Durability(given["durability"]),
            directory=None if given["directory"] is None else str(given["directory"].resolve()),
            journal=None if given.get("journal") is None else str(given["journal"].resolve()),
        )


def _run(request: _Request, options: Options) -> None:
    error_console = Console(stderr=True)
    with error_console.status(f"{options.bench} ...") as status:

        def on_start(case: str, turn: int) -> None:
            status.update(f"{options.bench}: {case}, {turn} of {request.repeat}")

        try:
            results = run_cases(
                request.cases, options, repeat=request.repeat, timeout=request.timeout, on_start=on_start
            )
        except CaseError as error:
            raise click.ClickException(str(error)) from error
    if request.as_json:
        for result in results:
            click.echo(json.dumps(result))
    else:
        show_results(Console(), options, results)


@click.group(
    invoke_without_command=True,
    commands={bench.name: _command(bench) for bench in BENCHES.values()},
    help="Measure the runtime, and programs written without it, on the same work. "
    "Without a name: list the benches.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """List the benches if none is named; the commands do the rest."""
    if context.invoked_subcommand is None:
        show_benches(Console())


@main.command("all", short_help="Measure all benches at the sizes that matter; print Markdown.")
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--only", type=_Names(), help="Only these benches.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=900.0, show_default=True)
@click.option(
    "--directory", type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path), default=None
)
def measure_all(repeat: int, only: tuple[str, ...] | None, timeout: float, directory: Path | None) -> None:
    """Measure all benches at the sizes that matter, and print the results as Markdown while they come."""
    plan = [row for row in PLAN if only is None or row.bench in only]
    where = None if directory is None else str(directory.resolve())
    click.echo(f"Machine: {machine(where)}.\n")
    for row, options, cases in requests(plan, Durability.FSYNC, where):
        try:
            results = run_cases(cases, options, repeat=repeat, timeout=timeout)
        except CaseError as error:
            click.echo(f"### {options.bench}: no result\n\n{error}\n")
        else:
            click.echo(as_markdown(row, options, results))


if __name__ == "__main__":
    main(prog_name="python -m bench")
