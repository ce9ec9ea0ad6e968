"""The arguments of a start, and what the actors share made of them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from asm_actors.capabilities.manifest import Manifest
from asm_actors.config import MAX_RECOVERIES, ON_RESTART, SESSION_LINGER, TOOL_THREADS, Limits
from asm_actors.cost.built_in import BUILT_IN_PRICES
from asm_actors.cost.pricing import PricingTable
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.ids import Ids, RandomIds
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.store import Store
from asm_actors.maintenance.artifact import ArtifactStore
from asm_actors.policies.resolving import resolve_policy
from asm_actors.providers.base import Provider
from asm_actors.providers.retry import RetryPolicy
from asm_actors.redaction.making import redactor_of
from asm_actors.redaction.settings import Redaction
from asm_actors.serialization import check_id, check_integer, check_number, invalid
from asm_actors.services import Services
from asm_actors.settings.config import Config
from asm_actors.tools.mcp_server import servers_by_name
from asm_actors.tools.tool import tools_by_name
from supervisors import Dispatcher, LoopDispatcher

__all__ = ["Durability", "StartOptions", "make_services"]

Durability = Literal["commit", "interval", "none"]
SYNC_INTERVAL_S = 1.0
LINGER_S = 0.001
"""What a provider says within a millisecond goes to its run in one message. A fast stream has many pieces in one, and
a reader does not see the difference."""


class StartOptions(TypedDict, total=False):
    """Options of `ActorSystem.start`; what is left out has its default."""

    durability: Durability
    """``commit`` (default): every group commit is synced to the disk before anybody is told; ``interval``: synced once
    a second (a loss of power may take the last second, a crash of the process nothing); ``none``: when the operating
    system likes."""
    retry: RetryPolicy | None
    """When a failed turn is tried again."""
    ids: Ids | None
    """Makes ids; random ones by default."""
    seed: int | None
    """Of the jitter in retries; random by default."""
    patience: float
    """Seconds for which a failing commit is tried again before its writers are told; by default 10."""
    tools: Iterable[Any]
    """Tools of the host which runs may use: `Tool`s, or functions that are made into such."""
    redaction: bool | Redaction
    """Whether secrets are taken out of all that goes to the journal (default); or a `Redaction` that says how."""
    linger: float | None
    """Seconds without work after which a session leaves memory, until somebody asks for it; None: never."""
    on_restart: str
    """What becomes of a run that was under way when its process ended, unless the run says so itself: ``resume``
    (default) after its last completed step, ``retry`` from its input (completed calls of tools may be made again, none
    of unknown outcome without leave), or ``fail``."""
    max_recoveries: int
    """How many crashes a run survives; one more ends it as ``interrupted``."""
    policy: Any
    """What all runs may do and use: a `Policy`, or a map of its fields. Sessions and runs can only tighten it."""
    pricing: PricingTable | Mapping[str, Any] | None
    """What models cost, over the built-in table: ``{provider: {model: {"input": …, "output": …}}}`` in US dollars per
    token."""
    artifact_store: ArtifactStore | None
    """Where runs keep what is too large for the journal: the patches of runs whose workspace says ``artifacts``."""
    mcp_servers: Mapping[str, Any]
    """Servers of the Model Context Protocol whose tools runs may use, by name: `McpServer` values."""
    tool_threads: int
    """Threads for tools that are plain functions."""
    config: Config | None
    """Says what no other argument says, `journal` and `limits` included; see `Config.load`."""


def make_services(
    journal: str | os.PathLike[str] | Store | None,
    providers: Mapping[str, Provider] | None,
    limits: Limits | None,
    *,
    dispatcher: Dispatcher,
    config: Config | None = None,
    **options: Any,
) -> Services:
    """Check the arguments of a start (told at `StartOptions`) and make of them what the actors share.

    Raises:
        ValidationError: One is malformed.
    """
    if not isinstance(config, Config | None):
        raise invalid("config", "must be an asm_actors.Config", config)
    given: dict[str, Any] = {} if config is None else config.start_arguments()
    if journal is not None:
        given["journal"] = journal
    if limits is not None:
        given["limits"] = limits
    if "journal" not in given:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR,
            "journal is required: a directory or a store, given to the start or named by its configuration",
            details={"field": "journal"},
        )
    return _services(providers, dispatcher=dispatcher, config=config or Config(), **(given | options))


def _services(
    providers: Mapping[str, Provider] | None,
    *,
    journal: str | os.PathLike[str] | Store,
    limits: Limits | None = None,
    dispatcher: Dispatcher,
    config: Config,
    durability: Durability = "commit",
    retry: RetryPolicy | None = None,
    ids: Ids | None = None,
    seed: int | None = None,
    patience: float = 10.0,
    tools: Iterable[Any] = (),
    redaction: bool | Redaction = True,
    linger: float | None = SESSION_LINGER,
    on_restart: str = "resume",
    max_recoveries: int = MAX_RECOVERIES,
    policy: Any = None,
    pricing: PricingTable | Mapping[str, Any] | None = None,
    artifact_store: ArtifactStore | None = None,
    mcp_servers: Mapping[str, Any] | None = None,
    tool_threads: int = TOOL_THREADS,
) -> Services:
    _check_parts(limits, retry, dispatcher, ids, artifact_store)
    _check_numbers(seed, patience, linger, max_recoveries, tool_threads)
    if on_restart not in ON_RESTART:
        raise invalid("on_restart", f"must be one of {', '.join(ON_RESTART)}", on_restart)
    if durability not in ("commit", "interval", "none"):
        raise invalid("durability", "must be commit, interval or none", durability)
    servers = servers_by_name(mcp_servers)
    named, manifests = _named(providers)
    store = LmdbStore(journal, durability=durability) if isinstance(journal, str | os.PathLike) else journal
    # A class has the methods of what is made of it, and passes for a store.
    if isinstance(store, type) or not isinstance(store, Store):
        raise invalid("journal", "must be a directory, or a store", journal)
    return Services(
        store=store,
        dispatcher=dispatcher,
        ids=RandomIds() if ids is None else ids,
        providers=named,
        manifests=manifests,
        default_provider=next(iter(named)) if len(named) == 1 else None,
        limits=limits or Limits(),
        retry=retry or RetryPolicy(),
        sync=durability == "commit",
        sync_interval=SYNC_INTERVAL_S if durability == "interval" else None,
        linger=LINGER_S if isinstance(dispatcher, LoopDispatcher) else 0.0,
        patience=patience,
        tools=tools_by_name(tools),
        redactor=redactor_of(redaction, (*named.values(), *servers.values()), os.environ),
        session_linger=linger,
        on_restart=on_restart,
        max_recoveries=max_recoveries,
        policy=resolve_policy(policy),
        pricing=_prices(PricingTable.of(pricing).over(BUILT_IN_PRICES), named),
        artifact_store=artifact_store,
        mcp_servers=servers,
        tool_threads=tool_threads,
        config=config,
        random=random.Random(seed),  # noqa: S311 - jitter
    )


def _check_parts(limits: Any, retry: Any, dispatcher: Any, ids: Any, artifact_store: Any) -> None:
    if artifact_store is not None and (
        isinstance(artifact_store, type) or not isinstance(artifact_store, ArtifactStore)
    ):
        raise invalid(
            "artifact_store", "must be an artifact store (see asm_actors.ArtifactStore)", artifact_store
        )
    if not isinstance(limits, Limits | None):
        raise invalid("limits", "must be an asm_actors.Limits", limits)
    if not isinstance(retry, RetryPolicy | None):
        raise invalid("retry", "must be an asm_actors.RetryPolicy", retry)
    if not isinstance(dispatcher, Dispatcher):
        raise invalid("dispatcher", "must be a supervisors.Dispatcher", dispatcher)
    if ids is not None and (isinstance(ids, type) or not isinstance(ids, Ids)):
        raise invalid("ids", "must be an asm_actors.ids.Ids", ids)


def _check_numbers(seed: Any, patience: Any, linger: Any, max_recoveries: Any, tool_threads: Any) -> None:
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise invalid("seed", "must be an integer", seed)
    check_number(patience, "patience")
    if linger is not None:
        check_number(linger, "linger")
    check_integer(max_recoveries, "max_recoveries", least=0)
    check_integer(tool_threads, "tool_threads", least=1)


def _prices(table: PricingTable, providers: Mapping[str, Provider]) -> PricingTable:
    """Give providers the rates of their kind (``prices_of``) if the table has none under the name they have here."""
    kinds = {name: getattr(provider, "prices_of", None) for name, provider in providers.items()}
    rates = {name: table.rates[kind] for name, kind in kinds.items() if kind and kind in table.rates}
    return PricingTable({**rates, **table.rates}) if rates else table


def _named(providers: Any) -> tuple[dict[str, Provider], dict[str, Manifest]]:
    """Check the providers of a start, and tell them and their manifests by their names."""
    if not isinstance(providers, Mapping | None):
        raise invalid("providers", "must be a map from names to providers", providers)
    named: dict[str, Provider] = dict(providers or {})
    manifests: dict[str, Manifest] = {}
    for name, provider in named.items():
        check_id(name, "the name of a provider")
        if isinstance(provider, type) or not isinstance(provider, Provider):
            raise invalid(f"providers[{name!r}]", "must be a provider (see asm_actors.Provider)", provider)
        provider.name = name
        manifests[name] = provider.capabilities()
    return named, manifests
