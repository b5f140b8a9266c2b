"""Do tokens play back exactly: ``python -m benchmarks.replays``.

Each Python explores the bundled examples and prints a token for each failure. Then fresh processes of the same Python,
every one with a hash seed of its own, play all tokens back, and every event of every run is compared.

Reading order: `child` (what runs in a process), `__main__` (the command).
"""
