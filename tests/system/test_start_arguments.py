"""What a start is given is checked before anything is opened."""

from __future__ import annotations

import asyncio

import pytest

import asm_actors as asm
from asm_actors.ids import SequentialIds


class HalfIds:
    """Makes no blocks."""

    def session(self):
        return "ses_1"

    def run(self):
        return "run_1"


class ProviderOfNone(asm.ScriptedProvider):
    """A provider whose class looks like one."""

    name = "x"
    timeout = None
    resumable = False


WRONG = [
    ("dispatcher", 1),
    ("dispatcher", "loop"),
    ("ids", 1),
    ("ids", 0),
    ("ids", HalfIds()),
    ("ids", SequentialIds),
    ("seed", "q"),
    ("seed", 1.5),
    ("seed", True),
    ("artifact_store", asm.FileArtifactStore),
    ("providers", {"mock": ProviderOfNone}),
]


@pytest.mark.parametrize("surface", [asm.ActorSystem, asm.AsyncActorSystem])
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_argument_of_the_wrong_kind_is_refused_and_nothing_is_made(tmp_path, surface, name, value):
    with pytest.raises(asm.AsmError, match=name) as caught:
        surface.start(tmp_path / "journal", **{name: value})
    assert caught.value.code is asm.ErrorCode.VALIDATION_ERROR
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("surface", [asm.ActorSystem, asm.AsyncActorSystem])
@pytest.mark.parametrize("path", ["", "a\x00b", "\ud800", None, b"journal", asm.MemoryStore])
def test_what_names_no_directory_and_is_no_store_is_refused(tmp_path, monkeypatch, surface, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(asm.AsmError) as caught:
        surface.start(path)
    assert caught.value.code is asm.ErrorCode.VALIDATION_ERROR
    assert not list(tmp_path.iterdir())


def test_a_system_does_not_start_on_a_lost_journal(tmp_path):
    asm.ActorSystem.start(tmp_path / "journal").stop()
    (tmp_path / "journal" / "data.mdb").unlink()

    async def start():
        await asm.AsyncActorSystem.start(tmp_path / "journal")

    for call in (lambda: asm.ActorSystem.start(tmp_path / "journal"), lambda: asyncio.run(start())):
        with pytest.raises(asm.AsmError, match="restore it from a backup") as caught:
            call()
        assert caught.value.code is asm.ErrorCode.STORAGE_READ_FAILED
    assert not (tmp_path / "journal" / "data.mdb").exists()
