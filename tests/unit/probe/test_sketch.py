"""The sketch's promises, against truths computed on full arrays."""

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tensors import difference, rms
from pytest_modelviz.probe import count_sketch
from pytest_modelviz.probe.count_sketch import signs_of, sketch_rows
from pytest_modelviz.probe.sketch import (
    ACTIVATION_WIDTH,
    record_shape,
    record_tensor,
    record_together,
)
from pytest_modelviz.probe.torch_internals import tree_map_only
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, SKETCH_VERSION, sketched_as
from pytest_modelviz.records.tensors import WEIGHT_WIDTH, splitmix64
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView


def true_error(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.double(), b.double()
    return float((b - a).norm() / a.norm())


def estimate(a: torch.Tensor, b: torch.Tensor) -> float:
    """The L2 estimate alone, without the worst bucket."""
    one, two = record_tensor(a).sketch.astype(np.float64), record_tensor(b).sketch.astype(np.float64)
    return float(np.linalg.norm(two - one) / np.linalg.norm(one))


def test_the_hash_is_the_same_everywhere():
    # the published first outputs of SplitMix64 for the seeds 0 and 1; a change here makes every baseline worthless
    assert splitmix64(np.array([0, 1], np.uint64), 1).tolist() == [16294208416658607535, 10451216379200822465]


def whole_numbers(count):
    return torch.arange(count, dtype=torch.float64) % 17  # sums are exact in any order


@pytest.mark.parametrize(
    ("count", "width", "expected"),
    [
        (1000, ACTIVATION_WIDTH, "1e3560eec16bd7bd"),
        (65_536, ACTIVATION_WIDTH, "b6c3f916f78f5351"),
        (65_537, ACTIVATION_WIDTH, "1037d7291917a555"),
        (200_000, ACTIVATION_WIDTH, "4293cd2850aa9c39"),
        (17_000_000, ACTIVATION_WIDTH, "88d7304654290edb"),
        (200_000, WEIGHT_WIDTH, "8b61501afecc2e15"),
    ],
)
def test_a_sketch_never_changes(count, width, expected):
    """A change here makes every stored baseline incomparable: add a `SKETCH_VERSION` with it."""
    sketch = record_tensor(whole_numbers(count), width).sketch.astype("<f8")
    assert hashlib.sha256(sketch.tobytes()).hexdigest()[:16] == expected


@pytest.mark.parametrize(
    ("count", "width", "expected", "former"),
    [
        (200_000, ACTIVATION_WIDTH, "5fcc4dbb7660d94e", None),
        (3_000_000, ACTIVATION_WIDTH, "a7ec46b70bf8f617", "e3a7fa434f9ef7b9"),
        (200_000, WEIGHT_WIDTH, "b31db3f680599b66", None),
        (3_000_000, WEIGHT_WIDTH, "d99cf0e6b9e0aae6", "148044e9ec46e589"),
    ],
)
def test_nor_does_that_of_the_earlier_version(count, width, expected, former):
    with sketched_as(EARLIER_VERSION):
        record = record_tensor(whole_numbers(count), width)
    digests = [
        hashlib.sha256(one.sketch.astype("<f8").tobytes()).hexdigest()[:16] for one in (record, record.former) if one
    ]
    assert digests == [expected, *([former] if former else [])]


def test_a_small_tensor_is_stored_unchanged():
    values = torch.randn(ACTIVATION_WIDTH)
    assert np.array_equal(record_tensor(values).sketch, values.numpy())
    assert record_tensor(values[:7]).sketch.shape == (7,)
    assert record_tensor(torch.randn(100), WEIGHT_WIDTH).sketch.shape == (WEIGHT_WIDTH,)


def test_a_stored_tensor_is_a_copy():
    values = torch.ones(5)
    record = record_tensor(values)
    values.zero_()
    assert record.sketch.tolist() == [1.0] * 5


def test_tensors_sketched_together_are_as_sketched_alone():
    tensors = [torch.randn(shape) for shape in [(300,), (3, 100), (7,), (), (60, 61)]]
    tensors += [
        torch.arange(400),
        torch.randn(500).bfloat16(),
        torch.randn(500, dtype=torch.float64),
        torch.randn(20, 30).T,
    ]
    together = record_together(tensors, WEIGHT_WIDTH)
    assert len(together) == len(tensors)
    for tensor in tensors:
        alone, one = record_tensor(tensor, WEIGHT_WIDTH), together[id(tensor)]
        assert (one.dtype, one.shape, one.value_fingerprints) == (alone.dtype, alone.shape, {})
        assert np.allclose(one.sketch, alone.sketch, rtol=1e-5, atol=1e-5)
        assert one.sketch.dtype == alone.sketch.dtype


def test_no_more_memory_is_held_than_a_single_large_tensor_needs():
    record_together([torch.ones(16_000) for _ in range(200)], WEIGHT_WIDTH)
    record_tensor(torch.ones(5_000_000))
    assert 0 < max(memory.numel() for memory in count_sketch._scratch.memory.values()) <= 2 * 2**20


def test_what_cannot_be_sketched_together_is_left_out():
    odd = [
        torch.tensor([1.0, math.nan]),
        torch.zeros(0),
        torch.zeros(3, device="meta"),
        torch.zeros(20_000),
        torch.eye(2).to_sparse(),
    ]
    assert record_together(odd, WEIGHT_WIDTH) == {}


CHUNK = 16 * 64 * 64 * ACTIVATION_WIDTH  # numbers that are read at once


@pytest.mark.parametrize("count", [252, 70_000, 131_072, 1_000_003, 5_000_000])
def test_it_is_linear(count):
    a, b = torch.randn(count, dtype=torch.float64), torch.randn(count, dtype=torch.float64)
    combined = sketch_rows(2 * a - 3 * b, ACTIVATION_WIDTH)[0]
    parts = 2 * sketch_rows(a, ACTIVATION_WIDTH)[0] - 3 * sketch_rows(b, ACTIVATION_WIDTH)[0]
    assert torch.allclose(combined, parts, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [1000, 65_537, 1_028_097, 3_000_000, CHUNK + 5])
def test_every_element_counts_with_a_sign_in_a_single_bucket(count):
    values = torch.zeros(count)
    for index in [0, 251, count // 2, count - 1]:
        values[index] = 3.0
        sketch = sketch_rows(values, ACTIVATION_WIDTH)[0]
        values[index] = 0.0
        assert sketch.abs().tolist() == [3.0 if at == index % ACTIVATION_WIDTH else 0.0 for at in range(sketch.numel())]


@pytest.mark.parametrize("version", [EARLIER_VERSION, SKETCH_VERSION])
@pytest.mark.parametrize(("count", "width"), [(1000, 251), (65_537, 251), (300_000, 251), (1_048_576, 61), (90_000, 7)])
def test_it_is_the_sum_of_numbers_with_signs(count, width, version):
    values = torch.randn(count, dtype=torch.float64)
    with sketched_as(version):
        sums = np.bincount(np.arange(count) % width, weights=values.numpy() * signs_of(count, width))
        assert np.allclose(sketch_rows(values, width)[0].numpy(), sums, rtol=1e-9, atol=1e-9)


def test_signs_of_rows_are_orthogonal_and_random():
    bags, signs = count_sketch._signed_rows(64 * 64)
    table = np.zeros((64, 64))
    table[bags, np.arange(64 * 64) // 64] = signs  # a column for each 64 rows
    assert np.array_equal(table.T @ table, 64 * np.eye(64))
    assert abs(table.mean()) < 0.1
    assert sorted(bags[:64]) == list(range(64)) != list(bags[:64])


@pytest.mark.parametrize("count", [70_000, 1_500_000])
def test_threads_change_no_digit(count):
    values, threads = torch.randn(count), torch.get_num_threads()
    sketches = []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            sketches.append(sketch_rows(values, ACTIVATION_WIDTH))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(sketches[0], sketch) for sketch in sketches)


def test_single_precision_is_as_exact_as_a_sum_in_it():
    values = torch.randn(3_000_000)
    exact = sketch_rows(values.double(), ACTIVATION_WIDTH)[0]
    assert float((sketch_rows(values, ACTIVATION_WIDTH)[0] - exact).norm() / exact.norm()) < 1e-6


@pytest.mark.parametrize("layout", [lambda t: t[::2], lambda t: t[:1].expand(100_000), lambda t: t[7:]])
def test_memory_that_is_laid_out_otherwise(layout):
    values = layout(torch.randn(300_000))
    expected = sketch_rows(values.clone().contiguous(), ACTIVATION_WIDTH)
    assert torch.equal(sketch_rows(values, ACTIVATION_WIDTH), expected)
    with torch.inference_mode():
        assert torch.equal(sketch_rows(values.clone(), ACTIVATION_WIDTH), expected)


SHAPES = [(1, 64, 56, 56), (1, 512, 14, 14), (1, 2048, 7, 7), (1, 197, 768), (4, 3, 224, 224), (1, 128, 96, 96)]


def changes(shape: tuple[int, ...]):
    """Every kind of change, as (name, changed tensor) of a tensor of activations."""
    base = torch.randn(shape).relu() + 0.1 * torch.randn(shape)
    yield "dense", base, base + 0.01 * torch.randn(shape)
    yield "constant", base, base + 0.01
    sparse = base.clone()
    sparse.view(-1)[torch.randperm(base.numel())[:40]] += 1.0
    yield "sparse", base, sparse
    for stride in (2, 7, 16, 56, 64, 196, 768):
        strided = base.clone()
        strided.view(-1)[::stride] += 0.1
        yield f"stride {stride}", base, strided
    channel = base.clone()
    channel[:, 1] += 0.2
    yield "channel shifted", base, channel
    noisy = base.clone()
    noisy[:, 1] += torch.randn(noisy[:, 1].shape)
    yield "channel noisy", base, noisy
    yield "permuted", base, base.flip(1)
    yield "scaled", base, base * 1.05
    yield "shifted", base, base.roll(1, -1)
    index = torch.arange(base.numel()).view(shape)
    for period in (40, 5000, 200_000):
        yield f"wave of {period}", base, base + 0.1 * torch.sin(2 * math.pi / period * index)
    yield "ramp", base, base + 0.1 * index / base.numel()
    yield "run", base, base + 0.1 * (index // 777 == 2)


def test_the_estimate_is_within_a_quarter_of_the_truth():
    ratios = {}
    for seed, shapes in ((0, SHAPES), (1, SHAPES), (2, [(1, 96, 54, 54), (1, 90, 30, 31), (8, 200, 333)])):
        torch.manual_seed(seed)
        for shape in shapes:
            for name, base, changed in changes(shape):
                ratios[(seed, shape, name)] = estimate(base, changed) / true_error(base, changed)
    off = {key: ratio for key, ratio in ratios.items() if not 0.75 <= ratio <= 1.25}
    assert len(off) <= 0.01 * len(ratios), off


@settings(max_examples=40, deadline=None)
@given(
    st.integers(70_000, 3_000_000), st.sampled_from([ACTIVATION_WIDTH, WEIGHT_WIDTH]), st.randoms(use_true_random=False)
)
def test_what_is_alike_everywhere_is_estimated_at_any_size(count, width, random):
    index = torch.arange(count)
    run, start = random.randint(1, 5000), random.randint(0, count - 5000)
    for change in (torch.ones(count), index / count, ((index >= start) & (index < start + run)).float()):
        size = sketch_rows(change, width)[0].norm() / change.norm()
        assert abs(float(size) - 1) < (0.25 if width == ACTIVATION_WIDTH else 0.45)


@pytest.mark.parametrize("count", [300, 60_000, 1_000_000, 10_000_000])
def test_one_element_changed_by_one_rms_is_caught_at_the_default_tolerance(count):
    values = torch.randn(count)
    for index in (0, count // 3, count - 1):
        changed = values.clone()
        changed[index] += 1.0
        assert difference(record_tensor(values), record_tensor(changed)) > 1e-4


def test_a_channel_shifted_by_one_per_cent_is_caught_in_a_million():
    values = torch.randn(1, 64, 125, 125)
    for channel in (0, 33, 63):
        changed = values.clone()
        changed[:, channel] += 0.01
        assert difference(record_tensor(values), record_tensor(changed)) > 1e-4


def test_permuted_channels_are_caught_though_all_statistics_agree():
    values = torch.randn(1, 64, 28, 28).round()  # whole numbers: the mean is exact in any order
    record, other = record_tensor(values, mean=True), record_tensor(values.flip(1), mean=True)
    assert record.statistics[0] == other.statistics[0]
    assert difference(record, other) > 1


def test_memory_format_does_not_matter():
    values = torch.randn(2, 16, 20, 20)
    assert np.array_equal(
        record_tensor(values).sketch, record_tensor(values.to(memory_format=torch.channels_last)).sketch
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 40), max_size=3), st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool])
)
def test_any_shape_and_dtype_equals_itself(shape, dtype):
    values = (torch.randn(shape) * 10).to(dtype)
    record = record_tensor(values)
    assert record.shape == tuple(shape)
    assert difference(record, record_tensor(values.clone())) == 0.0


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.complex64,
        torch.complex128,
        torch.int8,
    ],
)
def test_every_dtype_has_a_sketch_that_sees_a_change(dtype):
    values = (torch.randn(40, 40) * 4).to(dtype)
    other = values.clone()
    other.view(torch.uint8).view(-1)[:64] = 0
    record = record_tensor(values)
    assert record.dtype == str(dtype).removeprefix("torch.")
    assert difference(record, record_tensor(other)) > 0


