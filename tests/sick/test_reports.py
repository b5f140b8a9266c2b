"""Verdicts are worded as they were: a change shows here, and is looked at before it is kept."""

from __future__ import annotations

import pytest

from .case import catalogue
from .reports import FOLDER, KEPT, text_of


@pytest.mark.parametrize("name", KEPT)
def test_a_verdict_is_worded_as_it_was(name: str) -> None:
    assert text_of(catalogue[name]) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_every_text_that_is_kept_belongs_to_a_program() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == sorted(KEPT)
