"""A supervised actor runtime that hosts many AI agent sessions in one process and loses nothing.

::

    import asm_actors as asm

    with asm.ActorSystem.start(journal="var/journal", providers={"mock": asm.ScriptedProvider()}) as system:
        result = system.sessions.run_once({"prompt": "Hello"}, provider="mock")
        print(result.output["content"], result.token_usage)
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # not from `typing`: the command shall be there before much is imported
if TYPE_CHECKING:
    from asm_actors import messages
    from asm_actors.capabilities.capability import Capability, CapabilityType
    from asm_actors.capabilities.manifest import Manifest
    from asm_actors.capabilities.registry import Registry
    from asm_actors.capabilities.resolver import CapabilityResolver
    from asm_actors.config import Limits
    from asm_actors.errors import (
        AsmError,
        ConcurrencyError,
        ErrorCategory,
        ErrorCode,
        ProviderError,
        ResourceError,
        RuntimeFailure,
        StateError,
        StorageError,
        ToolError,
        ValidationError,
    )
    from asm_actors.events import Event, EventType
    from asm_actors.journal.cursors import NamedCursor, SubscriptionInfo
    from asm_actors.journal.follow import AsyncSubscription, Subscription
    from asm_actors.journal.lmdb_store import LmdbStore
    from asm_actors.journal.memory import MemoryStore
    from asm_actors.journal.pricing import CostSummary, PricingTable
    from asm_actors.journal.search import EventsFound, RunsFound, SessionsFound
    from asm_actors.journal.store import EventFilter, Store
    from asm_actors.journal.subscription import SubscriptionStatistics
    from asm_actors.journal.usage import SessionStats, UsageSummary
    from asm_actors.maintenance.artifact import Artifact, ArtifactStats, ArtifactStore
    from asm_actors.maintenance.export import ExportReport
    from asm_actors.maintenance.file_artifacts import FileArtifactStore
    from asm_actors.maintenance.imports import ImportReport
    from asm_actors.maintenance.policy import RetentionPolicy
    from asm_actors.maintenance.registry import ArtifactRegistry, AsyncArtifactRegistry
    from asm_actors.maintenance.report import MaintenanceProgress, MaintenanceReport
    from asm_actors.maintenance.s3_artifacts import S3ArtifactStore
    from asm_actors.maintenance.surface import AsyncMaintenance, Maintenance
    from asm_actors.policies.approval import Approval, ApprovalStatus, GrantScope
    from asm_actors.policies.permission_mode import PermissionMode
    from asm_actors.policies.policy import Policy
    from asm_actors.policies.rules import PolicyLimits, ToolRule
    from asm_actors.providers.anthropic import AnthropicProvider
    from asm_actors.providers.base import BaseProvider, Provider, TurnRequest
    from asm_actors.providers.retry import RetryPolicy
    from asm_actors.providers.scripted import ScriptedProvider
    from asm_actors.pubsub.broker import PubSub
    from asm_actors.pubsub.sink import Broadcaster, PubSubSink, event_callback
    from asm_actors.pubsub.topics import Topic, TopicScope, topic_of
    from asm_actors.queries import AsyncQueries, Queries, SessionExport
    from asm_actors.redaction.pattern import Pattern
    from asm_actors.redaction.redactor import Redactor
    from asm_actors.redaction.settings import Redaction
    from asm_actors.rendering.compact import CompactRenderer
    from asm_actors.rendering.renderer import PassthroughRenderer, Renderer
    from asm_actors.rendering.sink import BaseSink, Sink
    from asm_actors.rendering.sinks import BroadcastSink, CallbackSink, FileSink, JSONLSink, TTYSink
    from asm_actors.rendering.stream import Rendered, Rendering
    from asm_actors.rendering.studio import StudioRenderer
    from asm_actors.rendering.verbose import VerboseRenderer
    from asm_actors.routing.router import Router
    from asm_actors.runs.result import RunResult
    from asm_actors.runs.run import RUN_TRANSITIONS, Run, RunStatus
    from asm_actors.sessions.manager import AsyncSessionManager, SessionManager
    from asm_actors.sessions.requests import DrainReport
    from asm_actors.sessions.session import SESSION_TRANSITIONS, Session, SessionStatus
    from asm_actors.sessions.streaming import AsyncSessionStream, SessionStream
    from asm_actors.settings.config import Config
    from asm_actors.system import ActorSystem, AsyncActorSystem, StopReport
    from asm_actors.telemetry.audit import AsyncAuditLog, AuditLog, AuditPage, AuditRecord
    from asm_actors.telemetry.feed import Telemetry, TelemetryStatistics
    from asm_actors.telemetry.hook import TelemetryHook, TelemetryRecorder
    from asm_actors.telemetry.otel import OpenTelemetryExporter
    from asm_actors.telemetry.spans import Metric, Span
    from asm_actors.tools.context import ToolContext
    from asm_actors.tools.mcp_server import McpServer
    from asm_actors.tools.tool import Tool, tool
    from asm_actors.transcripts.message import Message
    from asm_actors.transcripts.transcript import Transcript
    from asm_actors.workflow.bridge import AsyncWorkflowBridge, WorkflowBridge
    from asm_actors.workflow.classify import ErrorClass, RecommendedAction, classify_error
    from asm_actors.workflow.step import StepResult
    from asm_actors.workspace.backend import Workspace
    from asm_actors.workspace.command import Command, CommandResult
    from asm_actors.workspace.config import WorkspaceConfig
    from asm_actors.workspace.exec import Exec
    from asm_actors.workspace.snapshot import Diff, Rollback, Snapshot
    from asm_actors.workspace.watching import Stop
    from asm_actors.workspace.workspace import open_workspace

__all__ = [
    "ActorSystem",
    "AnthropicProvider",
    "Approval",
    "ApprovalStatus",
    "Artifact",
    "ArtifactRegistry",
    "ArtifactStats",
    "ArtifactStore",
    "AsmError",
    "AsyncActorSystem",
    "AsyncArtifactRegistry",
    "AsyncAuditLog",
    "AsyncMaintenance",
    "AsyncQueries",
    "AsyncSessionManager",
    "AsyncSessionStream",
    "AsyncSubscription",
    "AsyncWorkflowBridge",
    "AuditLog",
    "AuditPage",
    "AuditRecord",
    "BaseProvider",
    "BaseSink",
    "BroadcastSink",
    "Broadcaster",
    "CallbackSink",
    "Capability",
    "CapabilityResolver",
    "CapabilityType",
    "Command",
    "CommandResult",
    "CompactRenderer",
    "ConcurrencyError",
    "Config",
    "CostSummary",
    "Diff",
    "DrainReport",
    "ErrorCategory",
    "ErrorClass",
    "ErrorCode",
    "Event",
    "EventFilter",
    "EventType",
    "EventsFound",
    "Exec",
    "ExportReport",
    "FileArtifactStore",
    "FileSink",
    "GrantScope",
    "ImportReport",
    "JSONLSink",
    "Limits",
    "LmdbStore",
    "Maintenance",
    "MaintenanceProgress",
    "MaintenanceReport",
    "Manifest",
    "McpServer",
    "MemoryStore",
    "Message",
    "Metric",
    "NamedCursor",
    "OpenTelemetryExporter",
    "PassthroughRenderer",
    "Pattern",
    "PermissionMode",
    "Policy",
    "PolicyLimits",
    "PricingTable",
    "Provider",
    "ProviderError",
    "PubSub",
    "PubSubSink",
    "Queries",
    "RUN_TRANSITIONS",
    "RecommendedAction",
    "Redaction",
    "Redactor",
    "Registry",
    "Rendered",
    "Renderer",
    "Rendering",
    "ResourceError",
    "RetentionPolicy",
    "RetryPolicy",
    "Rollback",
    "Router",
    "Run",
    "RunResult",
    "RunStatus",
    "RunsFound",
    "RuntimeFailure",
    "S3ArtifactStore",
    "SESSION_TRANSITIONS",
    "ScriptedProvider",
    "Session",
    "SessionExport",
    "SessionManager",
    "SessionStats",
    "SessionStatus",
    "SessionStream",
    "SessionsFound",
    "Sink",
    "Snapshot",
    "Span",
    "StateError",
    "StepResult",
    "Stop",
    "StopReport",
    "StorageError",
    "Store",
    "StudioRenderer",
    "Subscription",
    "SubscriptionInfo",
    "SubscriptionStatistics",
    "TTYSink",
    "Telemetry",
    "TelemetryHook",
    "TelemetryRecorder",
    "TelemetryStatistics",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolRule",
    "Topic",
    "TopicScope",
    "Transcript",
    "TurnRequest",
    "UsageSummary",
    "ValidationError",
    "VerboseRenderer",
    "WorkflowBridge",
    "Workspace",
    "WorkspaceConfig",
    "classify_error",
    "event_callback",
    "messages",
    "open_workspace",
    "tool",
    "topic_of",
]

# Where each name is, for it is imported when it is first asked for: the command can be interrupted from the begin, and
# whoever needs a part does not wait for the whole.
_HOMES = {
    "ActorSystem": "asm_actors.system",
    "AnthropicProvider": "asm_actors.providers.anthropic",
    "Approval": "asm_actors.policies.approval",
    "ApprovalStatus": "asm_actors.policies.approval",
    "Artifact": "asm_actors.maintenance.artifact",
    "ArtifactRegistry": "asm_actors.maintenance.registry",
    "ArtifactStats": "asm_actors.maintenance.artifact",
    "ArtifactStore": "asm_actors.maintenance.artifact",
    "AsmError": "asm_actors.errors",
    "AsyncActorSystem": "asm_actors.system",
    "AsyncArtifactRegistry": "asm_actors.maintenance.registry",
    "AsyncAuditLog": "asm_actors.telemetry.audit",
    "AsyncMaintenance": "asm_actors.maintenance.surface",
    "AsyncQueries": "asm_actors.queries",
    "AsyncSessionManager": "asm_actors.sessions.manager",
    "AsyncSessionStream": "asm_actors.sessions.streaming",
    "AsyncSubscription": "asm_actors.journal.follow",
    "AsyncWorkflowBridge": "asm_actors.workflow.bridge",
    "AuditLog": "asm_actors.telemetry.audit",
    "AuditPage": "asm_actors.telemetry.audit",
    "AuditRecord": "asm_actors.telemetry.audit",
    "BaseProvider": "asm_actors.providers.base",
    "BaseSink": "asm_actors.rendering.sink",
    "BroadcastSink": "asm_actors.rendering.sinks",
    "Broadcaster": "asm_actors.pubsub.sink",
    "CallbackSink": "asm_actors.rendering.sinks",
    "Capability": "asm_actors.capabilities.capability",
    "CapabilityResolver": "asm_actors.capabilities.resolver",
    "CapabilityType": "asm_actors.capabilities.capability",
    "Command": "asm_actors.workspace.command",
    "CommandResult": "asm_actors.workspace.command",
    "CompactRenderer": "asm_actors.rendering.compact",
    "ConcurrencyError": "asm_actors.errors",
    "Config": "asm_actors.settings.config",
    "CostSummary": "asm_actors.journal.pricing",
    "Diff": "asm_actors.workspace.snapshot",
    "DrainReport": "asm_actors.sessions.requests",
    "ErrorCategory": "asm_actors.errors",
    "ErrorClass": "asm_actors.workflow.classify",
    "ErrorCode": "asm_actors.errors",
    "Event": "asm_actors.events",
    "EventFilter": "asm_actors.journal.store",
    "EventType": "asm_actors.events",
    "EventsFound": "asm_actors.journal.search",
    "Exec": "asm_actors.workspace.exec",
    "ExportReport": "asm_actors.maintenance.export",
    "FileArtifactStore": "asm_actors.maintenance.file_artifacts",
    "FileSink": "asm_actors.rendering.sinks",
    "GrantScope": "asm_actors.policies.approval",
    "ImportReport": "asm_actors.maintenance.imports",
    "JSONLSink": "asm_actors.rendering.sinks",
    "Limits": "asm_actors.config",
    "LmdbStore": "asm_actors.journal.lmdb_store",
    "Maintenance": "asm_actors.maintenance.surface",
    "MaintenanceProgress": "asm_actors.maintenance.report",
    "MaintenanceReport": "asm_actors.maintenance.report",
    "Manifest": "asm_actors.capabilities.manifest",
    "McpServer": "asm_actors.tools.mcp_server",
    "MemoryStore": "asm_actors.journal.memory",
    "Message": "asm_actors.transcripts.message",
    "Metric": "asm_actors.telemetry.spans",
    "NamedCursor": "asm_actors.journal.cursors",
    "OpenTelemetryExporter": "asm_actors.telemetry.otel",
    "PassthroughRenderer": "asm_actors.rendering.renderer",
    "Pattern": "asm_actors.redaction.pattern",
    "PermissionMode": "asm_actors.policies.permission_mode",
    "Policy": "asm_actors.policies.policy",
    "PolicyLimits": "asm_actors.policies.rules",
    "PricingTable": "asm_actors.journal.pricing",
    "Provider": "asm_actors.providers.base",
    "ProviderError": "asm_actors.errors",
    "PubSub": "asm_actors.pubsub.broker",
    "PubSubSink": "asm_actors.pubsub.sink",
    "Queries": "asm_actors.queries",
    "RUN_TRANSITIONS": "asm_actors.runs.run",
    "RecommendedAction": "asm_actors.workflow.classify",
    "Redaction": "asm_actors.redaction.settings",
    "Redactor": "asm_actors.redaction.redactor",
    "Registry": "asm_actors.capabilities.registry",
    "Rendered": "asm_actors.rendering.stream",
    "Renderer": "asm_actors.rendering.renderer",
    "Rendering": "asm_actors.rendering.stream",
    "ResourceError": "asm_actors.errors",
    "RetentionPolicy": "asm_actors.maintenance.policy",
    "RetryPolicy": "asm_actors.providers.retry",
    "Rollback": "asm_actors.workspace.snapshot",
    "Router": "asm_actors.routing.router",
    "Run": "asm_actors.runs.run",
    "RunResult": "asm_actors.runs.result",
    "RunStatus": "asm_actors.runs.run",
    "RunsFound": "asm_actors.journal.search",
    "RuntimeFailure": "asm_actors.errors",
    "S3ArtifactStore": "asm_actors.maintenance.s3_artifacts",
    "SESSION_TRANSITIONS": "asm_actors.sessions.session",
    "ScriptedProvider": "asm_actors.providers.scripted",
    "Session": "asm_actors.sessions.session",
    "SessionExport": "asm_actors.queries",
    "SessionManager": "asm_actors.sessions.manager",
    "SessionStats": "asm_actors.journal.usage",
    "SessionStatus": "asm_actors.sessions.session",
    "SessionStream": "asm_actors.sessions.streaming",
    "SessionsFound": "asm_actors.journal.search",
    "Sink": "asm_actors.rendering.sink",
    "Snapshot": "asm_actors.workspace.snapshot",
    "Span": "asm_actors.telemetry.spans",
    "StateError": "asm_actors.errors",
    "StepResult": "asm_actors.workflow.step",
    "Stop": "asm_actors.workspace.watching",
    "StopReport": "asm_actors.system",
    "StorageError": "asm_actors.errors",
    "Store": "asm_actors.journal.store",
    "StudioRenderer": "asm_actors.rendering.studio",
    "Subscription": "asm_actors.journal.follow",
    "SubscriptionInfo": "asm_actors.journal.cursors",
    "SubscriptionStatistics": "asm_actors.journal.subscription",
    "TTYSink": "asm_actors.rendering.sinks",
    "Telemetry": "asm_actors.telemetry.feed",
    "TelemetryHook": "asm_actors.telemetry.hook",
    "TelemetryRecorder": "asm_actors.telemetry.hook",
    "TelemetryStatistics": "asm_actors.telemetry.feed",
    "Tool": "asm_actors.tools.tool",
    "ToolContext": "asm_actors.tools.context",
    "ToolError": "asm_actors.errors",
    "ToolRule": "asm_actors.policies.rules",
    "Topic": "asm_actors.pubsub.topics",
    "TopicScope": "asm_actors.pubsub.topics",
    "Transcript": "asm_actors.transcripts.transcript",
    "TurnRequest": "asm_actors.providers.base",
    "UsageSummary": "asm_actors.journal.usage",
    "ValidationError": "asm_actors.errors",
    "VerboseRenderer": "asm_actors.rendering.verbose",
    "WorkflowBridge": "asm_actors.workflow.bridge",
    "Workspace": "asm_actors.workspace.backend",
    "WorkspaceConfig": "asm_actors.workspace.config",
    "classify_error": "asm_actors.workflow.classify",
    "event_callback": "asm_actors.pubsub.sink",
    "messages": "asm_actors.messages",
    "open_workspace": "asm_actors.workspace.workspace",
    "tool": "asm_actors.tools.tool",
    "topic_of": "asm_actors.pubsub.topics",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(home)
    # `messages` is a module itself.
    found = module if home == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
