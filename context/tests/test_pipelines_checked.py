"""Pipelines are checked as context files are, although no planner sees them."""

from __future__ import annotations

from graphlib import CycleError

import pytest

from damnit_ctx import Pipeline
from damnit_ctx.errors import ContextFileErrors

HEAD = "from damnit_ctx import Group, Variable\n"


def test_everything_that_is_wrong_is_told_at_once():
    text = HEAD + (
        "@Variable(data='proc')\ndef calibrated(run): return 1\n"
        "@Variable(data='raw', title='One')\ndef early(run, c: 'var#calibrated'): return 1\n"
        "@Variable(title='One', tags=[''])\ndef other(run, s: 'mymdc#sample_colour' = None): return 1\n"
    )
    with pytest.raises(ContextFileErrors) as caught:
        Pipeline.from_str(text)
    tags, raw, field, title = caught.value.problems
    assert "tags" in tags
    assert "early" in raw and "calibrated" in raw
    assert "mymdc#sample_colour" in field and "sample_name" in field
    assert "early, other" in title and "'One'" in title


def test_promoted_variables_may_depend_on_calibrated_data():
    pipeline = Pipeline.from_str(
        HEAD
        + "@Variable(data='proc')\ndef calibrated(run): return 1\n"
        + "@Variable\ndef late(run, c: 'var#calibrated', s: 'mymdc#sample_name' = None): return c + 1\n"
    )
    results = pipeline.with_context(proposal=1, run_number=2).execute(data=object())
    assert results.cells["late"].data == 2
    assert results.errors == {}


def test_a_ring_is_told_in_words():
    text = HEAD + "@Variable\ndef a(run, b: 'var#b'): ...\n@Variable\ndef b(run, a: 'var#a'): ...\n"
    with pytest.raises(CycleError) as caught:
        Pipeline.from_str(text)
    assert str(caught.value).endswith(("a -> b -> a", "b -> a -> b"))


def test_groups_take_their_arguments_by_keyword():
    with pytest.raises(TypeError, match=r"Motor\(\) takes its arguments by keyword"):
        Pipeline.from_str(HEAD + "@Group\nclass Motor:\n    device: str\nm = Motor('X')\n")
