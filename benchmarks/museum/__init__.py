"""Famous asyncio bugs found again: ``python -m benchmarks.museum``.

Each case is a scenario for the buggy and the fixed release of a real package. It must be found in the one within few
runs, shrunk to few choices, replayed exactly in a fresh process, and never show in the other.

Reading order: `cases` (what is in the museum), `environments` (interpreters and throw-away environments), `child`
(what runs inside one), `trial` (what is done with a case), `aims` (what is promised), `table` (how it is printed),
`__main__` (the command).
"""
