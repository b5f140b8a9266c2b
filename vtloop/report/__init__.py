"""Explaining one run to people: its story as data, then as words, a table, a page, and a file for Perfetto.

The story is told by a run that is played back for this (`teller`); everything else here only reads it.
"""
