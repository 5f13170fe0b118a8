"""Weights that may be larger than the memory: read in pieces, moved one module at a time, never copied as a whole."""

import gc
import re
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from zoo import ZOO, SmallNet, images, vectors

from pytest_modelviz.probe import count_sketch, noise, purity, sketch
from pytest_modelviz.probe.forward import call, prepared
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.rounding import Rounding
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps import kernels
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.kernel_maps.convolutions import convolutions
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


class Reads(TorchDispatchMode):
    """Counts the numbers that operators read of one tensor, at once and in all, and the most that any of them makes."""

    def __init__(self, tensor):
        super().__init__()
        self._memory = tensor.untyped_storage().data_ptr()
        self.read = self.largest = self.most_at_once = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        given = [item for item in tree_leaves((args, kwargs)) if isinstance(item, torch.Tensor)]
        made = [item for item in tree_leaves(output) if isinstance(item, torch.Tensor)]
        known = {item.untyped_storage().data_ptr() for item in given}
        made = [item for item in made if item.untyped_storage().data_ptr() not in known]
        self.largest = max([self.largest, *(item.numel() for item in made)])
        if made:
            counts = [item.numel() for item in given if item.untyped_storage().data_ptr() == self._memory]
            self.read += sum(counts)
            self.most_at_once = max([self.most_at_once, *counts])
        return output


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_kernels_are_read_once_for_their_statistics_in_pieces(monkeypatch, dtype, kind):
    monkeypatch.setattr(kernels, "_PIECE", 1000)
    torch.manual_seed(0)
    layer = kind(40, 64, 3, dtype=dtype)
    (convolution,) = convolutions(layer)
    with Reads(layer.weight) as reads:
        statistics = kernels.statistics(convolution)
    # 64 filters of 360 numbers, two at a time, each of which a few operators look at while it is in the cache
    assert reads.largest <= 2 * 360
    assert reads.read <= 3 * 64 * 360
    assert reads.most_at_once == 2 * 360
    values = layer.weight.detach().double()
    expected = (values.mean(), values.square().mean().sqrt(), values.min(), values.max())
    seen = (statistics.mean, statistics.rms, statistics.low, statistics.high)
    assert seen == pytest.approx([float(value) for value in expected], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [61, 251])
def test_halves_are_widened_chunk_by_chunk(monkeypatch, dtype, width):
    torch.manual_seed(0)
    weight = torch.randn(300, 1001).to(dtype)
    expected = sketch.record_tensor(weight.float(), width).sketch
    monkeypatch.setattr(count_sketch, "_CHUNK", 256)  # rows, of some 250 numbers
    pieces = sketch.record_tensor(weight.float(), width).sketch
    widened = []
    sketch_chunk = count_sketch._sketch_chunk
    monkeypatch.setattr(count_sketch, "_sketch_chunk", lambda values, span: seen(values) and sketch_chunk(values, span))

    def seen(values):
        widened.append((values.dtype, values.numel()))
        return True

    monkeypatch.setattr(sketch, "flat_numbers", lambda tensor: pytest.fail("all of it was widened"))
    record = sketch.record_tensor(weight, width)
    assert record.sketch.tobytes() == pieces.tobytes() != expected.tobytes()
    assert {kind for kind, _ in widened} == {torch.float32}
    assert max(count for _, count in widened) <= 256 * 251


def test_what_is_not_finite_is_counted_in_each_piece(monkeypatch):
    monkeypatch.setattr(kernels, "_PIECE", 4)
    layer = nn.Conv1d(1, 5, 2, bias=False)  # two filters a piece
    with torch.no_grad():
        layer.weight.copy_(
            torch.tensor([[1.0, 2], [torch.nan, 3], [torch.inf, -torch.inf], [-torch.inf, 4], [5, 6]])[:, None]
        )
    statistics = kernels.statistics(convolutions(layer)[0])
    assert statistics.not_finite == 3
    assert (statistics.mean, statistics.low, statistics.high) == (21 / 6, 1.0, 6.0)
    layer.weight.data.fill_(torch.nan)
    statistics = kernels.statistics(convolutions(layer)[0])
    assert (statistics.not_finite, statistics.rms) == (5, None)


def test_numbers_whose_sum_is_none_are_finite():
    layer = nn.Conv1d(1, 8, 2, bias=False, dtype=torch.float64)
    layer.weight.data.fill_(2e307)
    statistics = kernels.statistics(convolutions(layer)[0])
    assert (statistics.not_finite, statistics.low, statistics.rms) == (0, 2e307, pytest.approx(2e307))


