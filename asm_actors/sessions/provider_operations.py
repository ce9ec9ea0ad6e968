"""The operations about what providers can do, and are asked for beside the conversation; see `sessions.operations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asm_actors.capabilities.manifest import Manifest
from asm_actors.journal.store import Store
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run
from asm_actors.serialization import check_id, check_integer, json_map
from asm_actors.sessions import messages as m
from asm_actors.sessions.admission import check_deadline
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.delivery import Delivery, ResultDelivery, ask_sessions, deliver
from asm_actors.sessions.door import check_provider, known_provider
from asm_actors.sessions.requests import Claim, Deliver
from asm_actors.transcripts.continuation import check_to_sum_up
from asm_actors.transcripts.options import KEEP_LAST
from asm_actors.transcripts.summing import compaction_run
from supervisors import Future

__all__ = ["ProviderOperations"]


class ProviderOperations(Carrying):
    """A part of `Operations`."""

    def compact_session(
        self,
        session_id: str,
        *,
        keep_last: int = KEEP_LAST,
        instructions: str | None = None,
        provider: str | None = None,
        max_tokens: int | None = None,
        adapter_opts: Mapping[str, Any] | None = None,
        deadline: float | None = None,
    ) -> Future[RunResult]:
        """Have a session's conversation summed up by a run of its own, in its turn, and wait for its result.

        From then on transcripts of the session begin with the summary, followed by what came after the part that it
        covers; so do runs that go on from the conversation. A provider that keeps a conversation of its own is told
        the summary once (the next run that could go on natively is sent the messages), and goes on from that. Nothing
        is deleted: the events stay, and a transcript as of an earlier event has them. What this run is asked and says
        is no part of the conversation. If its process ends it is recovered like any run.

        Args:
            session_id: Which session; active, or paused: then it waits.
            keep_last: Messages that stay as they are, at least, the newest ones.
            instructions: What the summary is to be like; by default it is to stand in for the conversation.
            provider: Who writes it; by default the session's provider.
            max_tokens: A bound on the summary, for providers that take the option ``max_tokens``.
            adapter_opts: Further options for the provider, such as a cheaper ``model``.
            deadline: Seconds it may take from now, waiting included.

        Returns:
            The result: ``output["content"]`` is the summary, ``continuation`` has ``messages`` (how many are summed
            up) and ``up_to_sequence``.

        Raises:
            ConcurrencyError: ``invalid_operation``: there is nothing to sum up, or the session is not active;
                ``max_runs_exceeded``. Behind a run that is under way it waits for the end of that, and is on record as
                a failed run if there is nothing to sum up then.
            ValidationError: An argument is malformed.
            ResourceError: ``session_not_found``.
            AsmError: How the run ended, if it did not complete.
        """
        services = self._services
        opts = {} if adapter_opts is None else json_map(adapter_opts, "adapter_opts")
        if max_tokens is not None:
            opts["max_tokens"] = check_integer(max_tokens, "max_tokens", least=1)
        run = compaction_run(
            services.ids.run(),
            check_id(session_id, "session_id"),
            services.now_us(),
            provider=None if provider is None else known_provider(services, provider),
            keep_last=keep_last,
            instructions=instructions,
            adapter_opts=opts,
        )
        if run.provider is not None:
            check_provider(services, run.provider)
        submit = m.SubmitRun(run, check_deadline(deadline))

        def find(store: Store) -> Deliver:
            check_to_sum_up(store, run.session_id, keep_last, services.transcripts)
            return Deliver(run.session_id, submit)

        return self._result_of(run, Claim((), find))

    def _result_of(self, run: Run, claim: Claim) -> Future[RunResult]:
        """Have a run put in line, and wait for its result."""
        answer: ResultDelivery = ResultDelivery(self._services)
        made: Delivery[Run] = Delivery(self._services)

        def go_on(made: Future[Run]) -> None:
            try:
                made.get()
            except Exception:  # the asker's
                answer.set_exception()
                return
            deliver(self._services, run.session_id, m.AwaitRun(run.id), answer)

        made.add_done_callback(go_on)
        ask_sessions(self._services, claim, made)
        return answer

    def get_capabilities(self, provider: str | None = None) -> Future[Manifest]:
        """Return what a provider can do, as it said when the system was started.

        Args:
            provider: Its name; None: the system's only one.

        Raises:
            ValidationError: No provider has that name, or several are there and none is named.
        """
        services = self._services
        name = known_provider(services, services.default_provider if provider is None else provider)
        return self._read(lambda: services.manifests[name])
