"""What quantised weights are stored as: their integers, scales and zero points."""

import pytest
import torch
from torch import nn

from pytest_modelviz.probe import quantised
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.quantised import packed_tensors_of, quantised_values
from pytest_modelviz.probe.weights import Weights
from pytest_modelviz.records.tensors import INTEGERS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def fingerprint(integers):
    return quantised._fingerprint(torch.as_tensor(integers))


def weights_of(module):
    return Weights([("", module)]).records()


class TestStoredParts:
    def test_of_one_scale(self):
        weight = torch.quantize_per_tensor(torch.tensor([[0.5, -1.0]]), 0.25, 3, torch.qint8)  # 5, -1
        integers, scale, zero_point = (record for _, record in quantised_values(weight))
        assert (integers.dtype, integers.shape, integers.sketch.size) == ("int8", (1, 2), 0)
        assert integers.value_fingerprints == {INTEGERS: (2, fingerprint([[5, -1]]))}
        assert (scale.dtype, scale.sketch.tolist()) == ("float64", [0.25])
        assert zero_point.value_fingerprints == {INTEGERS: (1, fingerprint([3]))}

    def test_of_one_scale_for_each_channel(self):
        scales, zeros = torch.tensor([0.5, 0.25]), torch.tensor([0, 1])
        weight = torch.quantize_per_channel(torch.ones(2, 3), scales, zeros, 0, torch.qint8)  # 2 and 5
        parts = dict(quantised_values(weight))
        assert [*parts] == [" (integers)", " (scale)", " (zero point)"]
        assert parts[" (integers)"].value_fingerprints[INTEGERS][1] == fingerprint([[2] * 3, [5] * 3])
        assert parts[" (scale)"].sketch.tolist() == [0.5, 0.25]
        assert parts[" (zero point)"].shape == (2,)

    def test_zero_points_of_embeddings_are_floats(self):
        scales, zeros = torch.tensor([0.5, 0.25]), torch.tensor([0.5, 1.0])
        weight = torch.quantize_per_channel(torch.ones(2, 3), scales, zeros, 0, torch.quint8)
        weight = torch._make_per_channel_quantized_tensor(weight.int_repr(), scales, zeros, 0)
        assert dict(quantised_values(weight))[" (zero point)"].sketch.tolist() == [0.5, 1.0]

    def test_of_other_tensors(self):
        assert [*quantised_values(torch.ones(3))] == []


class TestFingerprint:
    def test_it_is_another_for_other_values_and_positions(self):
        integers = torch.zeros(200_000, dtype=torch.int8)
        integers[:3] = torch.tensor([1, 2, 3])
        changed, swapped, moved = integers.clone(), integers.clone(), integers.roll(2**16)
        changed[150_000] += 1
        swapped[:2] = torch.tensor([2, 1])
        assert len({fingerprint(values) for values in (integers, changed, swapped, moved)}) == 4

    def test_the_memory_format_and_the_width_of_the_integers_do_not_count(self):
        integers = torch.randint(-128, 127, (2, 3, 4, 5), dtype=torch.int8)
        known = fingerprint(integers)
        assert (
            fingerprint(integers.contiguous(memory_format=torch.channels_last)) == known == fingerprint(integers.long())
        )
        assert 0 <= known < 2**53


