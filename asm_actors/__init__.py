"""A supervised actor runtime that hosts many AI agent sessions in one process and loses nothing.

::

    import asm_actors as asm

    with asm.ActorSystem.start(journal="var/journal", providers={"mock": asm.ScriptedProvider()}) as system:
        result = system.sessions.run_once({"prompt": "Hello"}, provider="mock")
        print(result.output["content"], result.token_usage)
"""

from __future__ import annotations

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
