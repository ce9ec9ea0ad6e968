"""The contract of the stores leaves nothing out: each method of the port, each option of it, on each store.

Read from the source of the contract with `ast`: whoever adds a method to the port and no test of it fails here.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import asm_actors as asm
from asm_actors import testing
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.store import Store
from asm_actors.testing.store_contract import StoreContract
from tests.journal import test_store_contract

CONTRACT = sorted(Path(testing.__file__).parent.glob("store_contract*.py"))
METHODS: dict[str, Callable[..., Any]] = {
    name: method for name, method in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")
}


def _called(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """The methods of a store that a module calls, with the parameters it gives them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_of_store(node.func):
            name = node.func.attr
            parameters = list(inspect.signature(METHODS[name]).parameters)[1:]
            given = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
            yield name, given | set(parameters[: len(node.args)])
        elif _is_of_store(node):
            # Handed on, to be called with something.
            yield node.attr, set()


def _is_of_store(node: Any) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "store"
        and node.attr in METHODS
    )


@pytest.fixture(scope="module")
def exercised() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in CONTRACT:
        for name, given in _called(ast.parse(path.read_text())):
            found.setdefault(name, set()).update(given)
    return found


def test_the_port_has_what_both_stores_have() -> None:
    """And what its parts have: the records, and those of the four parts beside."""
    assert len(METHODS) > 40
    for store in (MemoryStore, LmdbStore):
        assert [name for name in METHODS if not callable(getattr(store, name, None))] == []
        assert isinstance(store.description, property)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_in_the_contract_with_each_of_its_options(name, exercised) -> None:
    assert name in exercised, f"StoreContract never calls {name}"
    left = [
        parameter
        for parameter in list(inspect.signature(METHODS[name]).parameters)[1:]
        if parameter not in exercised[name]
    ]
    assert left == [], f"StoreContract never gives {name} the options {left}"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("store", [MemoryStore, LmdbStore])
def test_both_stores_take_what_the_port_promises(store, name) -> None:
    """The same parameters by the same names, with the same defaults."""
    promised, there = (
        [(one.name, one.default, one.kind) for one in inspect.signature(method).parameters.values()]
        for method in (METHODS[name], getattr(store, name))
    )
    assert there[: len(promised)] == promised


def test_every_part_of_the_contract_is_in_it() -> None:
    for path in CONTRACT:
        module = import_module(f"asm_actors.testing.{path.stem}")
        for name in module.__all__:
            part = getattr(module, name)
            if isinstance(part, type):
                assert issubclass(StoreContract, part), f"StoreContract leaves {name} out"


def test_the_contract_runs_on_both_stores() -> None:
    suites = [
        suite
        for suite in vars(test_store_contract).values()
        if isinstance(suite, type) and issubclass(suite, StoreContract) and suite is not StoreContract
    ]
    tests = {name for name in dir(StoreContract) if name.startswith("test_")}
    assert len(tests) > 90
    fixtures = "".join(inspect.getsource(suite) for suite in suites)
    assert "LmdbStore(" in fixtures
    assert "MemoryStore(" in fixtures
    for suite in suites:
        # A suite that replaced a test of the contract would not keep it.
        assert tests.isdisjoint(vars(suite))


# --- What users of session stores know -----------------------------------------------------------------------------