class TestWeights:
    def test_parts_stand_beside_the_numbers(self):
        module = nn.Module()
        module.register_buffer("weight", torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8))
        assert [*weights_of(module)] == ["weight", "weight (integers)", "weight (scale)", "weight (zero point)"]

    def test_a_quantised_tensor_in_a_plain_attribute_may_be_a_cache(self):
        module = nn.Module()
        module.cache = torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)
        assert [*weights_of(module)] == ["cache (attribute)"]

    @pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32])
    def test_large_integers_are_exact(self, dtype):
        module, other = nn.Module(), nn.Module()
        module.register_buffer("qweight", torch.zeros(61 * 200, dtype=dtype))
        module.qweight[0] = 1
        # elements 61 k are in one bucket: with equal signs the sketch does not tell which of them is 1
        others = [torch.zeros(61 * 200, dtype=dtype).index_fill(0, torch.tensor(61 * k), 1) for k in range(1, 9)]
        before = weights_of(module)["qweight"]
        found = []
        for values in others:
            other.register_buffer("qweight", values)
            after = weights_of(other)["qweight"]
            found.append(before.sketch.tolist() == after.sketch.tolist())
            assert before.value_fingerprints != after.value_fingerprints
        assert any(found)

    def test_what_else_is_recorded_of_them_stays(self):
        module = nn.Module()
        module.register_buffer("ids", torch.arange(20_000))
        module.ids[7] = 10**8  # a giant beside the others
        module.register_buffer("indices", torch.arange(200).to_sparse())
        records = weights_of(module)
        assert sorted(records["ids"].value_fingerprints) == ["+1e8", INTEGERS]
        assert records["ids"].sketch_without_giants is not None
        assert records["indices"].value_fingerprints == {}

    def test_few_integers_are_recorded_as_they_are(self):
        module = nn.Module()
        module.register_buffer("levels", torch.arange(5, dtype=torch.int8))
        assert weights_of(module)["levels"].value_fingerprints == {}


class TestPacked:
    def test_what_a_model_packs_itself(self):
        class Functional(nn.Module):
            def __init__(self):
                super().__init__()
                weight = torch.quantize_per_tensor(torch.ones(4, 8), 0.5, 0, torch.qint8)
                self.packed = torch.ops.quantized.linear_prepack(weight, torch.zeros(4))

        named = dict(packed_tensors_of(Functional()))
        assert {name: tuple(tensor.shape) for name, tensor in named.items()} == {
            "packed[0][0] (packed)": (4, 8),
            "packed[0][1] (packed)": (4,),
        }
        assert "packed[0][0] (packed) (scale)" in weights_of(Functional())

    def test_what_a_model_packs_into_lists_and_dicts(self):
        def holding(value):
            module = nn.Module()
            weight = torch.quantize_per_tensor(torch.full((4, 8), value), 0.5, 0, torch.qint8)
            packed = torch.ops.quantized.linear_prepack(weight, None)
            module.__dict__.update(listed=[packed], deep=({"a": [packed, "b"]}, 1))
            return module

        assert [name for name, _ in packed_tensors_of(holding(1.0))] == [
            "listed[0][0][0] (packed)",
            "deep[0]['a'][0][0][0] (packed)",
        ]
        assert environment(holding(1.0))["quantized_engine"] == torch.backends.quantized.engine
        parts = [weights_of(holding(value))["listed[0][0][0] (packed) (integers)"] for value in (1.0, 1.5)]
        assert parts[0].value_fingerprints != parts[1].value_fingerprints

    def test_weights_of_recurrent_layers(self):
        quantize = pytest.importorskip("torch.ao.quantization").quantize_dynamic
        lstm = quantize(nn.Sequential(nn.LSTM(8, 4)), {nn.LSTM})[0]
        packed = dict(packed_tensors_of(lstm._all_weight_values[0]))
        assert sorted(tuple(tensor.shape) for tensor in packed.values() if tensor.is_quantized) == [(16, 4), (16, 8)]

    def test_the_environment_says_which_engine_computes(self):
        quantize = pytest.importorskip("torch.ao.quantization").quantize_dynamic
        plain = nn.Sequential(nn.Linear(8, 4))
        facts = environment(quantize(plain, {nn.Linear}))
        assert facts["quantized_engine"] == torch.backends.quantized.engine
        assert all("quantized_engine" not in environment(model) for model in (plain, torch.jit.script(plain)))

    def test_those_of_torch_have_names_of_their_own(self):
        quantize = pytest.importorskip("torch.ao.quantization").quantize_dynamic
        linear = quantize(nn.Sequential(nn.Linear(8, 4)), {nn.Linear})[0]
        assert [name for module in linear.modules() for name, _ in packed_tensors_of(module)] == []
