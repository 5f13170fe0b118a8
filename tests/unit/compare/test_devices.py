"""What depends on the device, and must not: precision, counts of fused kernels, devices among the arguments."""

import copy

import pytest
import torch
from torch import nn
from zoo import SmallNet, data_parallel, images

from pytest_modelviz.compare.devices import TYPES, same_but_for_devices
from pytest_modelviz.compare.explanation_tolerance import jump_tolerance
from pytest_modelviz.compare.precision import coarsest_precision, precision_of
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.compare.volatile import normalised
from pytest_modelviz.probe import environment as surroundings
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary import flops
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.training_curve.tolerance import gradient_tolerance, step_tolerance


def test_the_zoo_has_a_data_parallel_model_on_the_cpu_also_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    model = data_parallel(SmallNet())
    assert model(images()).shape == (2, 5)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


# multiply-adds of recurrent layers


def mult_adds(model, data):
    layers = ModelSummaryView(model, input_data=data).capture().facts["layers"]
    return {name: row.get("mult_adds") for name, row in layers.items()}


def fused(monkeypatch):
    """oneDNN's kernel of an LSTM, one opaque operator as cuDNN's are: it is left switched on while counting."""
    kept = flops.MultAdds.__init__

    def init(self, model):
        kept(self, model)
        self._recurrent = False

    monkeypatch.setattr(flops.MultAdds, "__init__", init)


def test_a_fused_kernel_counts_as_much_as_its_products(monkeypatch):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(6, 8, 2, bidirectional=True), nn.Linear(16, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    model, data = Reader(), torch.rand(7, 4, 6)
    counted = mult_adds(model, data)
    assert counted["lstm"] == 7 * 4 * 2 * 4 * 8 * ((6 + 8) + (16 + 8))
    fused(monkeypatch)
    assert mult_adds(model, data) == counted
    monkeypatch.setattr(flops, "recurrent_mult_adds", lambda module, output: 0)
    assert mult_adds(model, data)["lstm"] is None  # the counter itself sees nothing of it


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "bidirectional": True, "batch_first": True}], ids=str)
@pytest.mark.parametrize("data", ["batch", "one", "packed"])
def test_recurrent_layers_are_worked_out_as_they_are_counted(kind, options, data):
    batch = torch.rand(4, 4, 6)
    packed = nn.utils.rnn.pack_padded_sequence(batch, [4, 3, 3, 1], batch_first=options.get("batch_first", False))
    given = {"batch": batch, "one": batch[0], "packed": packed}[data]
    layer = kind(6, 8, **options)
    assert mult_adds(layer, (given,))[""] == flops.recurrent_mult_adds(layer, layer(given)) > 0


def test_projections_and_layers_with_code_of_their_own():
    projected = nn.LSTM(6, 8, proj_size=5)
    data = torch.rand(3, 2, 6)
    assert mult_adds(projected, data)[""] == flops.recurrent_mult_adds(projected, projected(data))

    class Own(nn.GRU):
        def forward(self, x):
            return x[..., :1], None

    own = Own(6, 8)
    assert flops.recurrent_mult_adds(own, own(data)) == 0
    assert mult_adds(own, data)[""] is None


def test_a_run_that_cannot_count_in_a_fused_kernel_matches():
    view = ModelSummaryView(nn.Sequential(nn.LSTM(6, 8)), input_data=torch.rand(3, 2, 6))
    capture = view.capture()
    facts = copy.deepcopy(dict(capture.facts))
    assert facts["layers"]["0"].pop("mult_adds")
    uncounted = Capture(capture.view, facts, environment={"device": "cuda:0"})
    assert view.compare(capture, uncounted, Tolerances()).matched
    assert not view.compare(uncounted, capture, Tolerances()).matched  # a file does not say what is not counted
    facts["layers"]["0"]["mult_adds"] = 1
    assert not view.compare(capture, uncounted, Tolerances()).matched
    linear = ModelSummaryView(nn.Linear(3, 3), input_data=torch.rand(1, 3))
    capture = linear.capture()
    facts = copy.deepcopy(dict(capture.facts))
    del facts["layers"][""]["mult_adds"]
    assert not linear.compare(capture, Capture(capture.view, facts), Tolerances()).matched


# devices among arguments


def test_what_the_actual_text_shows_to_be_a_device_makes_one_of_the_baseline_s_word():
    assert same_but_for_devices("cpu", "cuda:0", "where")
    assert not same_but_for_devices("cuda:0", "cpu", "where")


@pytest.mark.parametrize(
    ("one", "other", "path", "same"),
    [
        ("device(type='cuda', index=1)", "device(type='cpu')", "x", True),
        ("cuda", "cpu", "map_device", True),
        ("cuda torch.float16", "cpu torch.float16", "(autocast)", True),
        ("cuda torch.float16", "cpu torch.bfloat16", "(autocast)", False),
        ("Options(device=cuda, eps=1)", "Options(device=cpu, eps=1)", "options", True),
        ("meta", "cpu", "task", False),
        ("cuda", "cpu", "", False),
        ("cpuset", "mycuda", "device", False),
    ],
)
def test_a_mere_word_is_a_device_where_something_says_so(one, other, path, same):
    assert same_but_for_devices(one, other, path) is same_but_for_devices(other, one, path) is same


