"""The contract of providers, on routers."""

from __future__ import annotations

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, crash, fail, stall, text, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.routing.router import Router
from asm_actors.testing.provider_contract import ProviderContract


class Unusable(ScriptedProvider):
    def check(self):
        raise AsmError(ErrorCode.PROVIDER_AUTHENTICATION_FAILED, "no key")


def mock():
    return ScriptedProvider()


class TestRouter(ProviderContract):
    def make_provider(self):
        return Router({"a": mock(), "b": mock()})

    def make_slow_provider(self):
        return Router({"a": ScriptedProvider(Script(text("one"), stall())), "b": mock()})

    def make_failing_provider(self):
        failing = Script(fail("provider_rate_limited", retry_after=1.0))
        return Router({name: ScriptedProvider(failing) for name in "ab"})

    def make_unusable_provider(self):
        return Router({"a": Unusable(), "b": Unusable()})


class TestRouterOfOne(TestRouter):
    def make_provider(self):
        return Router({"a": mock()}, breaker=True, sticky=True)

    def make_slow_provider(self):
        return Router({"a": ScriptedProvider(Script(usage(1, 1), stall()))})

    def make_unusable_provider(self):
        return Router({"a": Unusable()})


class TestRouterThatFailsOver(TestRouter):
    """Its first target always fails after its opening, and is never left alone."""

    def make_provider(self):
        failing = ScriptedProvider(Script(usage(5, 0), fail("provider_unavailable")))
        return Router({"a": failing, "b": mock()}, cooldown=0)

    def make_slow_provider(self):
        crashing = ScriptedProvider(Script(crash()))
        return Router({"a": crashing, "b": ScriptedProvider(Script(text("one"), stall()))}, cooldown=0)


class TestRouterWithTimeouts(TestRouter):
    def make_provider(self):
        return Router({name: {"provider": mock(), "timeout": 5.0} for name in "ab"})

    def make_slow_provider(self):
        slow = ScriptedProvider(Script(text("one"), stall()))
        return Router({"a": {"provider": slow, "timeout": 60.0}})

    def make_failing_provider(self):
        return Router({"a": {"provider": ScriptedProvider(Script(stall())), "timeout": 0.01}})


class TestRouterInARouter(TestRouter):
    def make_provider(self):
        failing = ScriptedProvider(Script(fail("provider_unavailable")))
        inner = Router({"x": failing, "y": mock()}, cooldown=0)
        return Router({"inner": inner, "b": mock()})
