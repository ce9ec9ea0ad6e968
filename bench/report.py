"""Shows results to people: a table per request, one row per case."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cases import BENCHES, cases_of
from bench.harness import Options, Result

__all__ = ["cell", "show_benches", "show_results", "title_of"]

#: Keys that describe the request or the comparison; the title and the last column tell them.
_TOLD_ELSEWHERE = frozenset({"bench", "case", "durability", "pause_ms", "burst", "repeat", "ratios"})


def show_benches(console: Console) -> None:
    """List the benches and who takes part in each."""
    table = Table("bench", "question", "cases", box=box.SIMPLE)
    for bench in BENCHES.values():
        table.add_row(bench.name, bench.summary, ", ".join(cases_of(bench.name)) or "none yet")
    console.print("Usage: python -m bench NAME [--json] [options]", markup=False)
    console.print(table)
    console.print("python -m bench NAME --help tells what a bench measures and which options it takes.")


def show_results(console: Console, options: Options, results: Sequence[Result]) -> None:
    """Print the results of one request as a table."""
    hidden = _TOLD_ELSEWHERE | options.sizes.keys() | {"compared_by"}
    keys = [key for key in dict.fromkeys(key for result in results for key in result) if key not in hidden]
    table = Table(box=box.SIMPLE)
    table.add_column("", no_wrap=True)
    cases = [result["case"] for result in results]
    for case in cases:
        table.add_column(case, justify="right", no_wrap=True)
    for key in keys:
        table.add_row(key, *(cell(key, result.get(key)) for result in results))
    for other in cases if len(cases) > 1 else ():
        row = (_ratio(result, other) for result in results)
        table.add_row(Text(f"x {other}", style="dim"), *row)
    # A table's own title would be folded to the width of the table.
    console.print(title_of(options, results), style="bold")
    console.print(table)
    if compared_by := results[0].get("compared_by"):
        console.print(f"x NAME: {compared_by} of the column's case, divided by NAME's")


def title_of(options: Options, results: Sequence[Result]) -> str:
    """Return what was measured, in one line."""
    sizes = ", ".join(f"{size:,} {name}" for name, size in options.sizes.items())
    title = f"{options.bench}: {sizes}, {options.durability}"
    if options.pause_ms:
        title += f", {options.pause_ms:g} ms apart"
    if options.burst:
        title += ", in a burst"
    if repeat := results[0].get("repeat"):
        title += f", median of {repeat}"
    return title


def cell(key: str, value: float | str | None) -> str:
    """Return a figure as a reader wants it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if key.endswith("rss_bytes"):
        return f"{value / 2**20:,.1f} MiB"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.3f}"


def _ratio(result: Result, other: str) -> str:
    value = result.get("ratios", {}).get(other)
    return "" if value is None else f"{value:.2f}"
