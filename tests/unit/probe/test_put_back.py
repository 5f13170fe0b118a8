"""What a forward pass changes of its model and of the process is put back."""

import random

import numpy as np
import pytest
import torch
from awkward_models import Around
from torch import nn
from zoo import vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView


class TestPutBack:
    def test_shapes_and_strides_of_weights_and_buffers(self):
        class Turns(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(8, 8)
                self.register_buffer("table", torch.rand(2, 3))

            def forward(self, x):
                self.linear.weight.data = self.linear.weight.data.t()
                self.table.t_()
                self.table.mul_(2)
                return self.linear(x)

        model = Turns()
        weight, table = model.linear.weight.detach().clone(), model.table.clone()
        first = FeatureMapsView(model, vectors())
        assert first.compare(first.capture(), first.capture(), Tolerances()).matched
        assert torch.equal(model.linear.weight, weight)
        assert model.linear.weight.stride() == (8, 1)
        assert torch.equal(model.table, table)

    def test_conjugate_buffers(self):
        model = Around(lambda self, x: self.linear(x))
        model.register_buffer("b", torch.rand(3, dtype=torch.complex64).conj())
        FeatureMapsView(model, vectors()).capture()

    def test_the_caller_s_own_objects(self):
        class Cache:
            def __init__(self):
                self.keys = [torch.ones(2)]

        class Grows(nn.Module):
            def forward(self, x, cache, options):
                x.unsqueeze_(0)
                cache.keys.append(x)
                options["seen"] = True
                return x

        data = (vectors(), Cache(), {"seen": False})
        view = FeatureMapsView(Grows(), data)
        assert view.compare(view.capture(), view.capture(), Tolerances()).matched
        assert data[0].shape == (2, 8)
        assert len(data[1].keys) == 1
        assert data[2] == {"seen": False}

    def test_tensors_in_plain_attributes(self):
        model = Around(lambda self, x: self.linear(x) + self.cache[0].add_(1) + self.table.add_(1))
        model.cache, model.table = [torch.zeros(8)], torch.zeros(8)
        FeatureMapsView(model, vectors()).capture()
        assert model.cache[0].sum() == 0
        assert model.table.sum() == 0

    def test_containers_and_objects_inside_of_attributes(self):
        class Config:
            def __init__(self):
                self.calls, self.history = 0, {"seen": [[1]]}

        config = Config()

        class Remembers(nn.Module):
            def __init__(self):
                super().__init__()
                self.config, self.tables = config, {"a": [1, 2], "b": ({"c": {3}},)}

            def forward(self, x):
                self.config.calls += 1
                self.config.history["seen"].append(x)
                self.config.extra = True
                self.tables["a"].append(3)
                self.tables["b"][0]["c"].add(4)
                return x * self.config.calls

        model = nn.Sequential(Remembers(), Remembers())
        view = FeatureMapsView(model, vectors())
        assert view.compare(view.capture(), view.capture(), Tolerances()).matched
        assert vars(config) == {"calls": 0, "history": {"seen": [[1]]}}
        assert model[0].tables == {"a": [1, 2], "b": ({"c": {3}},)}

    def test_attributes_replaced_by_equal_ones(self):
        class Replaces(nn.Module):
            def __init__(self):
                super().__init__()
                self.sizes, self.count, self.empty = [1, 2], 1, {}

            def forward(self, x):
                self.sizes, self.count = [1, 2], True
                self.empty["seen"] = x
                return x + self.count

        model = Replaces().eval()  # the change of mode would make every attribute be looked at
        sizes, empty = model.sizes, model.empty
        FeatureMapsView(model, vectors()).capture()
        assert model.sizes is sizes
        assert model.empty is empty
        assert (type(model.count), empty) == (int, {})

    def test_tensors_modules_and_generators_that_hide_in_attributes(self):
        class Cache:
            def __init__(self):
                self.keys, self.layers = torch.zeros(8), [torch.zeros(8)]

        class Hides(nn.Module):
            def __init__(self):
                super().__init__()
                self.cache, self.hidden = Cache(), [nn.BatchNorm1d(8)]
                self.draws = [torch.Generator(), random.Random(1), np.random.default_rng(1), np.random.RandomState(1)]

            def forward(self, x):
                self.cache.keys[:] = x[0]
                self.cache.layers[0] += 1
                torch.rand(1, generator=self.draws[0])
                self.draws[1].random(), self.draws[2].random(), self.draws[3].rand()
                return self.hidden[0](x) + self.cache.layers[0]

        model = Hides()
        before = [str(draw.get_state()) for draw in (model.draws[0], model.draws[3])]
        before += [str(model.draws[1].getstate()), str(model.draws[2].bit_generator.state)]
        view = FeatureMapsView(model, vectors())
        assert view.compare(view.capture(), view.capture(), Tolerances()).matched
        assert model.cache.keys.sum() == model.cache.layers[0].sum() == 0
        assert model.hidden[0].num_batches_tracked == 0
        assert model.hidden[0].running_mean.abs().sum() == 0
        after = [str(draw.get_state()) for draw in (model.draws[0], model.draws[3])]
        assert [*after, str(model.draws[1].getstate()), str(model.draws[2].bit_generator.state)] == before

    def test_a_step_that_fails_does_not_keep_the_others_from_being_put_back(self):
        class Fragile(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("table", torch.zeros(3))
                self.linear = nn.Linear(8, 8)

            def forward(self, x):
                self.linear.weight.data.zero_()
                self.table.set_(torch.zeros(3).untyped_storage(), 0, (1,))
                return x

        model = Fragile().train()
        weight = model.linear.weight.detach().clone()
        FeatureMapsView(model, vectors()).capture()
        assert torch.equal(model.linear.weight, weight)
        assert model.training
        assert model.table.shape == (3,)

    def test_precisions_set_backend_by_backend(self):
        if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
            pytest.skip("this torch has no precision by backend")
        before = torch.backends.cuda.matmul.fp32_precision
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        try:
            FeatureMapsView(nn.Linear(8, 8), vectors()).capture()
            assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        finally:
            torch.backends.cuda.matmul.fp32_precision = before
