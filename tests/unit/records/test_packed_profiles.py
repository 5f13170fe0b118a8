"""Profiles as arrays: rounded to 8 bits, and whatever else the arrays may hold is refused."""

import numpy as np
import pytest

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.profiles import LEVELS, Profile, pack_profiles, unpack_profiles
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf
from tests import traces_by_hand

TRACE = traces_by_hand.trace()
NAN = np.nan


def profile(**changed):
    tables = {
        "places": np.array([[0.0, 1.0, 2.0]]),
        "energies": np.array([4.0, 3.0]),
        "means": np.array([-4.0, 1.0]),
        "shares": np.linspace(0.0, 0.5, 24),
    }
    return Profile(**{**tables, "sign": 1, "exponent": 3, "channels": 64, **changed})


def packed(**changed):
    return pack_profiles({(1, 0): profile(**changed)})


class TestRounding:
    def test_numbers_are_rounded_to_a_254th_of_the_largest(self):
        found = unpack_profiles(packed(), TRACE)["block"]
        assert found.places.tolist() == [[0.0, 1.0, 2.0]]
        assert found.energies == pytest.approx([4.0, 3.0], abs=2 / LEVELS)
        assert found.means == pytest.approx([-4.0, 1.0], abs=4 / LEVELS)
        assert found.shares == pytest.approx(np.linspace(0.0, 0.5, 24), abs=0.25 / LEVELS)
        assert (found.sign, found.exponent, found.channels, found.ends) == (1, 3, 64, (-8.0, 8.0))

    @pytest.mark.parametrize(("sign", "ends"), [(0, (0.0, 0.25)), (2, (-0.25, 0.0))])
    def test_the_bins_of_values_of_one_sign_end_at_zero(self, sign, ends):
        assert profile(sign=sign, exponent=-2).ends == ends

    def test_what_is_not_finite_stays_so_and_scales_nothing(self):
        found = unpack_profiles(packed(places=np.array([[NAN], [1e-20]]), means=np.array([NAN, NAN])), TRACE)["block"]
        assert np.isnan(found.places).ravel().tolist() == [True, False]
        assert found.places[1, 0] == pytest.approx(1e-20)
        assert np.isnan(found.means).all()

    def test_a_tensor_without_places_and_one_of_zeros(self):
        found = unpack_profiles(packed(places=np.zeros((0, 0)), energies=np.zeros(2)), TRACE)["block"]
        assert (found.places.size, found.energies.tolist()) == (0, [0.0, 0.0])


class TestPlaces:
    def test_they_are_known_by_call_and_leaf(self):
        both = unpack_profiles(pack_profiles({(0, -1): profile(channels=3), (4, 0): profile()}), TRACE)
        assert {key: own.channels for key, own in both.items()} == {"in": 3, "head": 64}

    def test_a_baseline_of_an_earlier_version_has_none(self):
        assert pack_profiles({}) == {}
        assert unpack_profiles({"trace.structure": np.zeros(3)}, TRACE) == {}


INDEX, SHAPES, SCALES, LEVELS_OF = packed().keys()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, lambda array: array[:0]) for name in (INDEX, SHAPES, SCALES, LEVELS_OF)),  # of other lengths
        *((name, lambda array: array[:, :-1]) for name in (INDEX, SHAPES, SCALES, LEVELS_OF)),
        *((name, lambda array: array.astype(np.float64)) for name in (INDEX, SHAPES, SCALES, LEVELS_OF)),
        *((name, lambda array: array[0]) for name in (INDEX, SHAPES, SCALES, LEVELS_OF)),
        *((INDEX, lambda array, row=row: array * 0 + np.array(row, np.int32)) for row in (
            [5, 0, 64], [-1, 0, 64], [1, 1, 64], [1, -2, 64], [1, 0, 1], [1, 0, -1],
        )),
        *((SHAPES, lambda array, row=row: array * 0 + np.array(row, np.uint8)) for row in (
            [9, 8, 2, 1, 9], [255, 255, 2, 1, 9], [0, 5, 2, 1, 9], [1, 3, 0, 1, 9], [1, 3, 33, 1, 9], [1, 3, 2, 3, 9],
        )),
        *((SCALES, lambda array, scale=scale: array * 0 + np.float32(scale)) for scale in (-1, NAN, np.inf, 2e38)),
    ],
)  # fmt: skip
def test_whatever_else_arrays_hold_is_damage(name, change):
    arrays = packed()
    with pytest.raises(UnreadableBaselineError, match="its profiles of layers are damaged"):
        unpack_profiles({**arrays, name: change(arrays[name])}, TRACE)


def test_a_missing_array_and_two_profiles_of_one_tensor_are_damage():
    arrays = packed()
    for name in arrays:
        with pytest.raises(UnreadableBaselineError, match="damaged"):
            unpack_profiles({key: array for key, array in arrays.items() if key != name}, TRACE)
    with pytest.raises(UnreadableBaselineError, match="two of one tensor"):
        unpack_profiles({name: np.concatenate([array, array]) for name, array in arrays.items()}, TRACE)


class Counted(dict):
    """Leaves that count how often they are listed."""

    listed = 0

    def values(self):
        self.listed += 1
        return super().values()


def trace_of_one_call(leaves):
    call = Call("", 0, 0, leaves, leaves)
    return ForwardTrace(ModelStructure({"": ModuleRecord("Net", {}, {})}, {}), [call], {})


def test_the_leaves_of_a_call_are_listed_once_however_many_profiles_it_has():
    leaves = Counted({str(at): Leaf(tensor=str(at)) for at in range(50)})
    places = [*((0, at) for at in range(25)), *((0, -1 - at) for at in range(25, 50))]
    arrays = pack_profiles({place: profile() for place in places})
    assert len(unpack_profiles(arrays, trace_of_one_call(leaves))) == 50
    assert leaves.listed == 2  # of the inputs and of the outputs


def test_nothing_is_read_after_the_first_duplicate():
    arrays = {name: np.concatenate([array] * 3) for name, array in packed().items()}
    arrays[INDEX][2] = 9, 0, 64  # of no call
    with pytest.raises(UnreadableBaselineError, match="two of one tensor"):
        unpack_profiles(arrays, TRACE)


def test_whatever_the_levels_are_the_numbers_are_bounded():
    arrays, random = packed(), np.random.default_rng(0)
    levels = random.integers(0, 256, arrays[LEVELS_OF].shape, np.uint8)
    found = unpack_profiles({**arrays, LEVELS_OF: levels}, TRACE)["block"]
    for table, scale in zip(found.tables, arrays[SCALES][0], strict=True):
        assert (np.abs(table[np.isfinite(table)]) <= scale).all()
