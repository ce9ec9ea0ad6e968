"""What Pykka documents, and the private names of it that we stand on.

Each documented behaviour runs on Pykka's own threading actor too: a Pykka release that changes one fails here first,
with the name of the fact. The differences that are meant are at the end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading

import pykka
import pykka._actor
import pykka._envelope
import pykka._ref
import pykka._registry
import pykka.messages
import pytest

from supervisors import pykka_registry
from supervisors.actor import Actor
from supervisors.exits import Crashed
from supervisors.future import Future
from supervisors.testing import settle
from supervisors.thread_actor import ThreadActor

OURS = {"dispatched": Actor, "thread": ThreadActor}
ALL = {**OURS, "pykka": pykka.ThreadingActor}


class Part:
    """A traversable attribute."""

    pykka_traversable = True

    def __init__(self):
        self.level = 1

    def shout(self, word):
        return word.upper()


def make(base):
    class Example(base):
        kind = "class attribute"
        unmarked = object()
        inner = pykka.traversable(
            type("Inner", (), {"value": "inside", "double": staticmethod(lambda n: n * 2)})()
        )

        def __init__(self, hooks=None, *, name="nobody"):
            super().__init__()
            self.name = name
            self.part = Part()
            self.received = []
            self._private = "hidden"
            self._hooks = hooks if hooks is not None else {}

        def _hook(self, hook, *args):
            self._hooks.setdefault("called", []).append(hook)
            return self._hooks[hook](self, *args) if hook in self._hooks else None

        def on_start(self):
            self._hook("on_start")

        def on_stop(self):
            self._hook("on_stop")

        def on_failure(self, *exc_info):
            self._hook("on_failure", *exc_info)

        def on_receive(self, message):
            self.received.append(message)
            return message(self) if callable(message) else message

        def add(self, a, b=1):
            return a + b

        def fail(self):
            raise KeyError("method")

        @property
        def shout(self):
            return self.name.upper()

    return Example


@pytest.fixture(params=ALL)
def cls(request):
    """An actor class on each kind of actor, Pykka's own included."""
    return make(ALL[request.param])


@pytest.fixture(params=OURS)
def ours(request):
    """The same on ours only."""
    return make(OURS[request.param])


@pytest.fixture(autouse=True)
def _stop_all(dispatcher):
    with dispatcher.activate():
        yield
    pykka.ActorRegistry.stop_all(timeout=10)


@pytest.fixture
def wait_for_end(dispatcher):
    """Wait until all that follows from the end of an actor has happened."""

    def wait(ref):
        assert ref.actor_stopped.wait(5)
        if hasattr(ref, "life"):
            settle(dispatcher)
        for thread in threading.enumerate():
            if thread.name.startswith("Example"):
                thread.join(5)

    return wait


def raising(error):
    def fail(*_):
        raise error

    return fail


# --- Actors --------------------------------------------------------------------------------------------------


def test_start_passes_its_arguments_to_init_and_returns_a_ref(cls):
    ref = cls.start(name="anna")
    assert isinstance(ref, pykka.ActorRef)
    assert ref.proxy().name.get() == "anna"
    assert ref.actor_class is cls


def test_an_actor_has_a_urn_a_ref_an_inbox_and_a_stop_flag_when_init_runs(cls):
    seen = []

    class Looking(cls):
        def __init__(self):
            super().__init__()
            seen.extend([self.actor_urn, self.actor_ref, self.actor_inbox, self.actor_stopped.is_set()])

    ref = Looking.start()
    assert seen == [ref.actor_urn, ref, ref.actor_inbox, False]
    assert ref.actor_urn.startswith("urn:uuid:")


def test_urns_are_unique(cls):
    assert len({cls.start().actor_urn for _ in range(5)}) == 5


def test_its_text_has_the_class_and_the_urn(cls):
    ref = cls.start()
    assert str(ref) == f"Example ({ref.actor_urn})"
    assert repr(ref) == f"<ActorRef for {ref}>"
    assert ref.ask(str) == str(ref)


def test_init_runs_on_the_callers_thread_and_the_hooks_elsewhere(cls):
    threads = []

    class Looking(cls):
        def __init__(self):
            super().__init__()
            threads.append(threading.get_ident())

        def on_start(self):
            threads.append(threading.get_ident())

    Looking.start().ask(1)
    assert threads[0] == threading.get_ident() != threads[1]


