"""What a run's shell does before its first turn and after its last one: it has a thread read, look, and put back.

These are coroutines of the run's actor. An `AsmError` of the work is its result; anything else crashes the actor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asm_actors.effects import Finish, Prepare
from asm_actors.errors import AsmError
from asm_actors.journal.messages import Maintain
from asm_actors.maintenance.artifact import ARTIFACT_PREFIX, Artifact
from asm_actors.runs.notices import Finished, Prepared
from asm_actors.runs.run import Run
from asm_actors.runs.workspaces import Files, Noting, has_files
from asm_actors.services import JOURNAL, Services
from asm_actors.sessions.delivery import Delivery, not_running
from asm_actors.sessions.session import Session
from asm_actors.transcripts.continuation import continue_from
from asm_actors.transcripts.summing import compaction_for
from asm_actors.workspace.watching import Stop

__all__ = ["finished", "prepared"]

Blocking = Callable[..., "asyncio.Future[Any]"]


async def prepared(
    services: Services,
    session: Session,
    provider: str | None,
    effect: Prepare,
    stop: Stop,
    blocking: Blocking,
) -> Prepared:
    """Make ready what a run needs; see `effects.Prepare`.

    Args:
        services: The system's.
        session: The run's session.
        provider: The name of the run's provider.
        effect: What is asked for.
        stop: Cancels it.
        blocking: Runs a function in a pool of threads.
    """

    def work() -> Prepared:
        made = Prepared()
        try:
            if effect.run.options.get("continuation") or "purpose" in effect.run.options:
                made = _continued(services, session, provider, effect)
            if made.compaction is None and has_files(effect.run):
                workspace, taken = _files(services, effect.run, stop).before()
                made = made._replace(workspace=workspace, taken=taken)
        except AsmError as error:
            return made._replace(error=error)
        return made

    found: Prepared = await blocking(work)
    return found


def _continued(services: Services, session: Session, provider: str | None, effect: Prepare) -> Prepared:
    run = effect.run.replace(from_sequence=effect.upto)
    asked = run.options.get("continuation")
    if effect.mode is not None:
        run = run.replace(options={**run.options, "continuation": effect.mode})
    manifest = services.manifests.get(provider or "")
    if manifest is None:
        return Prepared()  # there is no such provider: the first turn tells
    found = continue_from(
        services.store, session, run, manifest, services.transcripts, services.config.chars_per_token
    )
    data = {**found.data, "mode": asked} if effect.mode is not None else found.data
    if effect.reason is not None:
        data = {**data, "reason": effect.reason}
    compaction = None
    if found.needs_compaction:
        compaction = compaction_for(run, services.ids.run(), services.now_us())
    return Prepared(found.messages, found.provider_session_id, data, compaction=compaction)


async def finished(services: Services, effect: Finish, stop: Stop, blocking: Blocking) -> Finished:
    """Do what is left to be done after a run; see `effects.Finish`. Arguments as for `prepared`."""
    files = _files(services, effect.run, stop)
    if effect.releases:
        done: Finished = await blocking(files.release)
        return done
    done = await blocking(lambda: files.after(is_completed=effect.is_completed))
    try:
        if isinstance(files.artifacts, Noting):
            for put in files.artifacts.puts:
                await _register(services, effect.run, put)
    except AsmError as error:
        done = done._replace(error=done.error or error)
    return done


def _files(services: Services, run: Run, stop: Stop) -> Files:
    store = services.artifact_store
    return Files(run, stop, None if store is None else Noting(store), services.now_us)


async def _register(services: Services, run: Run, put: dict[str, Any]) -> None:
    """Note that the run's session has an artifact, so that it goes with the session."""
    block = services.ids.block()
    artifact = Artifact.new(
        id=f"{ARTIFACT_PREFIX}{block:032x}", now=services.now_us(), session_id=run.session_id, **put
    )
    store = services.store

    def save() -> None:
        if store.artifact_by_key(artifact.key) is None:
            store.save_artifacts([artifact])

    journal = services.whereis(JOURNAL)
    if journal is None:
        raise not_running(services)
    answer: Delivery[None] = Delivery(services)
    journal.ask_into(Maintain(save), answer)
    await answer
