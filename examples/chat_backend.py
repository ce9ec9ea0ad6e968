"""The core of a chat backend on asyncio: many users at once, answers streamed, one client that goes away and returns.

What a web framework adds is the transport: a handler calls `say` and writes each piece to its response, and a client
that lost its connection calls `resume` with the last number it saw.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator

import asm_actors as asm
from asm_actors.providers.base import prompt_from_input
from asm_actors.providers.script import Script, text

ENDS = {"run_completed", "run_failed", "run_cancelled", "run_timeout"}


class Chat:
    """Conversations by user; each is one session."""

    def __init__(self, system: asm.AsyncActorSystem) -> None:
        self._sessions = system.sessions
        self._of_user: dict[str, str] = {}

    async def say(self, user: str, words: str) -> AsyncIterator[tuple[int, str]]:
        """Ask for `user`, and yield the answer's pieces, each with its number in the conversation."""
        session_id = self._of_user.get(user)
        if session_id is None:
            session = await self._sessions.start_session(agent_id="helper", metadata={"user": user})
            await self._sessions.activate_session(session.id)
            session_id = self._of_user[user] = session.id
        run = await self._sessions.submit_run(session_id, {"prompt": words}, deadline=10.0)
        async for piece in self.resume(user, run.id, after=0):
            yield piece

    async def resume(self, user: str, run_id: str | None, after: int) -> AsyncIterator[tuple[int, str]]:
        """Yield the pieces after a number, those to come included. Leaving it never cancels the run."""
        async with self._sessions.subscribe(self._of_user[user], run_id=run_id, after=after) as events:
            async for event in events:
                if event.type == "message_streamed":
                    yield event.sequence_number or 0, event.data["content"]
                elif event.type in ENDS:
                    return


def answer(request: asm.TurnRequest) -> Script:
    return Script(text(f"You said: {prompt_from_input(request.input)}. I heard you.", size=8))


async def talk(chat: Chat, user: str) -> str:
    return "".join([piece async for _, piece in chat.say(user, f"I am {user}")])


async def lose_connection(chat: Chat) -> str:
    """Read two pieces, go away, come back with the last number."""
    got: list[tuple[int, str]] = []
    async for piece in chat.say("zoe", "I am on a train"):
        got.append(piece)
        if len(got) == 2:
            break
    print(f"zoe lost her connection after {''.join(text for _, text in got)!r}")
    got += [piece async for piece in chat.resume("zoe", None, after=got[-1][0])]
    return "".join(text for _, text in got)


async def main() -> None:
    provider = asm.ScriptedProvider(answer, delay=0.005)
    with tempfile.TemporaryDirectory() as journal:
        async with asm.AsyncActorSystem.start(journal, {"mock": provider}) as system:
            chat = Chat(system)
            users = [f"user {number}" for number in range(1, 51)]
            answers = await asyncio.gather(*(talk(chat, user) for user in users))
            print(f"{len(answers)} users were answered at once; the last one: {answers[-1]}")
            print(f"zoe has it all: {await lose_connection(chat)}")
            status = await system.sessions.status()
            print(
                f"{status['active_sessions']} sessions are open, {status['active_runs']} runs are under way"
            )


if __name__ == "__main__":
    asyncio.run(main())
