"""`asm config`: what the settings are, and where each is from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from attrs import fields

from asm_actors.cli.common import echo_json, json_option
from asm_actors.cli.configured import configuration
from asm_actors.cli.locating import config_option
from asm_actors.cli.text import printable
from asm_actors.redaction.redactor import Redactor
from asm_actors.settings.config import Config
from asm_actors.settings.sources import DEFAULT_SOURCE

__all__ = ["config"]

_HIDDEN = "(set, and not shown)"


@click.group("config", short_help="Show or check the settings.")
def config() -> None:
    """Show the settings in force and where each is from, or check them.

    Settings come from a TOML or JSON file (--config), and over it from ASM_… variables: ASM_MAX_PARALLEL_RUNS=20.
    Single entries of a map are set with two underscores: ASM_MAX_RUNS_PER_AGENT__REVIEWER=2.
    """


@config.command("show")
@config_option
@click.option("--changed", is_flag=True, help="Only those that somebody set.")
@click.option("--explain", is_flag=True, help="Also what each does, and what is legal.")
@json_option
def show(config_file: Path | None, changed: bool, explain: bool, as_json: bool) -> None:
    """Show each setting: its name, its value, and where that is from.

    \b
        asm config show --changed
        ASM_PATIENCE=5 asm config show --config asm.toml --json
    """  # noqa: D301 - click's mark before lines that are kept as they are
    found, sources = configuration(config_file)
    redactor = Redactor()
    for attribute in fields(Config):
        name, source = attribute.name, sources[attribute.name]
        if changed and source == DEFAULT_SOURCE:
            continue
        value = _shown(found, attribute, redactor)
        if as_json:
            echo_json({"name": name, "value": value, "source": source})
            continue
        told = click.style(source, dim=True) if source == DEFAULT_SOURCE else click.style(source, bold=True)
        click.echo(f"{name} = {printable(json.dumps(value, ensure_ascii=False))}  {told}")
        if explain:
            click.echo(f"    {attribute.metadata['help']} It must be {attribute.metadata['rule'].legal}.")


@config.command("check")
@config_option
@json_option
def check(config_file: Path | None, as_json: bool) -> None:
    """Check the settings; ends with exit code 2 if one is not legal, and says which, where, and what is."""
    _, sources = configuration(config_file)
    changed = {name: source for name, source in sources.items() if source != DEFAULT_SOURCE}
    if as_json:
        echo_json({"ok": True, "changed": changed})
    else:
        click.echo(f"all is legal; {len(changed)} of {len(sources)} settings are not as by default")


def _shown(found: Config, attribute: Any, redactor: Redactor) -> Any:
    value = found.to_map()[attribute.name]
    if attribute.metadata["secret"]:
        return _HIDDEN if value else value
    return redactor.map({attribute.name: value})[attribute.name]