def test_on_start_runs_before_the_first_message(cls):
    order = []
    ref = cls.start({"on_start": lambda me: order.append("start")})
    ref.ask(lambda me: order.append("message"))
    assert order == ["start", "message"]


def test_it_is_registered_before_on_start_and_unregistered_before_on_stop(cls):
    seen = []

    def look(me):
        seen.append(me.actor_ref in pykka.ActorRegistry.get_all())

    cls.start({"on_start": look, "on_stop": look}).stop()
    assert seen == [True, False]


def test_messages_are_handled_one_by_one_in_order(cls):
    ref = cls.start()
    for n in range(100):
        ref.tell(n)
    assert ref.ask(lambda me: me.received[:100]) == list(range(100))


def test_on_receive_by_default_logs_the_message_and_answers_none(caplog):
    for base in ALL.values():
        ref = base.start()
        assert ref.ask("strange") is None
        assert f"Unexpected message received by {ref}: strange" in caplog.text


def test_stop_runs_on_stop_and_handles_what_was_sent_before(cls):
    hooks = {}
    ref = cls.start(hooks)
    before = ref.ask("before", block=False)
    assert ref.stop() is True
    assert before.get(timeout=5) == "before"
    assert hooks["called"] == ["on_start", "on_stop"]
    assert ref.actor_stopped.is_set()


def test_what_was_sent_after_the_stop_is_answered_with_actor_dead_error(cls):
    entered, gate = threading.Event(), threading.Event()
    ref = cls.start()
    ref.tell(lambda me: (entered.set(), gate.wait(5)))
    assert entered.wait(5)
    stopped = ref.stop(block=False)
    late = ref.ask("late", block=False)
    second = ref.stop(block=False)
    gate.set()
    assert stopped.get(timeout=5) is True
    assert second.get(timeout=5) is True
    with pytest.raises(pykka.ActorDeadError, match="stopped before handling the message"):
        late.get(timeout=5)


def test_an_actor_can_stop_itself(cls):
    ref = cls.start()
    ref.ask(lambda me: me.stop())
    assert ref.actor_stopped.wait(5)


def test_an_error_in_on_start_stops_the_actor_without_any_other_hook(cls, caplog):
    hooks = {"on_start": raising(ValueError("start"))}
    ref = cls.start(hooks)
    assert ref.actor_stopped.wait(5)
    assert hooks["called"] == ["on_start"]
    assert f"Unhandled exception in {ref}" in caplog.text


def test_an_error_in_on_stop_is_logged_and_the_stop_is_a_stop(cls, caplog):
    ref = cls.start({"on_stop": raising(ValueError("stop"))})
    assert ref.stop() is True
    assert f"Unhandled exception in {ref}" in caplog.text


def test_an_error_while_handling_what_was_told_ends_the_actor_with_on_failure(cls, caplog):
    error, seen, done = ValueError("told"), [], threading.Event()

    def on_failure(me, *exc_info):
        seen.extend([*exc_info[:2], me.actor_ref in pykka.ActorRegistry.get_all()])
        done.set()

    hooks = {"on_failure": on_failure}
    ref = cls.start(hooks)
    ref.tell(raising(error))
    assert done.wait(5)
    assert seen == [ValueError, error, False]
    assert hooks["called"] == ["on_start", "on_failure"]
    assert not ref.is_alive()


def test_an_error_in_on_failure_is_logged(cls, caplog, wait_for_end):
    ref = cls.start({"on_failure": raising(KeyError("hook"))})
    ref.tell(raising(ValueError("told")))
    wait_for_end(ref)
    assert "KeyError: 'hook'" in caplog.text


def test_an_error_while_handling_an_ask_is_the_askers_and_logged_at_info(cls, caplog):
    caplog.set_level(logging.INFO, logger="pykka")
    ref = cls.start()
    with pytest.raises(ValueError, match="asked"):
        ref.ask(raising(ValueError("asked")))
    assert ref.is_alive()
    assert f"Exception returned from {ref} to caller" in caplog.text


# --- Refs ----------------------------------------------------------------------------------------------------


def test_tell_returns_none_and_ask_the_answer(cls):
    ref = cls.start()
    assert ref.tell("x") is None
    assert ref.ask("y") == "y"


