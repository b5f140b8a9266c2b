"""How many runs each scheduler needs: ``python -m benchmarks.search``.

Small programs, each of them right in asyncio's own order and wrong in some other legal one, are explored from many
base seeds with every scheduler; the runs until the first failure are counted.  Each program has a repaired twin, which
must never fail.

Reading order: `shape` (what a program is), ``shapes/`` (the programs), `catalogue` (all of them), `measure` (counting),
`aims` (what is promised), `table` (how it is printed), `__main__` (the command).
"""
