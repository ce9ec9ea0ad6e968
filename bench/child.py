"""Runs one case in this process and prints its result; `runner.py` starts it.

Usage: `python -m bench.child CASE OPTIONS`, with the options as `Options.to_json` writes them.
"""

from __future__ import annotations

import json
import sys

from bench.cases import BENCHES, load
from bench.harness import Options, Result

__all__ = ["run"]


def run(case: str, options: Options) -> Result:
    """Warm the case up, run it, and return the request together with what was measured."""
    function = load(options.bench, case)
    if BENCHES[options.bench].warm_up:
        function(options.warm_up())
    asked = options.asked()
    return {"bench": asked.pop("bench"), "case": case} | asked | function(options)


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], Options.from_json(sys.argv[2]))))
