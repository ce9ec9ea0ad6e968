"""The rules of the house: layers, foreign libraries, cycles, sizes, doors. Read from the source with `ast`.

A module that breaks a rule for a good reason stands in a table below with that reason; a reason that is no longer
needed fails too, so that the tables only get shorter.
"""

from __future__ import annotations

import ast
import fnmatch
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("asm_actors", "supervisors")

# --- The tables -------------------------------------------------------------------------------------------------

# From the bottom up: a module imports its own layer and those below. A module belongs to the first layer that names it.
LAYERS: dict[str, tuple[str, ...]] = {
    # What things are. Pure: no clock, no threads, no log, no input and output.
    "values": (
        "asm_actors.ids",
        "asm_actors.errors",
        "asm_actors.error_codes",
        "asm_actors.events",
        "asm_actors.config",
        "asm_actors.keyed_limits",
        "asm_actors.jsonable",
        "asm_actors.serialization",
        "asm_actors.records",
        "asm_actors.transitions",
        "asm_actors.capabilities*",
        "asm_actors.cost*",
        "asm_actors.normalization*",
        "asm_actors.sessions.session",
        "asm_actors.runs.run",
        "asm_actors.runs.result",
        "asm_actors.json_schema",
        "asm_actors.structuring",
        "asm_actors.tools.context",
        "asm_actors.tools.docstrings",
        "asm_actors.tools.mcp_values",
        "asm_actors.tools.schema",
        "asm_actors.tools.tool",
        "asm_actors.tools.validators",
        "asm_actors.transcripts",
        "asm_actors.transcripts.message",
        "asm_actors.transcripts.builder",
        "asm_actors.transcripts.mending",
        "asm_actors.transcripts.options",
        "asm_actors.transcripts.transcript",
        "asm_actors.transcripts.truncation",
        "asm_actors.journal.append",
        "asm_actors.journal.cursors",
        "asm_actors.journal.query",
        "asm_actors.journal.search",
        "asm_actors.journal.usage",
        "asm_actors.journal.pages",
        "asm_actors.journal.pricing",
        "asm_actors.providers.items",
        "asm_actors.pubsub.topics",
        "asm_actors.workspace.command",
        "asm_actors.workspace.config",
        "asm_actors.workspace.ignoring",
        "asm_actors.workspace.snapshot",
        "asm_actors.workspace.tree",
        "asm_actors.maintenance.artifact",
        "asm_actors.maintenance.policy",
        "asm_actors.maintenance.report",
    ),
    # What happens, as functions of state and message. Pure likewise.
    "cores": (
        "asm_actors.effects",
        "asm_actors.messages",
        "asm_actors.*.messages",
        "asm_actors.*.state",
        "asm_actors.sessions.admission",
        "asm_actors.sessions.approvals",
        "asm_actors.sessions.asking",
        "asm_actors.sessions.questions",
        "asm_actors.sessions.compacting",
        "asm_actors.sessions.control",
        "asm_actors.sessions.control_history",
        "asm_actors.sessions.core",
        "asm_actors.sessions.ending_many",
        "asm_actors.sessions.options",
        "asm_actors.sessions.histories",
        "asm_actors.sessions.holding",
        "asm_actors.sessions.lifecycle",
        "asm_actors.sessions.limits",
        "asm_actors.sessions.second_run",
        "asm_actors.slot_keys",
        "asm_actors.sessions.loaded_runs",
        "asm_actors.sessions.open_runs",
        "asm_actors.sessions.pausing",
        "asm_actors.sessions.queue",
        "asm_actors.sessions.recovery",
        "asm_actors.sessions.verdicts",
        "asm_actors.sessions.requests",
        "asm_actors.sessions.resting",
        "asm_actors.sessions.run_ends",
        "asm_actors.sessions.session_drafts",
        "asm_actors.runs.asking",
        "asm_actors.runs.answers",
        "asm_actors.runs.calls",
        "asm_actors.runs.costs",
        "asm_actors.runs.finishing",
        "asm_actors.runs.preparing",
        "asm_actors.runs.structured",
        "asm_actors.runs.unfinished",
        "asm_actors.runs.control",
        "asm_actors.runs.execution",
        "asm_actors.runs.holding",
        "asm_actors.runs.options",
        "asm_actors.runs.policing",
        "asm_actors.runs.request",
        "asm_actors.runs.resumption",
        "asm_actors.runs.stops",
        "asm_actors.runs.tool_calls",
        "asm_actors.runs.turns",
        "asm_actors.runs.notices",
        "asm_actors.sessions.birth",
        "asm_actors.sessions.mending",
        "asm_actors.redaction*",
        "asm_actors.rendering.ansi",
        "asm_actors.rendering.compact",
        "asm_actors.rendering.jsonl",
        "asm_actors.rendering.renderer",
        "asm_actors.rendering.sink",
        "asm_actors.rendering.studio*",
        "asm_actors.rendering.tool_summary",
        "asm_actors.rendering.verbose",
        "asm_actors.rendering.wording",
        "asm_actors.telemetry.folding",
        "asm_actors.telemetry.hook",
        "asm_actors.telemetry.run_trace",
        "asm_actors.telemetry.semconv",
        "asm_actors.telemetry.spans",
        "asm_actors.policies*",
        "asm_actors.runs.turn",
        "asm_actors.journal.batch",
        "asm_actors.journal.cursor_book",
        "asm_actors.journal.session_facts",
        "asm_actors.journal.store_cursors",
        "asm_actors.journal.sleepers",
        "asm_actors.journal.answers",
        "asm_actors.journal.statistics",
        "asm_actors.journal.store",
        "asm_actors.journal.store_refusals",
        "asm_actors.journal.store_maintenance",
        "asm_actors.journal.store_artifacts",
        "asm_actors.journal.store_search",
        "asm_actors.journal.taken",
        "asm_actors.maintenance.agreement",
        "asm_actors.maintenance.incoming",
        "asm_actors.maintenance.lines",
        "asm_actors.maintenance.planner",
        "asm_actors.journal.replay",
        "asm_actors.journal.replay_faults",
        "asm_actors.journal.lineage",
        "asm_actors.transcripts.reading",
        "asm_actors.transcripts.summing",
        "asm_actors.journal.subscription",
        "asm_actors.providers.base",
        "asm_actors.routing.book",
        "asm_actors.routing.breaker",
        "asm_actors.routing.choice",
        "asm_actors.routing.health",
        "asm_actors.routing.hints",
        "asm_actors.routing.merging",
        "asm_actors.routing.policy",
        "asm_actors.routing.statistics",
        "asm_actors.routing.sticky",
        "asm_actors.routing.target",
        "asm_actors.routing.trip",
    ),
    # Where the world begins: stores, models. No actors.
    "edges": (
        "asm_actors.journal.codec",
        "asm_actors.journal.packing",
        "asm_actors.journal.lmdb_*",
        "asm_actors.journal.memory",
        "asm_actors.journal.memory_cursors",
        "asm_actors.journal.memory_search",
        "asm_actors.journal.memory_artifacts",
        "asm_actors.workspace.*",
        "asm_actors.runs.workspaces",
        "asm_actors.maintenance.*_artifacts",
        "asm_actors.maintenance.arguments",
        "asm_actors.maintenance.cleaning",
        "asm_actors.maintenance.execution",
        "asm_actors.maintenance.export",
        "asm_actors.maintenance.hands",
        "asm_actors.maintenance.health",
        "asm_actors.maintenance.imports",
        "asm_actors.maintenance.pruning",
        "asm_actors.maintenance.work",
        "asm_actors.journal.holes",
        "asm_actors.journal.large",
        "asm_actors.journal.record_codec",
        "asm_actors.journal.reader_lock",
        "asm_actors.journal.quarantine",
        "asm_actors.journal.replay_check",
        "asm_actors.journal.memory_backup",
        "asm_actors.journal.memory_maintenance",
        "asm_actors.journal.placing",
        "asm_actors.journal.tail",
        "asm_actors.journal.writer_lock",
        "asm_actors.providers.anthropic*",
        "asm_actors.providers.retry",
        "asm_actors.providers.script*",
        "asm_actors.tools.mcp_client",
        "asm_actors.tools.mcp_process",
        "asm_actors.tools.mcp_server",
        "asm_actors.settings.*",
        "asm_actors.transcripts.cache",
        "asm_actors.transcripts.continuation",
        "asm_actors.routing.openings",
        "asm_actors.routing.reading",
        "asm_actors.routing.router",
    ),
    # Actors around the cores, and what they share.
    "shells": (
        "asm_actors.services",
        "asm_actors.runs.working",
        "asm_actors.tools.calling",
        "asm_actors.tools.coroutines",
        "asm_actors.tools.mcp_actor",
        "asm_actors.tools.mcp_tools",
        "asm_actors.tools.threads",
        "asm_actors.*.actor",
        "asm_actors.journal.subscriber",
        "asm_actors.journal.upkeep",
        "asm_actors.journal.cursor_keeper",
        "asm_actors.providers.steering",
        "asm_actors.sessions.carrying",
        "asm_actors.sessions.cascading",
        "asm_actors.sessions.delivery",
        "asm_actors.sessions.door",
        "asm_actors.sessions.forking",
        "asm_actors.sessions.lives",
        "asm_actors.sessions.loading",
        "asm_actors.sessions.reserving",
        "asm_actors.sessions.run_line",
        "asm_actors.sessions.supervisor",
        "asm_actors.sessions.writing",
    ),
    # What callers hold.
    "surfaces": (
        "asm_actors.faces",
        "asm_actors.maintenance.live",
        "asm_actors.maintenance.mending",
        "asm_actors.maintenance.registry",
        "asm_actors.maintenance.surface",
        "asm_actors.handles",
        "asm_actors.queries",
        "asm_actors.status",
        "asm_actors.journal.follow",
        "asm_actors.journal.driving",
        "asm_actors.journal.following",
        "asm_actors.journal.persisting",
        "asm_actors.pubsub.*",
        "asm_actors.rendering.*",
        "asm_actors.telemetry.*",
        "asm_actors.sessions.event_surface",
        "asm_actors.sessions.callbacks",
        "asm_actors.sessions.manager",
        "asm_actors.workflow.*",
        "asm_actors.sessions.streaming",
        "asm_actors.sessions.operations",
        "asm_actors.sessions.*_operations",
    ),
    # The whole.
    "top": (
        "asm_actors.tree",
        "asm_actors.redacted_logs",
        "asm_actors.running",
        "asm_actors.starting",
        "asm_actors.signals",
        "asm_actors.system",
        "asm_actors.testing*",
        "asm_actors.cli*",
        "asm_actors",
    ),
}
# Docstrings only.
EMPTY_DOORS = {
    f"asm_actors.{part}"
    for part in (  # noqa: SIM905
        "journal maintenance providers pubsub redaction rendering routing runs sessions "
        "settings telemetry testing tools workflow workspace"
    ).split()
}

