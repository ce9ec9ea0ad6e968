"""From the option of a start to the redactor of a system. Pure: the environment is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asm_actors.redaction.redactor import Redactor
from asm_actors.redaction.settings import LEAST_KNOWN, Redaction, secrets_of_environment
from asm_actors.serialization import invalid

__all__ = ["redactor_of"]


def redactor_of(
    redaction: bool | Redaction, providers: Iterable[Any], environ: Mapping[str, str]
) -> Redactor | None:
    """Make the redactor of a system.

    Beside what `redaction` names, it knows what the providers were configured with (what their ``secrets()`` gives, if
    they have it), and what the environment holds.

    Args:
        redaction: True for the defaults, False for none.
        providers: The system's providers.
        environ: Environment variables.

    Returns:
        The redactor; None if nothing is redacted.

    Raises:
        ValidationError: It is neither.
    """
    if redaction is False:
        return None
    if redaction is True:
        redaction = Redaction()
    if not isinstance(redaction, Redaction):
        raise invalid("redaction", "must be true, false, or an asm_actors.Redaction", redaction)
    if not redaction.enabled:
        return None
    known = [secret for provider in providers for secret in _secrets_of(provider)]
    if redaction.environment:
        known += secrets_of_environment(environ)
    return Redactor(redaction, known)


def _secrets_of(provider: Any) -> Iterable[str]:
    tell = getattr(provider, "secrets", None)
    if not callable(tell):
        return ()
    return [text for text in tell() if isinstance(text, str) and len(text) >= LEAST_KNOWN]
