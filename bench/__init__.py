"""Measures the runtime, and programs written without it, on the same work.

`python -m bench` lists the benches, `python -m bench NAME --help` tells what one measures and
which sizes it takes. `cases.py` names the programs that take part in each bench.
"""
