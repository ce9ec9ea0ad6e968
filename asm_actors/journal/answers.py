"""What follows a write, once it is durable or refused: small steps of the journal's actor, without its state."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from asm_actors.effects import Note, Refuse, Reply, Then
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import Append
from asm_actors.journal.messages import Maintained
from asm_actors.journal.store import Store

__all__ = ["answer_work", "built_on_sand", "follow_up", "is_barrier", "maintain", "notify", "refuse_all"]


def is_barrier(append: Append) -> bool:
    """Whether an append writes nothing and only waits for what was told before it."""
    return not append.drafts and append.session is None and not append.runs


def built_on_sand() -> AsmError:
    """The error for a write whose writer had an earlier one refused."""
    return AsmError(
        ErrorCode.STORAGE_WRITE_FAILED, "an earlier write of the same session could not be made durable"
    )


def follow_up(effect: Then, writer: Any) -> None:
    """Do what hangs on a write, now that it is durable."""
    if isinstance(effect, Note):
        notify(writer, effect.message)
    # An asker whose session has died meanwhile was told so, and has its answer.
    elif effect.to is None or effect.to.is_done:
        pass
    elif type(effect) is Reply:
        effect.to.set(effect.value)
    elif type(effect) is Refuse:
        effect.to.set_error(effect.error)


def refuse_all(then: Any, error: AsmError) -> None:
    """Tell everybody whose answer hangs on a write that it will not be durable."""
    for effect in then:
        if not isinstance(effect, Note) and effect.to is not None and not effect.to.is_done:
            effect.to.set_error(error)


def notify(writer: Any, message: Any) -> None:
    """Send a writer a notice; one whose mailbox its callers have filled must hear of its own writes all the same."""
    if writer.is_alive():
        writer.life.put_notice(message)


def maintain(store: Store, work: Callable[[], Any], reply: Any) -> Maintained:
    """Do somebody else's work on the committing thread; whatever it raises is theirs."""
    result: Any = None
    error: BaseException | None = None
    position: int | None = None
    try:
        result = work()
    except Exception as raised:  # the asker's
        error = raised
    with suppress(AsmError):
        position = store.last_position()
    return Maintained(reply, result, error, position)


def answer_work(done: Maintained) -> None:
    """Tell the asker how its work went."""
    if done.reply is None or done.reply.is_done:
        return
    if done.error is None:
        done.reply.set(done.result)
    else:
        done.reply.set_error(done.error)
