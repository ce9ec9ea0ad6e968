"""What comes in by an import is redacted like anything else that is written."""

from __future__ import annotations

import io

import pytest

import asm_actors as asm

SECRET = "sk-ant-api03-" + "a1B2" * 12


def exported():
    """An export of a journal that was not redacted."""
    with asm.ActorSystem.start(
        asm.MemoryStore(), {"mock": asm.ScriptedProvider()}, redaction=False
    ) as system:
        system.sessions.run_once(f"my key is {SECRET}", metadata={"note": SECRET})
        text = io.StringIO()
        system.maintenance.export(text)
    assert SECRET in text.getvalue()
    return text.getvalue()


@pytest.mark.parametrize("redaction", [True, False])
def test_an_import_takes_secrets_out_unless_the_system_does_not(tmp_path, redaction):
    with asm.ActorSystem.start(tmp_path, redaction=redaction) as system:
        report = system.maintenance.import_(io.StringIO(exported()))
        assert report.sessions == 1
        assert system.maintenance.verify().is_sound
    kept = (tmp_path / "data.mdb").read_bytes()
    assert (SECRET.encode() in kept) is (not redaction)