class TestNoise:
    """It is measured with the weights of one module at a time, as if all had been moved."""

    @staticmethod
    def noises(trace):
        return {key: record.noise for key, record in trace.tensors.items()}

    @staticmethod
    def moved_at_once(model, data):
        with prepared(model, data) as ready:
            Rounding().move_weights(ready)
            rounding = Rounding(with_rows=True)
            recorder = PassRecorder(ready, [rounding], weight_width=None)
            with recorder.recording():
                call(ready, rounding.moved(data))
        return recorder.trace

    @pytest.fixture
    def copies(self, monkeypatch):
        """How many memories were copied before something was written into them."""
        saved = []
        restore = purity._SaveBeforeWrite.restore

        def counted(self):
            saved.extend(self._saved)
            restore(self)

        monkeypatch.setattr(purity._SaveBeforeWrite, "restore", counted)
        return saved

    @pytest.mark.parametrize("name", ["small_net", "shared", "recurrent", "tied", "encoder"])
    def test_it_is_the_same_and_nothing_is_copied(self, copies, name):
        model, data = ZOO[name].build(), ZOO[name].input()
        before = [tensor.clone() for tensor in model.state_dict().values()]
        memory = [tensor.data_ptr() for tensor in model.state_dict().values()]
        trace = FeatureMapsView(model, data).capture().result.trace
        expected = noise.with_noise(trace, model, data, self.moved_at_once(model, data))
        copies.clear()  # of buffers that the model itself writes
        assert self.noises(noise.with_noise(trace, model, data)) == self.noises(expected)
        assert not copies
        assert [tensor.data_ptr() for tensor in model.state_dict().values()] == memory
        assert all(map(torch.equal, model.state_dict().values(), before))

    def test_the_weights_of_one_call_are_moved_at_a_time_and_those_of_a_failed_one_put_back(self):
        seen = []

        class Layer(nn.Linear):
            def forward(self, x):
                seen.append([layer.weight.data_ptr() == memory for layer, memory in zip(model, memories, strict=True)])
                if len(seen) > 3:  # the third layer of the pass that measures
                    raise ValueError("refused")
                return super().forward(x)

        model = nn.Sequential(Layer(8, 8), Layer(8, 8))
        memories = [layer.weight.data_ptr() for layer in model]
        view = FeatureMapsView(model, vectors())
        capture = view.capture()
        assert seen == [[True, True]] * 2
        capture = noise.with_noise(capture.result.trace, model, vectors())
        assert seen[2:] == [[False, True], [True, False]]
        assert "refused" in capture.notes[-1]
        assert [layer.weight.data_ptr() for layer in model] == memories


def anonymous_memory() -> float:
    """MiB of this process that no file stands for."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


class Growth:
    """The most MiB by which a block's anonymous memory grows."""

    def __enter__(self):
        gc.collect()
        self._before = self._most = anonymous_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(0.001):
            self._most = max(self._most, anonymous_memory())

    def __exit__(self, *raised):
        self._done.set()
        self._thread.join()
        self.mebibytes = self._most - self._before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell how much memory is anonymous")
@pytest.mark.parametrize("how", ["safetensors", "torch.load"])
def test_weights_of_a_file_that_is_mapped_stay_there(tmp_path, monkeypatch, how):
    from safetensors.torch import load_file, save_file

    def build():
        linear = nn.Linear(4096, 4096)  # 64 MiB
        return nn.Sequential(nn.Conv1d(256, 4096, 16), nn.Flatten(), linear).eval()  # as many again

    with torch.device("meta"):
        model = build()
    path = tmp_path / "weights"
    saved = {name: torch.rand(weight.shape) - 0.5 for name, weight in model.state_dict().items()}
    if how == "safetensors":
        save_file(saved, path)
        weights = load_file(path)
    else:
        torch.save(saved, path)
        weights = torch.load(path, mmap=True, weights_only=True)
    del saved
    model.load_state_dict(weights, assign=True)
    del weights
    vector = torch.rand(1, 4096)
    views = [KernelMapsView(model), ModelSummaryView(model[2], input_data=vector), FeatureMapsView(model[2], vector)]
    for view in (KernelMapsView(SmallNet()), FeatureMapsView(SmallNet(), images())):  # what all captures need
        view.capture()
    for view in views:
        with Growth() as growth:
            view.capture()
        assert growth.mebibytes < 40, view.view