def test_ask_without_blocking_returns_a_future_of_the_actors_kind(cls):
    ref = cls.start()
    future = ref.ask("x", block=False)
    assert isinstance(future, type(cls._create_future()))
    assert future.get(timeout=5) == "x"


def test_ask_times_out(cls):
    gate = threading.Event()
    ref = cls.start()
    with pytest.raises(pykka.Timeout):
        ref.ask(lambda me: gate.wait(5), timeout=0.001)
    gate.set()


def test_a_dead_actor_refuses(cls):
    ref = cls.start()
    ref.stop()
    assert not ref.is_alive()
    for use in (lambda: ref.tell(1), lambda: ref.ask(1), ref.ask(1, block=False).get, ref.proxy):
        with pytest.raises(pykka.ActorDeadError, match="not found"):
            use()


def test_stop_of_a_dead_actor_is_false(cls):
    ref = cls.start()
    assert ref.stop() is True
    assert ref.stop() is False
    assert ref.stop(block=False).get(timeout=5) is False


# --- Proxies -------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(cls):
    return cls.start(name="anna").proxy()


def test_a_proxy_reads_attributes_and_properties_as_futures(proxy):
    assert (proxy.name.get(), proxy.kind.get(), proxy.shout.get()) == ("anna", "class attribute", "ANNA")


def test_a_proxy_calls_methods_with_arguments(proxy):
    assert (proxy.add(1).get(), proxy.add(1, 2).get(), proxy.add(a=1, b=5).get()) == (2, 3, 6)


def test_a_proxy_raises_what_the_method_raises_where_the_answer_is_looked_for(proxy):
    with pytest.raises(KeyError, match="method"):
        proxy.fail().get()
    assert proxy.add(1).get() == 2


def test_a_proxy_sets_attributes(proxy):
    proxy.name = "berta"
    assert proxy.name.get() == "berta"
    proxy.added_later = 5
    assert proxy.added_later.get() == 5


def test_a_proxy_defers_calls_and_their_errors_end_the_actor(cls, wait_for_end):
    hooks = {}
    ref = cls.start(hooks)
    proxy = ref.proxy()
    assert proxy.add.defer(1) is None
    proxy.fail.defer()
    wait_for_end(ref)
    assert hooks["called"] == ["on_start", "on_failure"]


def test_a_proxy_goes_into_traversable_attributes(proxy):
    assert proxy.part.level.get() == 1
    proxy.part.level = 7
    assert proxy.part.level.get() == 7
    assert proxy.part.shout("hey").get() == "HEY"
    assert (proxy.inner.value.get(), proxy.inner.double(4).get()) == ("inside", 8)


def test_a_proxy_shows_no_private_and_no_unknown_names(proxy):
    for name in ("_private", "unknown"):
        with pytest.raises(AttributeError):
            getattr(proxy, name).get()
    assert {"name", "add", "part"} <= set(dir(proxy))


def test_a_proxys_methods_survive_a_new_lookup_and_unmarked_objects_are_values(proxy):
    assert proxy.add == proxy.add
    assert type(proxy.unmarked.get()) is object


def test_an_actor_can_defer_work_to_itself_by_a_proxy(cls):
    order = []

    class Deferring(cls):
        def on_start(self):
            self._me = self.actor_ref.proxy()

        def work(self, n):
            order.append(n)
            if n:
                self._me.work(n - 1)

    proxy = Deferring.start().proxy()
    proxy.work(3).get()
    while len(order) < 4:
        proxy.add(1).get()
    assert order == [3, 2, 1, 0]


def test_proxies_of_one_actor_are_equal(cls):
    ref = cls.start()
    assert ref.proxy() == ref.proxy()
    assert hash(ref.proxy()) == hash(ref.proxy())
    assert ref.proxy() != cls.start().proxy()


def test_messages_of_proxies_can_be_sent_without_one(cls):
    ref = cls.start(name="anna")
    assert ref.ask(pykka.messages.ProxyCall(attr_path=("add",), args=(1,), kwargs={"b": 2})) == 3
    assert ref.ask(pykka.messages.ProxyGetAttr(attr_path=("name",))) == "anna"
    ref.tell(pykka.messages.ProxySetAttr(attr_path=("name",), value="berta"))
    assert ref.ask(pykka.messages.ProxyGetAttr(attr_path=("name",))) == "berta"


