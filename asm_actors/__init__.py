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
from asm_actors.journal.follow import AsyncSubscription, Subscription
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.store import EventFilter, Store
from asm_actors.providers.anthropic import AnthropicProvider
from asm_actors.providers.base import BaseProvider, Provider, TurnRequest
from asm_actors.providers.retry import RetryPolicy
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import RUN_TRANSITIONS, Run, RunStatus
from asm_actors.sessions.manager import AsyncSessionManager, SessionManager
from asm_actors.sessions.requests import DrainReport
from asm_actors.sessions.session import SESSION_TRANSITIONS, Session, SessionStatus
from asm_actors.system import ActorSystem, AsyncActorSystem, StopReport

__all__ = [
    "ActorSystem",
    "AnthropicProvider",
    "AsmError",
    "AsyncActorSystem",
    "AsyncSessionManager",
    "AsyncSubscription",
    "BaseProvider",
    "Capability",
    "CapabilityResolver",
    "CapabilityType",
    "ConcurrencyError",
    "DrainReport",
    "ErrorCategory",
    "ErrorCode",
    "Event",
    "EventFilter",
    "EventType",
    "Limits",
    "LmdbStore",
    "Manifest",
    "MemoryStore",
    "Provider",
    "ProviderError",
    "RUN_TRANSITIONS",
    "Registry",
    "ResourceError",
    "RetryPolicy",
    "Run",
    "RunResult",
    "RunStatus",
    "RuntimeFailure",
    "SESSION_TRANSITIONS",
    "ScriptedProvider",
    "Session",
    "SessionManager",
    "SessionStatus",
    "StateError",
    "StopReport",
    "StorageError",
    "Store",
    "Subscription",
    "ToolError",
    "TurnRequest",
    "ValidationError",
    "messages",
]
