"""The doors: what they promise is there, documented, frozen, and JSON-ready."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from enum import Enum
from pathlib import Path

import attrs
import pytest

import asm_actors as asm
import supervisors

REPOSITORY = Path(__file__).resolve().parents[1]
DOORS = ["asm_actors", "asm_actors.messages", "supervisors", "supervisors.testing"]

# Promised to users; a name may be added here, never taken out.
PROMISED = {
    "ActorSystem",
    "AnthropicProvider",
    "Artifact",
    "ArtifactRegistry",
    "ArtifactStore",
    "AsmError",
    "AsyncActorSystem",
    "AsyncAuditLog",
    "AsyncMaintenance",
    "AsyncQueries",
    "AsyncSessionManager",
    "AsyncSessionStream",
    "AsyncSubscription",
    "AsyncWorkflowBridge",
    "AuditLog",
    "BaseProvider",
    "BroadcastSink",
    "Broadcaster",
    "CallbackSink",
    "Capability",
    "CapabilityResolver",
    "CapabilityType",
    "CompactRenderer",
    "ConcurrencyError",
    "Config",
    "CostSummary",
    "ErrorCategory",
    "ErrorClass",
    "ErrorCode",
    "Event",
    "EventFilter",
    "EventType",
    "EventsFound",
    "FileArtifactStore",
    "FileSink",
    "JSONLSink",
    "Limits",
    "LmdbStore",
    "Maintenance",
    "MaintenanceReport",
    "Manifest",
    "MemoryStore",
    "Message",
    "NamedCursor",
    "OpenTelemetryExporter",
    "PassthroughRenderer",
    "Pattern",
    "PermissionMode",
    "PricingTable",
    "Provider",
    "ProviderError",
    "PubSub",
    "PubSubSink",
    "Queries",
    "RecommendedAction",
    "Redaction",
    "Redactor",
    "Registry",
    "Rendering",
    "ResourceError",
    "RetentionPolicy",
    "RetryPolicy",
    "Router",
    "Run",
    "RunResult",
    "RunStatus",
    "RunsFound",
    "RuntimeFailure",
    "S3ArtifactStore",
    "ScriptedProvider",
    "Session",
    "SessionExport",
    "SessionManager",
    "SessionStats",
    "SessionStatus",
    "SessionStream",
    "SessionsFound",
    "StateError",
    "StepResult",
    "StorageError",
    "Store",
    "StudioRenderer",
    "Subscription",
    "SubscriptionInfo",
    "SubscriptionStatistics",
    "TTYSink",
    "Telemetry",
    "TelemetryRecorder",
    "ToolError",
    "Topic",
    "TopicScope",
    "Transcript",
    "TurnRequest",
    "UsageSummary",
    "ValidationError",
    "VerboseRenderer",
    "WorkflowBridge",
    "classify_error",
    "event_callback",
    "messages",
    "topic_of",
}
PROMISED_SUPERVISORS = {
    "Actor",
    "AutoShutdown",
    "Backoff",
    "ChildSpec",
    "DynamicSupervisor",
    "LoopDispatcher",
    "Registry",
    "Restart",
    "SimulationDispatcher",
    "SlotPool",
    "Strategy",
    "Supervisor",
    "ThreadActor",
}
PROMISED_TESTING = {"Gate", "ManualClock", "Probe", "settle"}
OPERATIONS = {
    "activate_session",
    "await_run",
    "cancel_run",
    "cancel_session",
    "compact_session",
    "complete_session",
    "delete_session",
    "drain",
    "execute_run",
    "fail_session",
    "fork_session",
    "get_capabilities",
    "get_run",
    "get_session",
    "get_session_events",
    "get_session_runs",
    "list_sessions",
    "pause_session",
    "resume_session",
    "run_at",
    "run_once",
    "session_at",
    "start_run",
    "start_session",
    "status",
    "stream_session",
    "stream_session_events",
    "submit_run",
    "subscribe",
    "subscriptions",
    "transcript",
    "unsubscribe",
}
# Values that users hold: frozen, and JSON-ready in both directions.
MAPPED = [
    asm.Artifact,
    asm.Capability,
    asm.Config,
    asm.Event,
    asm.Limits,
    asm.Manifest,
    asm.Message,
    asm.NamedCursor,
    asm.Registry,
    asm.Run,
    asm.Session,
    asm.Transcript,
]


@pytest.mark.parametrize("door", DOORS)
def test_a_door_lists_its_names_sorted_once_and_has_them_all(door):
    module = importlib.import_module(door)
    assert module.__all__ == sorted(set(module.__all__))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_each_name_is_imported_from_where_type_checkers_think_it_is():
    tree = ast.parse(Path(asm.__file__).read_text(encoding="utf-8"))
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {
        alias.name: f"asm_actors.{alias.name}" if node.module == "asm_actors" else node.module
        for node in typed.body
        for alias in node.names
    }
    assert homes == asm._HOMES
    assert sorted(homes) == asm.__all__
    assert set(asm.__all__) <= set(dir(asm))


def test_a_name_that_is_not_there_is_an_error_of_the_usual_kind():
    with pytest.raises(AttributeError, match="module 'asm_actors' has no attribute 'Nothing'"):
        asm.Nothing
    with pytest.raises(ImportError):
        from asm_actors import Nothing  # noqa: F401


@pytest.mark.parametrize(
    ("module", "promised"),
    [
        (asm, PROMISED),
        (supervisors, PROMISED_SUPERVISORS),
        (importlib.import_module("supervisors.testing"), PROMISED_TESTING),
    ],
    ids=["asm_actors", "supervisors", "supervisors.testing"],
)
def test_the_promised_names_are_there(module, promised):
    assert promised - set(module.__all__) == set()


@pytest.mark.parametrize("door", DOORS)
def test_every_public_class_and_function_is_documented(door):
    module = importlib.import_module(door)
    assert module.__doc__
    found = [getattr(module, name) for name in module.__all__]
    bare = [
        value.__name__
        for value in found
        if (inspect.isclass(value) or inspect.isfunction(value)) and not _own_doc(value)
    ]
    assert bare == []


@pytest.mark.parametrize("door", ["asm_actors", "supervisors"])
def test_every_public_method_is_documented_in_its_class_or_a_base(door):
    module = importlib.import_module(door)
    bare = []
    for name in module.__all__:
        value = getattr(module, name)
        if not inspect.isclass(value) or not value.__module__.startswith(("asm_actors", "supervisors")):
            continue
        for method, function in vars(value).items():
            if method.startswith("_") or not inspect.isfunction(function):
                continue
            if not inspect.getdoc(getattr(value, method)):
                bare.append(f"{name}.{method}")
    assert bare == []


@pytest.mark.parametrize("surface", [asm.SessionManager, asm.AsyncSessionManager])
def test_a_manager_has_every_operation(surface):
    assert [name for name in sorted(OPERATIONS) if not callable(getattr(surface, name, None))] == []


def test_both_managers_have_the_same_operations():
    def names(surface):
        return {name for name in dir(surface) if not name.startswith("_")}

    assert names(asm.SessionManager) == names(asm.AsyncSessionManager)


@pytest.mark.parametrize("name", ["start_session", "start_run", "submit_run", "cancel_run", "list_sessions"])
def test_an_operation_has_one_signature_and_one_text_on_both_surfaces(name):
    blocking, awaited = getattr(asm.SessionManager, name), getattr(asm.AsyncSessionManager, name)
    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert blocking.__doc__ == awaited.__doc__
    assert inspect.iscoroutinefunction(awaited)
    assert not inspect.iscoroutinefunction(blocking)


def test_both_systems_start_alike():
    blocking, awaited = (
        inspect.signature(system.start) for system in (asm.ActorSystem, asm.AsyncActorSystem)
    )
    assert list(blocking.parameters) == list(awaited.parameters)
    for system in (asm.ActorSystem, asm.AsyncActorSystem):
        assert {"session", "run", "tree", "stop", "start"} <= set(dir(system))


@pytest.mark.parametrize("value", [*MAPPED, asm.RunResult, asm.EventFilter, asm.RetryPolicy])
def test_values_are_frozen_attrs_classes(value):
    assert attrs.has(value)
    instance = object.__new__(value)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(instance, attrs.fields(value)[0].name.lstrip("_"), None)


@pytest.mark.parametrize("value", MAPPED)
def test_values_go_to_a_map_and_come_back(value):
    assert callable(value.to_map)
    assert inspect.ismethod(value.from_map)


def test_records_and_errors_survive_json():
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
        result = system.sessions.run_once("hello")
        session = system.sessions.get_session(result.session_id)
        run = system.sessions.get_run(result.run_id)
        events = system.sessions.get_session_events(result.session_id)
        for value in (session, run, *events):
            assert type(value).from_map(json.loads(json.dumps(value.to_map()))) == value
        assert json.loads(json.dumps(result.to_map()))["output"] == run.output
    error = asm.AsmError(asm.ErrorCode.SESSION_NOT_FOUND, "gone")
    assert type(asm.AsmError.from_map(json.loads(json.dumps(error.to_map())))) is asm.ResourceError


def test_a_result_reads_the_events_of_its_run():
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
        result = system.sessions.run_once("hello")
        assert [event.type for event in result.events][-1] is asm.EventType.RUN_COMPLETED
        assert {event.run_id for event in result.events} == {result.run_id}


def test_closed_sets_are_enumerations_of_text():
    for name in ("CapabilityType", "ErrorCategory", "ErrorCode", "EventType", "RunStatus", "SessionStatus"):
        members = getattr(asm, name)
        assert issubclass(members, str)
        assert issubclass(members, Enum)


def test_every_error_is_an_asm_error():
    for name in asm.__all__:
        value = getattr(asm, name)
        if inspect.isclass(value) and issubclass(value, BaseException):
            assert issubclass(value, asm.AsmError), name


def test_both_packages_say_that_they_are_typed():
    for package in ("asm_actors", "supervisors"):
        assert (REPOSITORY / package / "py.typed").is_file()


def _own_doc(value) -> str | None:
    # attrs and NamedTuple make a text when there is none; it begins with the name.
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    if doc and inspect.isclass(value) and doc.startswith(f"{value.__name__}("):
        return None
    return doc
