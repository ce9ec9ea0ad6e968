"""A provider of one's own in ten lines, held to the contract that all providers are held to.

`reply` yields text. A provider that calls tools, counts tokens or keeps conversations overrides `stream` instead and
yields the items of `asm_actors.providers.items`.
"""

from __future__ import annotations

import asyncio
import tempfile
import unittest
from collections.abc import AsyncGenerator

import asm_actors as asm
from asm_actors.providers.base import prompt_from_input
from asm_actors.testing.provider_contract import ProviderContract


class Shout(asm.BaseProvider):
    description = "Says it louder"

    async def reply(self, request: asm.TurnRequest) -> AsyncGenerator[str, None]:
        for word in prompt_from_input(request.input).split():
            await asyncio.sleep(0)  # where a real one waits for the network; a cancel lands at any await
            if word == "quietly":
                raise asm.AsmError(asm.ErrorCode.PROVIDER_ERROR, "this provider cannot be quiet")
            yield word.upper() + " "


class ShoutKeepsTheContract(ProviderContract, unittest.TestCase):
    def make_provider(self) -> Shout:
        return Shout()


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as journal,
        asm.ActorSystem.start(journal, {"shout": Shout()}) as system,
    ):
        print("answer:", system.sessions.run_once("hello out there").output["content"])
        try:
            system.sessions.run_once("say it quietly")
        except asm.ProviderError as error:
            print("refused:", error)

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(ShoutKeepsTheContract)
    outcome = unittest.TestResult()
    suite.run(outcome)
    print(
        f"contract: {outcome.testsRun} tests, {len(outcome.skipped)} do not apply, sound: {outcome.wasSuccessful()}"
    )


if __name__ == "__main__":
    main()
