"""The same random program on CPython's own scheduler and on ours: the same log, or a bug."""