def test_quantised_sparse_and_nested_tensors_count_as_what_they_stand_for():
    dense = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    assert record_tensor(dense.to_sparse()).sketch.tolist() == [0, 1, 2, 0]
    quantised = torch.quantize_per_tensor(dense, 0.5, 0, torch.quint8)
    assert record_tensor(quantised).sketch.tolist() == [0, 1, 2, 0]
    nested = torch.nested.nested_tensor([torch.ones(2), torch.zeros(3)])
    assert record_tensor(nested).sketch.tolist() == [1, 1, 0, 0, 0]
    assert record_tensor(torch.nested.nested_tensor([])).sketch.tolist() == []


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.bool, torch.complex64])
@pytest.mark.parametrize("sides", [(50, 50), (61, 39), (40, 60)])
def test_nested_tensors_of_other_components_differ(layout, dtype, sides):
    values = torch.ones(100, 8).to(dtype)
    records = [
        record_tensor(torch.nested.nested_tensor(list(values.split(parts)), layout=layout))
        for parts in ((60, 40), sides)
    ]
    assert difference(records[0], records[0]) == 0.0
    assert difference(*records) == math.inf


class Wrapper(torch.Tensor):
    """Wraps a tensor, and all that any operator makes of it."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, strides=inner.stride())

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        args, kwargs = tree_map_only(Wrapper, lambda wrapper: wrapper.inner, (args, kwargs or {}))
        result = op(*args, **kwargs)
        return result if op is torch.ops.aten.copy_.default else tree_map_only(torch.Tensor, cls, result)


@pytest.mark.parametrize("count", [1000, 100_000])
def test_a_subclass_is_sketched_as_the_tensor_that_it_wraps(count):
    values = torch.randn(count)
    with torch.no_grad():
        assert np.array_equal(record_tensor(Wrapper(values)).sketch, record_tensor(values).sketch)


def test_a_nested_buffer_is_sketched_by_itself():
    nested = torch.nested.nested_tensor([torch.ones(2), torch.zeros(3)])
    assert record_together([nested], 61) == {}


def test_components_of_as_many_values_in_another_shape_differ():
    nested = [torch.nested.nested_tensor([torch.ones(*sizes), torch.ones(1, 1)]) for sizes in ((2, 3), (3, 2))]
    assert difference(*map(record_tensor, nested)) == math.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_the_size_of_a_nested_tensor_is_that_of_its_values(dtype):
    values = torch.full((100, 8), 1e-4).to(dtype)
    parts = list(values.split((60, 40)))
    for layout in (torch.strided, torch.jagged):
        assert rms(record_tensor(torch.nested.nested_tensor(parts, layout=layout))) == pytest.approx(1e-4, rel=0.1)
    assert rms(record_tensor(values)) == pytest.approx(1e-4, rel=0.1)


def test_conjugate_and_negative_views_are_resolved():
    values = torch.randn(10, dtype=torch.complex64)
    assert (
        record_tensor(values.conj()).sketch.tolist()
        == record_tensor(values.conj().resolve_conj().clone()).sketch.tolist()
    )
    assert record_tensor(values.conj().imag).sketch.tolist() == (-values.imag).tolist()


def test_large_integers_are_exact():
    values = torch.arange(1000) + 2**40
    other = values.clone()
    other[999] += 1
    assert record_tensor(values).sketch.dtype == np.float64
    assert difference(record_tensor(values), record_tensor(other)) > 0


class TestWhatIsNotFinite:
    def test_it_is_counted_and_its_positions_matter(self):
        values = torch.ones(400)
        values[3], values[7], values[9] = math.nan, math.inf, -math.inf
        record = record_tensor(values)
        assert {kind: count for kind, (count, _) in record.value_fingerprints.items()} == {
            "nan": 1,
            "+inf": 1,
            "-inf": 1,
        }
        assert np.isfinite(record.sketch).all()
        assert difference(record, record_tensor(values.clone())) == 0.0
        moved = values.clone()
        moved[3], moved[4] = 1.0, math.nan
        assert difference(record, record_tensor(moved)) == math.inf

    def test_a_nan_where_there_was_none_is_infinitely_far(self):
        values = torch.ones(10)
        broken = values.clone()
        broken[0] = math.nan
        assert difference(record_tensor(values), record_tensor(broken)) == math.inf
        assert difference(record_tensor(broken), record_tensor(values)) == math.inf

    def test_masks_of_the_lowest_number_do_not_overflow(self):
        mask = torch.full((100, 100), torch.finfo(torch.float32).min).triu(1)
        record = record_tensor(mask)
        assert np.isfinite(record.sketch).all()
        assert difference(record, record_tensor(mask.clone())) == 0.0
        assert difference(record, record_tensor(mask.tril(2))) > 0.1

    def test_infinite_masks_match_themselves_alone(self):
        mask = torch.full((50, 50), -math.inf).triu(1)
        assert difference(record_tensor(mask), record_tensor(mask.clone())) == 0.0
        assert difference(record_tensor(mask), record_tensor(mask.mT.contiguous())) == math.inf


class TestGiants:
    """A few values far beyond all others must not hide what happens to the others."""

    @pytest.mark.parametrize("value", [-1e9, -1e4, 3.4e38, torch.finfo(torch.float32).min])
    @pytest.mark.parametrize("count", [40, 100_000])
    def test_what_lies_beside_a_mask_is_compared(self, value, count):
        values = torch.randn(count)
        values[::3] = value
        other = torch.where(values == value, values, values * 1.01)
        record = record_tensor(values)
        assert difference(record, record_tensor(values.clone())) == 0.0
        assert difference(record, record_tensor(other)) == pytest.approx(0.01, rel=0.3)
        assert rms(record) == pytest.approx(
            float(torch.where(values == value, 0, values).square().mean().sqrt()), rel=0.2
        )

    def test_the_giants_positions_signs_and_sizes_matter(self):
        values = torch.randn(1000)
        values[:10] = -1e9
        record = record_tensor(values)
        assert record.value_fingerprints["-1e9"][0] == 10
        for change in (lambda v: v[:10].neg_(), lambda v: v[9:11].copy_(v[9:11].flip(0)), lambda v: v[:10].mul_(100)):
            other = values.clone()
            change(other)
            assert difference(record, record_tensor(other)) == math.inf
        rounded = values.clone()
        rounded[:10] += 64  # the last digit of -1e9
        assert difference(record, record_tensor(rounded)) < 1e-6

    def test_what_is_merely_large_is_none(self):
        for values in (torch.randn(1000) * 1e6, torch.randn(1000).exp() * 50, torch.full((500,), 1e9)):
            assert not record_tensor(values).value_fingerprints

    def test_they_come_back_from_a_file(self):
        values = torch.randn(1000)
        values[7] = -1e9
        trace = FeatureMapsView(torch.nn.Identity(), values).capture().result.trace
        again = stored_trace(pack_trace(trace))
        (record,) = again.tensors.values()
        assert difference(record, record_tensor(values)) == 0.0
        assert [sketch.size for sketch in record.sketches] == [ACTIVATION_WIDTH, ACTIVATION_WIDTH]


def test_tensors_without_data_or_elements():
    assert record_tensor(torch.empty(3, 4, device="meta")).sketch.size == 0
    empty = record_tensor(torch.zeros(0, 5))
    assert (empty.shape, empty.statistics) == ((0, 5), None)
    assert record_shape(torch.zeros(2, 3)).shape == (2, 3)


def test_statistics_by_hand():
    assert record_tensor(torch.tensor([3.0, -4.0, 1.0, 0.0])).statistics == (0.0, pytest.approx(math.sqrt(26 / 4)))
    values = torch.tensor([3.0, -1.0]).repeat(50_000)
    estimate = pytest.approx(math.sqrt(5), rel=0.15)
    assert record_tensor(values).statistics == (None, estimate)  # what a comparison does not take
    assert record_tensor(values, mean=True).statistics == (pytest.approx(1.0), estimate)
    assert record_tensor(values, mean=True).narrowed(31).statistics[0] == pytest.approx(1.0)
    assert record_tensor(values[:40]).narrowed(31).statistics[0] == pytest.approx(1.0)


def test_the_root_mean_square_of_enormous_numbers_is_no_overflow():
    record = record_tensor(torch.full((10_000,), 1e30), mean=True)
    assert record.statistics == (pytest.approx(1e30), pytest.approx(1e30, rel=0.2))
    assert not record.value_fingerprints
