"""How fast vtloop is beside stock asyncio, uvloop, looptime and async-solipsism: ``python -m benchmarks``.

Reading order: `contenders` (who takes part), `rows` and `steps` (what is measured, exactly), `measure` (how noise is
kept out), `targets` (what is promised), `table` (how it is printed), `__main__` (the command).
"""
