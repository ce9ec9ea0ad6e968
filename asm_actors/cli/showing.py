"""`--format`: events as the renderers of this package show them, or as lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from asm_actors.cli.common import Failure, echo_json
from asm_actors.events import Event
from asm_actors.rendering.compact import CompactRenderer
from asm_actors.rendering.renderer import Renderer
from asm_actors.rendering.studio import StudioRenderer
from asm_actors.rendering.verbose import VerboseRenderer

__all__ = ["Shower", "format_option", "shower"]

JSONL: Final = "jsonl"
F = TypeVar("F", bound=Callable[..., Any])


def format_option(default: str, help_text: str) -> Callable[[F], F]:
    """Add `--format`, whose default is a style of the command's own."""
    return click.option(
        "--format",
        "style",
        type=click.Choice([default, "compact", "verbose", "studio", JSONL]),
        help=f"How to show events; {help_text}",
    )


class Shower:
    """Shows events one by one on standard output.

    Args:
        plain: Shows an event in the command's own style.
        renderer: Renders it instead; None: it does not.
        as_json: Lines of JSON instead.
    """

    def __init__(self, plain: Callable[[Event], None], renderer: Renderer | None, *, as_json: bool) -> None:
        self._plain = plain
        self._renderer = renderer
        self._state = None if renderer is None else renderer.init()
        self.as_json = as_json

    @property
    def is_plain(self) -> bool:
        """Whether the command's own style is used."""
        return self._renderer is None and not self.as_json

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if self.as_json:
            echo_json(event.to_map())
        elif self._renderer is None:
            self._plain(event)
        else:
            text, self._state = self._renderer.render_event(event, self._state)
            self._echo(text)

    def end(self) -> None:
        """Show what stands at the end."""
        if self._renderer is not None:
            text, self._state = self._renderer.finish(self._state)
            self._echo(text)

    @staticmethod
    def _echo(text: str) -> None:
        if text:
            click.echo(text, nl=False)
            sys.stdout.flush()


def shower(style: str | None, plain: Callable[[Event], None], *, as_json: bool) -> Shower:
    """Make what `--format` and `--json` ask for.

    Args:
        style: What was given for `--format`, or None.
        plain: Shows an event in the command's own style.
        as_json: Whether `--json` was given.

    Raises:
        Failure: both are given, and say different things.
    """
    if as_json and style not in (None, JSONL):
        raise Failure(f"--json and --format {style} exclude each other")
    context = click.get_current_context(silent=True)
    is_terminal = sys.stdout.isatty() and (context is None or context.color is not False)
    renderers: dict[str | None, Renderer] = {
        "compact": CompactRenderer(color=is_terminal),
        "verbose": VerboseRenderer(color=is_terminal),
        "studio": StudioRenderer(color=is_terminal, tty=is_terminal),
    }
    return Shower(plain, renderers.get(style), as_json=as_json or style == JSONL)