PURE_SUPERVISORS = (
    "drain",
    "exits",
    "intensity",
    "plan",
    "rates",
    "slot_counts",
    "slot_order",
    "slot_waiting",
    "slots",
    "spec",
)
IMPURE = {"asyncio", "logging", "os", "random", "socket", "subprocess", "threading", "time"}
PURITY_EXCEPTIONS = {
    "asm_actors.ids": "draws names from the system's random source; cores are given names",
}

# In asm_actors each foreign library has one file, in which its types and errors end.
FOREIGN = {
    "msgpack": ("asm_actors.journal.packing",),
    "lmdb": ("asm_actors.journal.lmdb_env",),
    "anthropic": ("asm_actors.providers.anthropic",),
    "cattrs": ("asm_actors.structuring",),
    "jsonschema": ("asm_actors.json_schema",),
    "referencing": ("asm_actors.json_schema",),
    "mcp": ("asm_actors.tools.mcp_client",),
    "mcp_types": ("asm_actors.tools.mcp_client",),
    "anyio": ("asm_actors.tools.mcp_client",),
    "tenacity": ("asm_actors.providers.retry", "supervisors.backoff"),
    "uvloop": ("supervisors.loops",),
    "pykka": ("supervisors*",),
    "click": ("asm_actors.cli*",),
    "rich": ("asm_actors.cli*",),
    "attrs": ("*",),
    "opentelemetry": ("asm_actors.telemetry.otel",),
}

