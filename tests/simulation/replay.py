"""``python -m tests.simulation.replay SEED``: play one scenario and print all that was done and what broke."""

from __future__ import annotations

import logging
import sys

from tests.simulation.scenario import play


def main(arguments: list[str]) -> int:
    """Play each seed that is named."""
    if "-v" in arguments:
        arguments.remove("-v")
        logging.basicConfig(level=logging.INFO)
    else:
        logging.disable(logging.CRITICAL)
    broken = 0
    for seed in map(int, arguments):
        outcome = play(seed)
        print(outcome)
        broken += bool(outcome.faults)
    return broken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
