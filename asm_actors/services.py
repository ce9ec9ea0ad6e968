"""`Services`: what every actor of one system shares. Built once by the system, passed whole, never changed.

It holds values, ports and names; no actor is wired to another one here: an actor resolves a name when it sends.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, define, field, frozen

from asm_actors.config import TOOL_THREADS, Limits
from asm_actors.cost.built_in import BUILT_IN_PRICES
from asm_actors.settings.config import Config
from asm_actors.slot_keys import SlotKeys
from asm_actors.transcripts.cache import TranscriptCache

if TYPE_CHECKING:
    from asm_actors.capabilities.manifest import Manifest
    from asm_actors.cost.pricing import PricingTable
    from asm_actors.ids import Ids
    from asm_actors.journal.store import Store
    from asm_actors.maintenance.artifact import ArtifactStore
    from asm_actors.policies.policy import Policy
    from asm_actors.providers.base import Provider
    from asm_actors.providers.retry import RetryPolicy
    from asm_actors.redaction.redactor import Redactor
    from supervisors import Dispatcher

__all__ = [
    "JOURNAL",
    "RUN_SLOTS",
    "SESSIONS",
    "SESSION_SLOTS",
    "Directory",
    "Services",
    "mcp_name",
    "provider_name",
    "session_name",
]

JOURNAL: Final = "journal"
SUBSCRIPTIONS: Final = "subscriptions"
CURSORS: Final = "cursors"
PROVIDERS: Final = "providers"
MCP: Final = "mcp"
SESSIONS: Final = "sessions"
SESSION_SLOTS: Final = "slots:sessions"
RUN_SLOTS: Final = "slots:runs"


def session_name(session_id: str) -> tuple[str, str]:
    """The name under which a live session's actor is registered."""
    return ("session", session_id)


def provider_name(provider: str) -> tuple[str, str]:
    """The name under which a provider's actor is registered."""
    return ("provider", provider)


def mcp_name(server: str) -> tuple[str, str]:
    """The name under which the actor of a server of tools is registered."""
    return ("mcp", server)


@define
class Directory:
    """What is open in this process, for look-ups that must not cost a message.

    Written on the dispatcher's thread only; a single look-up from another thread is safe.
    """

    runs: dict[str, str] = field(factory=dict)
    """Session id of each run that is not over."""
    on_the_way: dict[str, int] = field(factory=dict)
    """How many messages to a session or a run, by its id, the sessions' supervisor has yet to hand on. Written under a
    lock by `sessions.delivery` alone."""
    lost_providers: set[str] = field(factory=set)
    """Providers which the tree has given up."""
    lost_servers: set[str] = field(factory=set)
    """Servers of tools which the tree has given up."""
    tool_threads: Any = None
    """Where tools that are plain functions run (`tools.threads`), once the first one does."""
    tool_patience: float | None = None
    """Seconds that coroutines of tools may take to end when they are cancelled, once the system stops and has less."""
    run_line: Any = None
    """Counts the runs on their way to their slots, if their number has a bound (`sessions.run_line`)."""
    followers: dict[str, int] = field(factory=dict)
    """How many subscriptions follow a session, by its id."""
    root: Any = None
    """Ref of the system's root supervisor, once it is started."""
    is_stopping: bool = False
    """Whether the system was told to stop."""
    is_draining: bool = False
    """Whether new work is refused, for the system is about to stop."""
    journal_is_behind: bool = False
    """Whether runs shall not ask their providers for more; see `journal.batch`."""
    journal_is_full: bool = False
    """Whether new work is refused until the journal has caught up."""
    held_back: list[Any] = field(factory=list)
    """Refs of runs that are told when the journal has room again."""

    @property
    def is_up(self) -> bool:
        """Whether the system runs: started, not told to stop, and not given up by its own tree."""
        return self.root is not None and self.root.is_alive() and not self.is_stopping


@frozen
class Services:
    """See the module.

    Attributes:
        store: The journal's store; blocking.
        dispatcher: Who runs the actors; holds the names and the clock.
        ids: Makes ids.
        providers: By name.
        manifests: What each provider can do.
        default_provider: For sessions and runs that name none; None if there are several.
        limits: How much may go on at once.
        retry: When a failed turn is tried again.
        sync: Whether each group commit is synced to the disk (durability ``commit``).
        linger: Seconds for which what a provider says is gathered before its run hears it.
        patience: Seconds for which a failing commit is tried again before its writers are told.
        tools: Tools of the host, by name.
        redactor: Takes secrets out of what goes to the journal; None: nothing is taken out.
        session_linger: Seconds without work after which a session's actor leaves memory; None: never.
        on_restart: What becomes of a run that was under way when its process ended, unless the run says so itself.
        max_recoveries: How many crashes a run survives.
        policy: What all runs may do and use; None: each as it says itself.
        pricing: What models cost.
        artifact_store: Where runs keep what is too large for the journal, such as patches; None: nowhere.
        mcp_servers: Servers whose tools runs may use, by name.
        tool_threads: Threads for tools that are plain functions.
        config: The configuration: what is read from it where it is needed, and not at the start.
        transcripts: Transcripts that were read before.
        directory: What is open.
        random: Draws jitter.
        slot_keys: Of which pools sessions and runs need a slot; made of the limits.
    """

    store: Store
    dispatcher: Dispatcher
    ids: Ids
    providers: Mapping[str, Provider]
    manifests: Mapping[str, Manifest]
    default_provider: str | None
    limits: Limits
    retry: RetryPolicy
    sync: bool = True
    sync_interval: float | None = None
    linger: float = 0.0
    patience: float = 10.0
    tools: Mapping[str, Any] = field(factory=dict)
    redactor: Redactor | None = None
    session_linger: float | None = None
    on_restart: str = "resume"
    max_recoveries: int = 3
    policy: Policy | None = None
    pricing: PricingTable = BUILT_IN_PRICES
    artifact_store: ArtifactStore | None = None
    mcp_servers: Mapping[str, Any] = field(factory=dict)
    tool_threads: int = TOOL_THREADS
    config: Config = field(factory=Config)
    transcripts: TranscriptCache = field(factory=TranscriptCache)
    directory: Directory = field(factory=Directory)
    random: random.Random = field(factory=random.Random)
    slot_keys: SlotKeys = field(
        init=False, default=Factory(lambda self: SlotKeys(self.limits), takes_self=True)
    )

    def whereis(self, name: Any) -> Any:
        """The ref that lives under this name now, or None."""
        return self.dispatcher.names.whereis(name)

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self.dispatcher.clock.time_us()