def test_a_proxys_answers_can_be_awaited(cls):
    proxy = cls.start().proxy()

    async def main():
        return await proxy.add(1, 2)

    assert asyncio.run(main()) == 3


# --- Futures -------------------------------------------------------------------------------------------------


@pytest.fixture(params=[Future, pykka.ThreadingFuture])
def future(request):
    return request.param()


def test_a_future_is_set_once(future):
    future.set(1)
    for again in (lambda: future.set(2), future.set_exception, lambda: future.set_get_hook(str)):
        with pytest.raises(queue.Full):
            again()
    assert future.get() == 1


def test_a_future_with_a_hook_cannot_be_set(future):
    future.set_get_hook(lambda timeout: timeout)
    with pytest.raises(queue.Full):
        future.set(1)
    assert (future.get(timeout=3), future.get(timeout=4)) == (3, 3)


def test_a_futures_combinators_are_lazy_and_of_its_kind(future):
    calls = []
    mapped = future.map(lambda n: calls.append(n) or n + 1)
    assert type(mapped) is type(future)
    future.set(1)
    assert calls == []
    assert (mapped.get(), mapped.get()) == (2, 2)
    assert calls == [1]


def test_get_all_collects(future):
    future.set(1)
    assert list(pykka.get_all([future, future], timeout=1)) == [1, 1]


# --- The registry --------------------------------------------------------------------------------------------


def test_the_registry_finds_actors_in_the_order_of_their_starts(cls):
    refs = [cls.start() for _ in range(3)]
    registry = pykka.ActorRegistry
    assert registry.get_all() == refs
    assert registry.get_by_class(cls) == refs
    assert registry.get_by_class_name("Example") == refs
    assert registry.get_by_urn(refs[1].actor_urn) is refs[1]
    assert registry.get_by_urn("urn:unknown") is None
    assert registry.get_by_class(pykka.Actor) == refs


def test_the_registry_broadcasts(cls):
    refs = [cls.start() for _ in range(3)]
    pykka.ActorRegistry.broadcast("to all")
    pykka.ActorRegistry.broadcast("to the class", target_class="Example")
    for ref in refs:
        assert ref.ask(lambda me: me.received[:2]) == ["to all", "to the class"]


def test_the_registry_stops_all_the_last_one_first(cls):
    order = []
    refs = [cls.start({"on_stop": lambda me, n=n: order.append(n)}) for n in range(3)]
    assert pykka.ActorRegistry.stop_all() == [True, True, True]
    assert order == [2, 1, 0]
    assert pykka.ActorRegistry.get_all() == []
    assert not any(ref.is_alive() for ref in refs)


def test_the_registry_holds_actors_of_all_kinds_together():
    refs = [make(base).start() for base in ALL.values()]
    assert pykka.ActorRegistry.get_all() == refs
    pykka.ActorRegistry.unregister(refs[0])
    pykka.ActorRegistry.unregister(refs[0])
    assert pykka.ActorRegistry.get_all() == refs[1:]
    refs[0].stop()


# --- The private names we stand on ---------------------------------------------------------------------------


def test_an_envelope_is_a_message_and_whom_to_answer():
    envelope = pykka._envelope.Envelope("message", reply_to="future")
    assert (envelope.message, envelope.reply_to) == ("message", "future")
    assert pykka._envelope.Envelope("message").reply_to is None
    assert inspect.signature(pykka._envelope.Envelope).parameters.keys() == {"message", "reply_to"}


def test_a_stop_is_a_message_without_content_that_refs_and_actors_send():
    assert pykka.messages._ActorStop() == ()
    assert pykka._ref._ActorStop is pykka.messages._ActorStop


def test_the_registrys_refs_are_one_class_attribute_under_a_lock_used_in_six_ways():
    source = inspect.getsource(pykka._registry)
    uses = [
        line.strip()
        for line in source.splitlines()
        if "_actor_refs" in line and "_actor_refs_lock" not in line
    ]
    assert sorted(set(uses)) == sorted(
        {
            "_actor_refs: ClassVar[list[ActorRef[Any]]] = []",
            "return cls._actor_refs[:]",
            "for ref in cls._actor_refs",
            "refs = [ref for ref in cls._actor_refs if ref.actor_urn == actor_urn]",
            "cls._actor_refs.append(actor_ref)",
            "if actor_ref in cls._actor_refs:",
            "cls._actor_refs.remove(actor_ref)",
        }
    )
    assert isinstance(pykka.ActorRegistry._actor_refs, pykka_registry.RefTable)