# Actors are wired together in `tree` alone, but for these.
ACTOR_IMPORTS = {
    (
        "asm_actors.sessions.actor",
        "asm_actors.runs.actor",
    ): "a session is the parent of its runs and starts them",
}

MAX_LINES = 400
MAX_FUNCTION_LINES = 60
# The longest a file may be, and why it is not split.
LONG_FILES: dict[str, tuple[int, str]] = {
    "asm_actors": (480, "the public door: a list of names, each told in three ways"),
    "supervisors.life": (440, "one life from its start to its exit report; half of it is prose"),
    "supervisors.loop_dispatcher": (
        440,
        "one loop and its thread; watchdog, pool and loops are files already",
    ),
}
LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}


# --- Reading ----------------------------------------------------------------------------------------------------


class Import(NamedTuple):
    """One import of a module."""

    name: str
    """What is imported: a module, as far as it can be told."""
    is_typing: bool
    """Under TYPE_CHECKING."""
    is_late: bool
    """Inside a function."""


class Module(NamedTuple):
    """One file."""

    name: str
    path: Path
    source: str
    tree: ast.Module
    imports: tuple[Import, ...]


def _name_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {_name_of(path): path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}


def _imports(nodes: list[ast.stmt], *, typing: bool = False, late: bool = False) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imports(node.body, typing=True, late=late)
            yield from _imports(node.orelse, typing=typing, late=late)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, typing, late)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(whole if whole in PATHS else node.module, typing, late)
        else:
            inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                below = getattr(node, part, None)
                if isinstance(below, list):
                    yield from _imports(below, typing=typing, late=inside)


