"""A journal that remembers what a live observer of its records saw."""

from __future__ import annotations

from asm_actors.errors import AsmError


def watching(kind):
    """Make a class of stores like `kind` whose instances note each version of each record, and the head it came with.

    ``sessions_seen`` and ``runs_seen`` map an id to ``{sequence number: status}``: what the last commit up to that
    event of the session left. A commit that raises although it was taken is not seen.
    """

    class Watching(kind):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.sessions_seen = {}
            self.runs_seen = {}

        def commit(self, appends, *, sync=True):
            heads = {append.session_id: self.heads(append.session_id) for append in appends}
            answers = super().commit(appends, sync=sync)
            for append, answer in zip(appends, answers, strict=True):
                if isinstance(answer, AsmError):
                    continue
                if answer.count:
                    heads[append.session_id] = answer.first_sequence + answer.count - 1
                self._note(append, heads[append.session_id])
            return answers

        def heads(self, session_id):
            spot = self.spot(session_id)
            return 0 if spot is None else spot.head

        def _note(self, append, head):
            if append.session is not None:
                self.sessions_seen.setdefault(append.session_id, {})[head] = append.session.status
            for run in append.runs:
                self.runs_seen.setdefault(run.id, {})[head] = run.status

    return Watching
