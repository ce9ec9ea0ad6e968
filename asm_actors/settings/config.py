"""`Config`: every setting of a system, checked, frozen, in one value.

::

    config = asm.Config.load("asm.toml")            # the file, then ASM_… variables over it
    with asm.ActorSystem.from_config(config, providers={...}) as system: ...

1. What is not set has its default; a file stands over the defaults, the environment over the file, overrides over all.
2. A name that is unknown is an error, and so is a value that is not legal: nothing is guessed.
3. Names that end in ``_ms`` are milliseconds, in ``_bytes`` bytes, in ``_days`` days; other durations are seconds.
4. Every setting acts. Settings that have no meaning here stand in `settings.absent`, each with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from attrs import Attribute, fields, frozen

from asm_actors.config import Limits
from asm_actors.cost.pricing import PricingTable
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import jsonable
from asm_actors.maintenance.policy import RetentionPolicy
from asm_actors.normalization.stream import EventStream
from asm_actors.redaction.settings import Redaction
from asm_actors.routing.breaker import CircuitBreaker
from asm_actors.serialization import invalid
from asm_actors.settings.fields import Settings
from asm_actors.settings.reading import check_file
from asm_actors.settings.rules import Rule
from asm_actors.settings.sources import DEFAULT_SOURCE, gather, unknown
from asm_actors.workspace.command import Command

__all__ = ["Config"]

_LIMITS: Final = tuple(attribute.name for attribute in fields(Limits))


@frozen(kw_only=True)
class Config(Settings):
    """Every setting; see the module. `asm config show` lists them with what they do.

    Raises:
        ValidationError: A value is not legal; the message names the setting, and says what is.
    """

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read the configuration from where it stands.

        Args:
            path: A TOML file (or JSON, if its name ends so); None: there is none.
            env: Variables ``ASM_<NAME>``; in maps single entries by ``ASM_<NAME>__<KEY>``. By default this process's.
            overrides: Values that stand over all others, by name.

        Raises:
            ValidationError: A name is unknown, a value is not legal, the file cannot be read, or an argument is of
                another type; the message names the file or the variable, and says what is legal. It shows no secret.
        """
        return cls.load_with_sources(path, env, overrides)[0]

    @classmethod
    def load_with_sources(
        cls,
        path: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> tuple[Self, dict[str, str]]:
        """As `load`; also tells by name where each value is from: a file, a variable, ``override``, or ``default``."""
        where = None if path is None else check_file(path, "path")
        variables = os.environ if env is None else env
        found = gather(_rules(), where, variables, {} if overrides is None else overrides)
        config = cls(**{name: value for name, (value, _) in found.items()})
        return config, {
            attribute.name: found[attribute.name][1] if attribute.name in found else DEFAULT_SOURCE
            for attribute in fields(cls)
        }

    def to_map(self) -> dict[str, Any]:
        """Return every setting as a JSON-ready map; secrets are in it."""
        return {attribute.name: jsonable(getattr(self, attribute.name)) for attribute in fields(type(self))}

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote, or what somebody wrote by hand; what is left out has its default.

        Raises:
            ValidationError: A value is not legal, or there is no such setting.
        """
        if not isinstance(value, Mapping):
            raise invalid("the configuration", "must be a map", value)
        known = _rules()
        for name in value:
            if name not in known:
                raise AsmError(ErrorCode.VALIDATION_ERROR, unknown(str(name), known))
        return cls(**value)

    # --- What is made of it ----------------------------------------------------------------------------------------

    def limits(self) -> Limits:
        """How much may go on at once."""
        return Limits(**{name: getattr(self, name) for name in _LIMITS})

    def redaction(self) -> Redaction:
        """What is taken out before the journal is written."""
        return Redaction(
            enabled=self.redaction_enabled,
            patterns=self.redaction_patterns,
            mode="replace" if self.redaction_mode == "replace" else "append",
            replacement=self.redaction_replacement,
            deep_scan=self.redaction_deep_scan,
            scan_metadata=self.redaction_scan_metadata,
            max_depth=self.redaction_max_depth,
            environment=self.redaction_environment,
        )

    def retention_policy(self) -> RetentionPolicy:
        """What the journal keeps, unless maintenance is told otherwise."""
        return RetentionPolicy(
            max_session_age_days=self.retention_max_session_age_days,
            max_completed_session_age_days=self.retention_max_completed_age_days,
            max_events_per_session=self.retention_max_events_per_session,
            max_total_events=self.retention_max_total_events,
            hard_delete_after_days=self.retention_hard_delete_after_days,
            exempt_statuses=self.retention_exempt_statuses,
            exempt_tags=self.retention_exempt_tags,
            prune_event_types_first=self.retention_prune_event_types_first,
            batch_size=self.retention_batch_size,
        )

    def pricing(self) -> PricingTable:
        """What models cost, over the table that is built in."""
        return PricingTable.of(self.pricing_table)

    def start_arguments(self) -> dict[str, Any]:
        """Return the arguments of `ActorSystem.start` that say what this configuration says."""
        given: dict[str, Any] = {
            "limits": self.limits(),
            "durability": self.durability,
            "on_restart": self.on_restart,
            "max_recoveries": self.max_recoveries,
            "linger": self.linger,
            "patience": self.patience,
            "tool_threads": self.tool_threads,
            "redaction": self.redaction(),
            "policy": self.policy,
            "pricing": self.pricing(),
            "mcp_servers": self.mcp_servers,
        }
        return given if self.journal is None else {"journal": self.journal, **given}

    def router_options(self) -> dict[str, Any]:
        """Return the arguments of `Router` that say what this configuration says: ``Router(targets, **options)``."""
        breaker = CircuitBreaker(
            failure_threshold=self.circuit_breaker_failure_threshold,
            cooldown=self.circuit_breaker_cooldown_ms / 1000,
            half_open_max_probes=self.circuit_breaker_half_open_max_probes,
        )
        return {
            "name": self.default_router_name,
            "breaker": breaker,
            "sticky_ttl": self.sticky_session_ttl_ms / 1000,
        }

    def anthropic_options(self) -> dict[str, Any]:
        """Return the arguments of `AnthropicProvider` that say what this configuration says."""
        return {"model": self.claude_default_model}

    def event_stream(self, session_id: str, run_id: str) -> EventStream:
        """Return an empty `EventStream` of a run that keeps as many events as this configuration says."""
        return EventStream.new(session_id, run_id, buffer_size=self.event_buffer_size)

    def command(self, what: str | Sequence[str], **options: Any) -> Command:
        """Return a command for a workspace: of words, or of a text for the shell that this configuration names.

        Whether it succeeded, ``result.check(config.default_success_exit_codes)`` tells.

        Args:
            what: A text for the shell, or the words of a command.
            **options: Fields of the `Command`; they stand over what this configuration says.

        Raises:
            ValidationError: A field is malformed.
        """
        given = {**self.command_options(), **options}
        if isinstance(what, str):
            return Command.of_shell(what, shell=self.default_shell, **given)
        return Command(argv=what, **given)

    def command_options(self) -> dict[str, Any]:
        """Return the arguments of a workspace's `Command` that say what this configuration says."""
        seconds = self.command_timeout_ms
        return {
            "timeout": None if seconds is None else seconds / 1000,
            "max_output_bytes": self.max_output_bytes,
        }

    def workspace_options(self) -> dict[str, Any]:
        """Return the fields of a `WorkspaceConfig` that a run has where it does not say otherwise."""
        return {
            "max_patch_bytes": self.max_patch_bytes,
            "timeout": self.workspace_timeout_ms / 1000,
            "excluded_roots": list(self.excluded_workspace_roots),
        }


def _rules() -> dict[str, Rule]:
    """The rule of every setting, by name, in their order."""
    attributes: tuple[Attribute[Any], ...] = fields(Config)
    return {attribute.name: attribute.metadata["rule"] for attribute in attributes}