def test_arguments_and_attributes_know_the_same_devices():
    for kind in TYPES:
        assert same_but_for_devices("cpu", f"{kind}:0", "")
        assert same_but_for_devices(f"{kind}:0", "cpu", "") is False  # of the actual text nothing says that it is one
        assert normalised(f"'{kind}:0'") == normalised("'cpu'")
    assert normalised("'meta'") != normalised("'cpu'")  # of a task, say


class Tasks(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.inner, self._task = Task(), task

    def forward(self, x):
        return self.inner(x, self._task)


class Task(nn.Module):
    def forward(self, x, task):
        return x + 1


def test_an_argument_that_is_called_like_a_device_is_compared():
    for kind in (FeatureMapsView, lambda model, x: ModelSummaryView(model, input_data=x)):
        one, other = (kind(Tasks(task), torch.ones(1, 2)) for task in ("meta", "cpu"))
        assert not other.compare(one.capture(), other.capture(), Tolerances()).matched


class Placed(nn.Module):
    """Makes a table on a device that it is told, as many transformers make their masks."""

    def __init__(self, device):
        super().__init__()
        self.inner = Table()
        self._device = device

    def forward(self, x):
        return self.inner(x, self._device)


class Table(nn.Module):
    def forward(self, x, device):
        return x + 1, device


@pytest.mark.parametrize("devices", [(torch.device("cpu"), torch.device("cuda", 0)), ("cpu", "cuda:0")])
def test_a_device_among_arguments_and_outputs_is_no_drift(devices):
    for kind in (FeatureMapsView, lambda model, x: ModelSummaryView(model, input_data=x)):
        one, other = (kind(Placed(device), torch.ones(1, 2)) for device in devices)
        before, after = one.capture(), other.capture()
        for model in (before, after):  # where a module keeps it, it is for the configuration to leave out
            for row in (model.facts.get("layers") or {}).values():
                row.pop("config", None) if isinstance(row, dict) else None
        verdict = other.compare(before, after, Tolerances())
        assert verdict.matched, verdict.findings
    one, other = (FeatureMapsView(Placed(text), torch.ones(1, 2)) for text in ("mean", "sum"))
    assert not other.compare(one.capture(), other.capture(), Tolerances()).matched


# precision


@pytest.fixture
def gpu(monkeypatch):
    """As if there were a device with TF32, and torch's switches were these."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    set_to = {
        "backends.cuda.matmul.fp32_precision": "none",
        "backends.cudnn.conv.fp32_precision": "tf32",
        "backends.cudnn.rnn.fp32_precision": "tf32",
    }
    monkeypatch.setattr(surroundings, "_setting", set_to.get)
    return set_to


def test_only_products_that_the_model_may_contain_count(gpu):
    linear, conv, lstm = nn.Linear(3, 3), nn.Conv2d(3, 3, 3), nn.LSTM(3, 3)
    precision = surroundings.float32_precision
    assert [precision(one, "cuda:0") for one in (linear, conv, lstm)] == ["ieee", "tf32", "tf32"]
    assert precision(conv, "cpu") == "ieee"
    gpu["backends.cuda.matmul.fp32_precision"] = "tf32"  # torch.set_float32_matmul_precision("high")
    assert precision(linear, "cuda:0") == "tf32"
    gpu.update(dict.fromkeys(gpu, "ieee"))
    assert [precision(one, "cpu,cuda:0") for one in (linear, conv, lstm)] == ["ieee"] * 3


def test_older_hardware_and_versions(gpu, monkeypatch):
    conv = nn.Conv2d(3, 3, 3)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    assert surroundings.float32_precision(conv, "cuda:0") == "ieee"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    for matmul, cudnn, linear, conv_found in (
        (False, True, "ieee", "tf32"),
        (True, False, "tf32", "tf32"),
        (False, False, "ieee", "ieee"),
    ):
        set_to = {"backends.cuda.matmul.allow_tf32": matmul, "backends.cudnn.allow_tf32": cudnn}
        monkeypatch.setattr(surroundings, "_setting", set_to.get)
        found = [surroundings.float32_precision(one, "cuda:0") for one in (nn.Linear(3, 3), conv)]
        assert found == [linear, conv_found]


def test_what_is_set_counts_on_a_cpu_only_where_it_changes_something(monkeypatch):
    model = nn.Linear(3, 3)
    monkeypatch.setattr(surroundings, "_setting", {"backends.mkldnn.matmul.fp32_precision": "bf16"}.get)
    monkeypatch.setattr(surroundings, "rounds_products", lambda kind: False)
    assert "float32_precision" not in surroundings.environment(model)
    monkeypatch.setattr(surroundings, "rounds_products", lambda kind: kind == "matmul")
    assert surroundings.environment(model)["float32_precision"] == "bf16"


def test_a_processor_in_full_precision_leaves_nothing_away():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert [surroundings.rounds_products(kind) for kind in ("matmul", "conv", "rnn")] == [False] * 3


def test_what_shortens_convolutions_alone_is_found_by_convolving(monkeypatch):
    convolve = nn.functional.conv2d
    monkeypatch.setattr(nn.functional, "conv2d", lambda x, kernel: convolve(x.bfloat16().float(), kernel))
    assert [surroundings.rounds_products(kind) for kind in ("matmul", "conv", "rnn")] == [False, True, False]


def test_switches_that_exclude_each_other_can_be_read():
    cudnn = torch.backends.cudnn
    if surroundings._setting("backends.cudnn.conv.fp32_precision") is None:
        pytest.skip("this torch has one switch for both")
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = "ieee", "tf32"
    try:
        with pytest.raises(RuntimeError):
            _ = cudnn.allow_tf32
        assert surroundings._setting("backends.cudnn.allow_tf32") is None
        FeatureMapsView(nn.Conv2d(3, 3, 1), torch.ones(1, 3, 2, 2)).capture()
        assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("ieee", "tf32")
    finally:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


def test_the_coarser_side_decides_and_a_baseline_claims_nothing_unknown():
    cpu, tf32 = {"device": "cpu"}, {"device": "cuda:0", "float32_precision": "tf32"}
    assert coarsest_precision(cpu, tf32) == coarsest_precision(tf32, cpu) == "tf32"
    assert coarsest_precision(cpu, cpu) == coarsest_precision() == "ieee"
    assert coarsest_precision({"float32_precision": "bf16"}, tf32) == "bf16"
    for claim in ("anything", "", "float8", "inf"):
        assert precision_of({"float32_precision": claim}) == "ieee"
    # files that are older than this
    assert precision_of({"device": "cuda:0", "tf32": "True"}) == "tf32"
    assert precision_of({"device": "cuda:0", "tf32": "False", "matmul_precision": "high"}) == "tf32"
    assert precision_of({"device": "cuda:0", "tf32": "False", "matmul_precision": "highest"}) == "ieee"
    assert precision_of({"device": "cpu", "matmul_precision": "high"}) == "ieee"


def test_tf32_has_a_row_of_its_own():
    full, short = Tolerances(device="cuda:0"), Tolerances(device="cuda:0", precision="tf32")
    assert (full.relative("float32"), short.relative("float32")) == (pytest.approx(1e-3), 1e-2)
    assert short.relative("float32") >= 5 * 1.13e-3  # measured
    assert jump_tolerance(short, "float32") >= 5 * 0.06
    assert short.relative("complex64") == 1e-2
    for dtype in ("float64", "float16", "bfloat16", "int64"):
        assert short.relative(dtype) == full.relative(dtype)
    assert Tolerances(precision="tf32").relative("float32") == 1e-2  # a CPU against a baseline in TF32
    assert Tolerances(rtol=1e-5, precision="tf32").relative("float32") == 1e-5
    assert step_tolerance(short, "float32", 0.0, 0.0) == 1e-2
    assert gradient_tolerance(short, "float32", 0.0, 0.0) >= 0.2


def in_tf32(capture: Capture) -> Capture:
    around = {**capture.environment, "device": "cuda:0", "float32_precision": "tf32"}
    return Capture(capture.view, capture.facts, capture.arrays, around)


class Shortened(nn.Conv2d):
    """A convolution of operands with TF32's ten binary digits."""

    def forward(self, x):
        return self._conv_forward(shortened(x), shortened(self.weight), self.bias)


def shortened(values):
    bits = values.detach().view(torch.int32)
    return values + (((bits + 0x1000) & ~0x1FFF).view(torch.float32) - values.detach())


def network(factor=1.0, *, short=True):
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)]
    with torch.no_grad():
        convolutions[1].weight.mul_(factor)
    model = nn.Sequential(*(layer for one in convolutions for layer in (one, nn.ReLU())), nn.Flatten())
    for one in convolutions if short else ():
        one.forward = Shortened.forward.__get__(one)
    return model


def test_a_pass_in_tf32_matches_one_in_full_precision_and_a_fault_does_not():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    views = [FeatureMapsView(model, image) for model in (network(short=False), network(), network(1.05))]
    plain, short, wrong = (view.capture() for view in views)
    precision = coarsest_precision(plain.environment, in_tf32(short).environment)
    assert not views[1].compare(plain, short, Tolerances()).matched
    assert views[1].compare(plain, short, Tolerances(precision=precision)).matched
    verdict = views[2].compare(plain, wrong, Tolerances(precision=precision))
    assert (verdict.matched, verdict.first.layer) == (False, "2")