def _read(name: str, path: Path) -> Module:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    return Module(name, path, source, tree, tuple(_imports(tree.body)))


MODULES = {name: _read(name, path) for name, path in sorted(PATHS.items())}
DOMAIN = [module for name, module in MODULES.items() if name.startswith("asm_actors")]


def _layer(name: str) -> int | None:
    for height, patterns in enumerate(LAYERS.values()):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return height
    return None


def _up_to(layer: str) -> list[Module]:
    """Modules of a layer and of those below."""
    bound = list(LAYERS).index(layer)
    return [module for module in DOMAIN if (height := _layer(module.name)) is not None and height <= bound]


def _own(module: Module) -> list[str]:
    """Modules of this repository that a module imports at run time."""
    return [found.name for found in module.imports if not found.is_typing and found.name in PATHS]


# --- Layers -----------------------------------------------------------------------------------------------------


def test_every_module_of_the_domain_has_a_layer():
    homeless = [m.name for m in DOMAIN if m.name not in EMPTY_DOORS and _layer(m.name) is None]
    assert homeless == [], "name them in LAYERS"


def test_every_name_in_the_table_of_layers_is_of_some_module():
    named = [(layer, pattern) for layer, patterns in LAYERS.items() for pattern in patterns]
    assert [entry for entry in named if not fnmatch.filter(PATHS, entry[1])] == []


def test_modules_import_their_own_layer_and_those_below():
    layers = list(LAYERS)
    upward = [
        f"{module.name} ({layers[height]}) imports {name} ({layers[above]})"
        for module in DOMAIN
        if (height := _layer(module.name)) is not None
        for name in _own(module)
        if name not in EMPTY_DOORS and (above := _layer(name)) is not None and above > height
    ]
    assert upward == []


def test_values_cores_and_edges_know_no_actors():
    knowing = [
        f"{module.name} imports {name}"
        for module in _up_to("edges")
        for name in _own(module)
        # What is pure there is a value, or a function of values, like what is here.
        if name.startswith("supervisors") and name.removeprefix("supervisors.") not in PURE_SUPERVISORS
    ]
    assert knowing == []


def test_values_and_cores_are_pure():
    impure = {
        module.name
        for module in _up_to("cores")
        for found in module.imports
        if not found.is_typing and found.name.split(".")[0] in IMPURE
    }
    assert impure == set(PURITY_EXCEPTIONS)