def test_a_ref_table_does_what_the_registry_asks_of_a_list():
    a, b, c = object(), object(), object()
    table = pykka_registry.RefTable([a, b])
    table.append(c)
    assert (list(table), table[:], len(table), a in table) == ([a, b, c], [a, b, c], 3, True)
    assert list(reversed(table)) == [c, b, a]
    table.remove(b)
    table.remove(b)
    assert (table[:], b in table, table[-1]) == ([a, c], False, c)
    assert (table.discard(a), table.discard(a)) == (True, False)


def test_a_snapshot_of_the_table_is_not_changed_by_who_comes_and_goes():
    table = pykka_registry.RefTable([1, 2, 3])
    for ref in table:
        table.remove(ref)
        table.append(ref + 10)
    assert table[:] == [11, 12, 13]


def test_the_table_is_put_in_once():
    assert pykka_registry.install() is pykka_registry.install() is pykka.ActorRegistry._actor_refs


def test_pykkas_actor_calls_what_we_override():
    base = pykka._actor.Actor
    for name in ("_create_actor_inbox", "_create_future", "_start_actor_loop"):
        assert name in base.__abstractmethods__
    for name in ("_handle_receive", "_handle_failure", "_stop", "_actor_loop"):
        assert callable(getattr(base, name))
    assert "_actor_ref" in inspect.getsource(base.__init__)
    assert "_start_actor_loop()" in inspect.getsource(base.start)
    assert "self._actor_loop" in inspect.getsource(pykka.ThreadingActor._start_actor_loop)


def test_pykkas_init_sets_four_attributes_which_ours_sets_too():
    class Theirs(pykka.ThreadingActor):
        pass

    class Ours(Actor):
        pass

    theirs = Theirs()
    assert set(vars(theirs)) == {"actor_urn", "actor_inbox", "actor_stopped", "_actor_ref"}
    ours = Ours()
    assert all(hasattr(ours, name) for name in vars(theirs))


def test_pykkas_ref_has_the_attributes_which_ours_has():
    ref = pykka.ThreadingActor.start()
    ours = make(Actor).start()
    assert set(vars(ref)) == {"_actor_weakref", "actor_class", "actor_urn", "actor_inbox", "actor_stopped"}
    assert all(hasattr(ours, name) for name in vars(ref))
    for name in ("put", "get", "empty"):  # Pykka's inbox protocol
        assert callable(getattr(ours.actor_inbox, name))


def test_our_inbox_keeps_pykkas_protocol():
    ref = make(Actor).start()
    entered, gate = threading.Event(), threading.Event()
    ref.tell(lambda me: (entered.set(), gate.wait(5)))
    assert entered.wait(5)
    inbox = ref.actor_inbox
    assert inbox.empty()
    inbox.put("bare")
    assert not inbox.empty()
    assert inbox.get().message == "bare"
    gate.set()


# --- The differences that are meant --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_a_base_exception_ends_its_actor_and_no_other(ours, error, caplog, dispatcher):
    hooks = {}
    other, ref = ours.start(), ours.start(hooks)
    ref.tell(raising(error))
    assert ref.actor_stopped.wait(5)
    assert other.ask(1, timeout=5) == 1
    settle(dispatcher)
    assert ref.exit_reason == Crashed(error)
    assert hooks["called"] == ["on_start", "on_stop"]
    assert f"ended {ref}" in caplog.text


def test_no_ask_is_left_without_an_answer_by_a_race_with_the_end(ours):
    ref = ours.start()
    ref.stop()
    # Pykka's would stay in the queue for ever: its actor has emptied it before.
    late = ours._create_future()
    ref.actor_inbox.put(pykka._envelope.Envelope("late", late))
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=5)


def test_a_dispatched_actor_has_no_inbox_but_its_life():
    with pytest.raises(NotImplementedError):
        make(Actor)._create_actor_inbox()
