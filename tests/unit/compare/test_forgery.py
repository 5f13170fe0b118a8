"""No content of a baseline makes a drifted model match: forged ones, sealed as the real ones are, thousands of them.

MODELVIZ_FORGERIES sets how many are tried for each view; the figures in the docs are of 10,000.
"""

import copy
import dataclasses
import os
import random

import numpy as np
import pytest
from forgery_subjects import SUBJECTS
from forging import forged
from forging_by_hand import matches

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.base import measured

FORGERIES = int(os.environ.get("MODELVIZ_FORGERIES", "100"))


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request):
    """(its name, what was recorded, each drifted view with what it captured)"""
    recorded, drifted = SUBJECTS[request.param]()
    return request.param, measured(recorded, recorded.capture()), [(view, view.capture()) for view in drifted]


def test_no_forgery_makes_a_drift_match(subject):
    name, recorded, drifted = subject
    assert not any(matches(view, recorded, actual) for view, actual in drifted)
    draw, changed = random.Random(name), 0
    with np.errstate(all="ignore"):
        for number in range(FORGERIES):
            state = draw.getstate()
            baseline = forged(recorded, draw)
            view, actual = drifted[number % len(drifted)]
            changed += baseline.facts != recorded.facts or baseline.arrays.keys() != recorded.arrays.keys()
            assert not matches(view, baseline, actual), (name, number, state[1][-1])
            if name == "kernel_maps":  # whose text is the actual one's where they match
                rewritten = dataclasses.replace(baseline, facts=actual.facts)
                assert not matches(view, rewritten, actual), (name, number, state[1][-1])
    assert FORGERIES < 100 or changed > FORGERIES / 10


def test_no_forged_newer_baseline_agrees_both_ways(subject):
    """What a pull request brings, and its drifted model matches: as `modelviz diff` compares it with the older one."""
    name, recorded, drifted = subject
    draw, newest = random.Random(f"{name}, newer"), [measured(view, actual) for view, actual in drifted]
    with np.errstate(all="ignore"):
        for number in range(FORGERIES // 5):
            state = draw.getstate()
            view, actual = drifted[number % len(drifted)]
            newer = forged(newest[number % len(drifted)], draw)
            try:
                agrees = matches(view, recorded, newer) and matches(view, newer, recorded)
            except Exception:  # as `modelviz diff` has it, the newer one is damaged
                agrees = False
            assert not (agrees and matches(view, newer, actual)), (name, number, state[1][-1])


def test_what_is_recorded_matches_still(subject):
    _, _, drifted = subject
    view, actual = drifted[0]
    assert view.compare(copy.deepcopy(actual), actual, Tolerances()).matched