def test_the_pure_files_of_supervisors_are_pure():
    forbidden = IMPURE | {"pykka"}
    impure = [
        f"{name} imports {found.name}"
        for name in PURE_SUPERVISORS
        for found in MODULES[f"supervisors.{name}"].imports
        if not found.is_typing and found.name.split(".")[0] in forbidden
    ]
    assert impure == []


def test_supervisors_know_nothing_of_the_domain():
    knowing = [
        module.name
        for name, module in MODULES.items()
        if name.startswith("supervisors")
        and any(found.name.split(".")[0] == "asm_actors" for found in module.imports)
    ]
    assert knowing == []


def test_actors_are_wired_together_in_the_tree_alone():
    def is_actor(name: str) -> bool:
        return name.endswith((".actor", ".subscriber")) or name == "asm_actors.sessions.supervisor"

    wired = {
        (module.name, name)
        for module in DOMAIN
        for name in _own(module)
        if is_actor(name)
        and name.startswith("asm_actors.")
        and module.name.split(".")[1:2] not in (["tree"], ["testing"])
        and module.name.split(".")[:2] != name.split(".")[:2]
    }
    assert wired == set(ACTOR_IMPORTS)


def test_there_are_no_cycles():
    graph = {
        name: {found.name for found in module.imports if not found.is_typing and not found.is_late}
        & set(PATHS)
        for name, module in MODULES.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name in done:
            return
        for other in sorted(graph[name] - {name}):
            visit(other, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


# --- Foreign libraries ------------------------------------------------------------------------------------------


def test_every_foreign_library_has_its_place():
    known = set(sys.stdlib_module_names) | set(PACKAGES)
    astray = [
        f"{module.name} imports {found.name}"
        for module in MODULES.values()
        for found in module.imports
        if (library := found.name.split(".")[0]) not in known
        and not any(fnmatch.fnmatchcase(module.name, place) for place in FOREIGN.get(library, ()))
    ]
    assert astray == []


# --- Sizes ------------------------------------------------------------------------------------------------------


def _too_long(sizes: dict[str, int], bound: int, excepted: dict[str, tuple[int, str]]) -> dict[str, int]:
    assert set(excepted) - set(sizes) == set(), "there is no such thing any more"
    return {name: size for name, size in sizes.items() if size > excepted.get(name, (bound, ""))[0]}


def test_files_are_short():
    sizes = {name: len(module.source.splitlines()) for name, module in MODULES.items()}
    assert _too_long(sizes, MAX_LINES, LONG_FILES) == {}


def _code_lines(module: Module) -> set[int]:
    """Lines that hold code: neither blank, nor only a comment."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(module.source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def _docstring_lines(node: ast.AST) -> set[int]:
    body = getattr(node, "body", [])
    first = body[0] if body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return set()


def test_functions_are_short():
    sizes: dict[str, int] = {}
    for module in MODULES.values():
        code = _code_lines(module)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = set(range(node.lineno, (node.end_lineno or node.lineno) + 1)) & code
                sizes[f"{module.name}:{node.name}"] = len(lines - _docstring_lines(node))
    assert _too_long(sizes, MAX_FUNCTION_LINES, LONG_FUNCTIONS) == {}


# --- Doors ------------------------------------------------------------------------------------------------------


def _all_of(module: Module) -> list[str] | None:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def _constants_first(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_documented_and_lists_its_public_names_in_order(name):
    module = MODULES[name]
    assert ast.get_docstring(module.tree), "a module begins by saying what it is"
    names = _all_of(module)
    if names is None:
        return
    assert names in (sorted(set(names)), sorted(set(names), key=_constants_first))
    bare = [
        node.name
        for node in module.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name in names
        and not ast.get_docstring(node)
    ]
    assert bare == [], "public names have docstrings"


def test_the_doors_of_parts_hold_nothing():
    for name in EMPTY_DOORS:
        body = [node for node in MODULES[name].tree.body if not isinstance(node, ast.Expr)]
        assert all(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in body), name


def test_every_module_defers_its_annotations():
    eager = [
        name
        for name, module in MODULES.items()
        if any(not isinstance(node, ast.Expr) for node in module.tree.body)
        and not any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in module.tree.body
        )
    ]
    assert eager == []
