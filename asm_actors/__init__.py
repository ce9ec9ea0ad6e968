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
    from asm_actors.routing.router import Router
    from asm_actors.runs.result import RunResult
    from asm_actors.runs.run import RUN_TRANSITIONS, Run, RunStatus
    from asm_actors.sessions.manager import AsyncSessionManager, SessionManager
    from asm_actors.sessions.requests import DrainReport
    from asm_actors.sessions.session import SESSION_TRANSITIONS, Session, SessionStatus
    from asm_actors.system import ActorSystem, AsyncActorSystem, StopReport
    from asm_actors.tools.tool import Tool, tool
    from asm_actors.transcripts.message import Message
    from asm_actors.transcripts.transcript import Transcript

__all__ = [
    "ActorSystem",
    "AnthropicProvider",
    "Artifact",
    "ArtifactRegistry",
    "ArtifactStats",
    "ArtifactStore",
    "AsmError",
    "AsyncActorSystem",
    "AsyncArtifactRegistry",
    "AsyncMaintenance",
    "AsyncQueries",
    "AsyncSessionManager",
    "AsyncSubscription",
    "BaseProvider",
    "Broadcaster",
    "Capability",
    "CapabilityResolver",
    "CapabilityType",
    "ConcurrencyError",
    "CostSummary",
    "DrainReport",
    "ErrorCategory",
    "ErrorCode",
    "Event",
    "EventFilter",
    "EventType",
    "EventsFound",
    "ExportReport",
    "FileArtifactStore",
    "ImportReport",
    "Limits",
    "LmdbStore",
    "Maintenance",
    "MaintenanceProgress",
    "MaintenanceReport",
    "Manifest",
    "MemoryStore",
    "Message",
    "NamedCursor",
    "Pattern",
    "PricingTable",
    "Provider",
    "ProviderError",
    "PubSub",
    "PubSubSink",
    "Queries",
    "RUN_TRANSITIONS",
    "Redaction",
    "Redactor",
    "Registry",
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
    "SESSION_TRANSITIONS",
    "ScriptedProvider",
    "Session",
    "SessionExport",
    "SessionManager",
    "SessionStats",
    "SessionStatus",
    "SessionsFound",
    "StateError",
    "StopReport",
    "StorageError",
    "Store",
    "Subscription",
    "SubscriptionInfo",
    "SubscriptionStatistics",
    "Tool",
    "ToolError",
    "Topic",
    "TopicScope",
    "Transcript",
    "TurnRequest",
    "UsageSummary",
    "ValidationError",
    "event_callback",
    "messages",
    "tool",
    "topic_of",
]

# Where each name is, for it is imported when it is first asked for: the command can be interrupted from the begin, and
# whoever needs a part does not wait for the whole.
_HOMES = {
    "ActorSystem": "asm_actors.system",
    "AnthropicProvider": "asm_actors.providers.anthropic",
    "Artifact": "asm_actors.maintenance.artifact",
    "ArtifactRegistry": "asm_actors.maintenance.registry",
    "ArtifactStats": "asm_actors.maintenance.artifact",
    "ArtifactStore": "asm_actors.maintenance.artifact",
    "AsmError": "asm_actors.errors",
    "AsyncActorSystem": "asm_actors.system",
    "AsyncArtifactRegistry": "asm_actors.maintenance.registry",
    "AsyncMaintenance": "asm_actors.maintenance.surface",
    "AsyncQueries": "asm_actors.queries",
    "AsyncSessionManager": "asm_actors.sessions.manager",
    "AsyncSubscription": "asm_actors.journal.follow",
    "BaseProvider": "asm_actors.providers.base",
    "Broadcaster": "asm_actors.pubsub.sink",
    "Capability": "asm_actors.capabilities.capability",
    "CapabilityResolver": "asm_actors.capabilities.resolver",
    "CapabilityType": "asm_actors.capabilities.capability",
    "ConcurrencyError": "asm_actors.errors",
    "CostSummary": "asm_actors.journal.pricing",
    "DrainReport": "asm_actors.sessions.requests",
    "ErrorCategory": "asm_actors.errors",
    "ErrorCode": "asm_actors.errors",
    "Event": "asm_actors.events",
    "EventFilter": "asm_actors.journal.store",
    "EventType": "asm_actors.events",
    "EventsFound": "asm_actors.journal.search",
    "ExportReport": "asm_actors.maintenance.export",
    "FileArtifactStore": "asm_actors.maintenance.file_artifacts",
    "ImportReport": "asm_actors.maintenance.imports",
    "Limits": "asm_actors.config",
    "LmdbStore": "asm_actors.journal.lmdb_store",
    "Maintenance": "asm_actors.maintenance.surface",
    "MaintenanceProgress": "asm_actors.maintenance.report",
    "MaintenanceReport": "asm_actors.maintenance.report",
    "Manifest": "asm_actors.capabilities.manifest",
    "MemoryStore": "asm_actors.journal.memory",
    "Message": "asm_actors.transcripts.message",
    "NamedCursor": "asm_actors.journal.cursors",
    "Pattern": "asm_actors.redaction.pattern",
    "PricingTable": "asm_actors.journal.pricing",
    "Provider": "asm_actors.providers.base",
    "ProviderError": "asm_actors.errors",
    "PubSub": "asm_actors.pubsub.broker",
    "PubSubSink": "asm_actors.pubsub.sink",
    "Queries": "asm_actors.queries",
    "RUN_TRANSITIONS": "asm_actors.runs.run",
    "Redaction": "asm_actors.redaction.settings",
    "Redactor": "asm_actors.redaction.redactor",
    "Registry": "asm_actors.capabilities.registry",
    "ResourceError": "asm_actors.errors",
    "RetentionPolicy": "asm_actors.maintenance.policy",
    "RetryPolicy": "asm_actors.providers.retry",
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
    "SessionsFound": "asm_actors.journal.search",
    "StateError": "asm_actors.errors",
    "StopReport": "asm_actors.system",
    "StorageError": "asm_actors.errors",
    "Store": "asm_actors.journal.store",
    "Subscription": "asm_actors.journal.follow",
    "SubscriptionInfo": "asm_actors.journal.cursors",
    "SubscriptionStatistics": "asm_actors.journal.subscription",
    "Tool": "asm_actors.tools.tool",
    "ToolError": "asm_actors.errors",
    "Topic": "asm_actors.pubsub.topics",
    "TopicScope": "asm_actors.pubsub.topics",
    "Transcript": "asm_actors.transcripts.transcript",
    "TurnRequest": "asm_actors.providers.base",
    "UsageSummary": "asm_actors.journal.usage",
    "ValidationError": "asm_actors.errors",
    "event_callback": "asm_actors.pubsub.sink",
    "messages": "asm_actors.messages",
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
