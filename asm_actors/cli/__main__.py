"""`python -m asm_actors.cli`: the command without its installed script."""

from __future__ import annotations

from asm_actors.cli.entry import main

main()