# Every operation that a store of sessions, its queries, its maintenance and its artifacts have elsewhere, and what does
# it here: on the store, and on a running system.
COUNTERPARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "sessions, runs and events": {
        "save_session": ("Store.commit", "Append.session", "SessionManager.start_session"),
        "get_session": ("Store.session", "SessionManager.get_session"),
        "list_sessions": ("Store.sessions", "SessionManager.list_sessions"),
        "delete_session": (
            "Store.erase_sessions",
            "SessionManager.delete_session",
            "Maintenance.delete_for_good",
        ),
        "save_run": ("Store.commit", "Append.runs", "SessionManager.start_run"),
        "get_run": ("Store.run", "SessionManager.get_run"),
        "list_runs": ("Store.runs", "SessionManager.get_session_runs"),
        "get_active_run": ("Store.open_runs", "SessionManager.get_session_runs", "RunStatus.RUNNING"),
        "append_event": ("Store.commit", "Append.drafts"),
        "append_event_with_sequence": ("Store.commit", "Appended.first_sequence"),
        "append_events": ("Store.commit", "Appended.count"),
        "flush": ("Store.commit", "Append.session", "Append.runs", "Append.drafts"),
        "get_events": ("Store.read_session", "SessionManager.get_session_events"),
        "get_latest_sequence": ("Store.head", "Session.last_sequence"),
    },
    "queries": {
        "search_sessions": ("Store.search_sessions", "Queries.search_sessions"),
        "get_session_stats": ("Store.session_stats", "Queries.get_session_stats"),
        "search_runs": ("Store.search_runs", "Queries.search_runs"),
        "get_usage_summary": ("Store.usage_summary", "Queries.get_usage_summary"),
        "get_cost_summary": ("Store.cost_summary", "Queries.get_cost_summary"),
        "search_events": ("Store.search_events", "Queries.search_events"),
        "count_events": ("Store.count_events", "Queries.count_events"),
        "export_session": ("Queries.export_session", "Maintenance.export"),
    },
    "maintenance": {
        "execute": ("Maintenance.execute", "RetentionPolicy"),
        "soft_delete": (
            "Maintenance.execute",
            "RetentionPolicy.max_completed_session_age_days",
            "MaintenanceReport.sessions_soft_deleted",
        ),
        "hard_delete": (
            "Maintenance.execute",
            "RetentionPolicy.hard_delete_after_days",
            "MaintenanceReport.sessions_hard_deleted",
        ),
        "prune_session_events": ("Store.prune_events", "Maintenance.prune_session_events"),
        "clean_orphaned_artifacts": ("Maintenance.clean_orphaned_artifacts", "Store.drop_artifacts"),
        "health_check": ("Maintenance.health_check", "Store.orphans"),
    },
    "bytes of artifacts": {
        "put": ("ArtifactStore.put", "FileArtifactStore.put", "S3ArtifactStore.put"),
        "get": ("ArtifactStore.get", "FileArtifactStore.get", "S3ArtifactStore.get"),
        "delete": ("ArtifactStore.delete", "FileArtifactStore.delete", "S3ArtifactStore.delete"),
    },
    "records of artifacts": {
        "register": ("Store.save_artifacts", "ArtifactRegistry.register"),
        "get_by_key": ("Store.artifact_by_key", "ArtifactRegistry.get_by_key"),
        "list_by_session": ("Store.artifacts", "ArtifactRegistry.list_by_session"),
        "session_stats": ("ArtifactRegistry.session_stats", "ArtifactStats.total_bytes"),
        "delete": ("Store.save_artifacts", "ArtifactRegistry.delete", "Artifact.deleted_us"),
    },
}
"""Family -> operation -> its counterparts."""

_MODULES = {
    "Append": "journal.append",
    "Appended": "journal.append",
    "Artifact": "maintenance.artifact",
    "ArtifactRegistry": "maintenance.registry",
    "ArtifactStats": "maintenance.artifact",
    "ArtifactStore": "maintenance.artifact",
    "FileArtifactStore": "maintenance.file_artifacts",
    "Maintenance": "maintenance.surface",
    "MaintenanceReport": "maintenance.report",
    "Queries": "queries",
    "RetentionPolicy": "maintenance.policy",
    "RunStatus": "runs.run",
    "S3ArtifactStore": "maintenance.s3_artifacts",
    "Session": "sessions.session",
    "SessionManager": "sessions.manager",
    "Store": "journal.store",
}


@pytest.mark.parametrize(
    ("family", "count"),
    [
        ("sessions, runs and events", 14),
        ("queries", 8),
        ("maintenance", 6),
        ("bytes of artifacts", 3),
        ("records of artifacts", 5),
    ],
)
def test_every_operation_of_a_session_store_has_its_counterpart(family, count) -> None:
    assert len(COUNTERPARTS[family]) == count
    for operation, counterparts in COUNTERPARTS[family].items():
        for counterpart in counterparts:
            owner, _, name = counterpart.partition(".")
            kind = getattr(import_module(f"asm_actors.{_MODULES[owner]}"), owner)
            fields = {field.name for field in getattr(kind, "__attrs_attrs__", ())}
            assert not name or hasattr(kind, name) or name in fields, (
                f"{operation}: there is no {counterpart}"
            )


def test_a_system_has_all_of_them_on_both_surfaces() -> None:
    with asm.ActorSystem.start(asm.MemoryStore(), {}) as system:
        for family, surface in (
            ("queries", system.queries),
            ("records of artifacts", system.artifacts),
        ):
            for operation in COUNTERPARTS[family]:
                assert callable(getattr(surface, operation))
        for operation in ("execute", "prune_session_events", "clean_orphaned_artifacts", "health_check"):
            assert callable(getattr(system.maintenance, operation))
    pairs = [
        ("queries", "Queries"),
        ("maintenance.surface", "Maintenance"),
        ("maintenance.registry", "ArtifactRegistry"),
        ("sessions.manager", "SessionManager"),
    ]
    for module, name in pairs:
        found = import_module(f"asm_actors.{module}")
        public = {one for one in dir(getattr(found, name)) if not one.startswith("_")}
        assert public <= set(dir(getattr(found, f"Async{name}"))), name
