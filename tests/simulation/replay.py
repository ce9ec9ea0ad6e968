"""``python -m tests.simulation.replay SEED``: play one scenario and print all that was done and what broke.

``python -m tests.simulation.replay flows SEED`` plays one of flows.
"""

from __future__ import annotations

import logging
import sys

from tests.simulation.flows import play_flows
from tests.simulation.scenario import play


def main(arguments: list[str]) -> int:
    """Play each seed that is named."""
    if "-v" in arguments:
        arguments.remove("-v")
        logging.basicConfig(level=logging.INFO)
    else:
        logging.disable(logging.CRITICAL)
    played = play
    if "flows" in arguments:
        arguments.remove("flows")
        played = play_flows
    broken = 0
    for seed in map(int, arguments):
        outcome = played(seed)
        print(outcome)
        broken += bool(outcome.faults)
    return broken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
