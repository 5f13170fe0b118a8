"""What a model or a training step leaves changed in the process is put back: each entry of the guide's list."""

import contextlib
import warnings

import pytest
import torch
from leftovers import ENTERED, LEFT, Dispatch, Function, autocast, device, enter, modes
from zoo import SmallNet, images

from pytest_modelviz.errors import ModelvizWarning
from pytest_modelviz.probe import switches
from pytest_modelviz.probe.process import process_untouched
from pytest_modelviz.probe.switch_names import IN_TORCH_C
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.training_curve.recorder import train

# what is left in generators and contexts is left for the second time as those are thrown away
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", ModelvizWarning)
        yield
        with process_untouched():  # a generator that is closed leaves what it has entered, here for the second time
            ENTERED.clear()


def plain(value):
    """A reader's value in a form that does not change with what it is read from."""
    return value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", LEFT)
def test_a_block_leaves_it_as_it_was(name):
    change, read = LEFT[name]
    before = plain(read())
    with process_untouched():
        change()
        assert plain(read()) != before
    assert plain(read()) == before


@pytest.mark.parametrize("name", LEFT)
def test_a_block_that_raises_leaves_it_as_it_was(name):
    change, read = LEFT[name]
    before = plain(read())

    def fail():
        with process_untouched():
            change()
            raise IndexError("from the block")

    with pytest.raises(IndexError, match="from the block"):
        fail()
    assert plain(read()) == before


class Leaves(SmallNet):
    """Leaves something changed at the end of its forward pass."""

    def __init__(self, change, error=None):
        super().__init__()
        self.change, self.error = change, error

    def forward(self, x):
        x = super().forward(x)
        self.change()
        if self.error is not None:
            raise self.error
        return x


@pytest.mark.parametrize("name", LEFT)
def test_a_forward_pass_leaves_it_as_it_was(name):
    change, read = LEFT[name]
    model, before = Leaves(change), plain(read())
    FeatureMapsView(model, images()).capture()
    assert plain(read()) == before


@pytest.mark.parametrize("name", LEFT)
def test_a_forward_pass_that_raises_leaves_it_as_it_was_and_its_error_comes_out(name):
    change, read = LEFT[name]
    model, before = Leaves(change, IndexError("from the model")), plain(read())
    with pytest.raises(IndexError, match="from the model"):
        FeatureMapsView(model, images()).capture()
    assert plain(read()) == before


@pytest.mark.parametrize("name", LEFT)
def test_a_training_step_leaves_it_as_it_was(name):
    change, read = LEFT[name]
    before = plain(read())

    def step(number):
        if number:
            change()
        return 1.0

    train(step, 2, None, 0)
    assert plain(read()) == before


@pytest.mark.parametrize("name", LEFT)
def test_what_the_caller_has_changed_stays_so(name):
    change, read = LEFT[name]
    with process_untouched():
        change()
        before = plain(read())
        with process_untouched():
            pass
        assert plain(read()) == before


def test_the_list_has_every_switch_of_torch():
    """Each value of `torch._C` that can be read and set is put back, or is here, with the reason why it is not."""
    if tuple(int(number) for number in torch.__version__.split(".")[:2]) > (2, 14):
        pytest.skip("what later versions have is added when they are supported")
    elsewhere = {
        "_get_deterministic_algorithms": "with its sister that says whether it warns only",
        "_get_float32_matmul_precision": "by its public reader",
        "_get_dispatch_mode": "as one of the stack of modes",
        "_accelerator_hooks_get_current_device": "device by device",
        "_cuda_get_sync_debug_mode": "by its public reader, where a GPU is in use",
        "_get_graph_exec_group": "of the capture of a CUDA graph, which is over by then",
        "_get_tensor_metadata": "of a tensor",
        "_get_thread_name": "of the operating system",
        "_get_tracing_state": "of TorchScript's tracer, which is over by then",
        "_get_value_trace": "of TorchScript's tracer, which is over by then",
    }
    not_covered = ("_cuda_tunableop_", "_jit_", "_debug_")  # torch.cuda.tunable, TorchScript's executor
    names = vars(torch._C)
    pairs = {name for name in names if name.replace("_get_", "_set_", 1) in names and "_get_" in name}
    pairs |= {name for name in names if name.startswith("_is_") and name.replace("_is_", "_set_", 1) in names}
    assert {"_get_cudnn_enabled", "_is_multithreading_enabled"} <= pairs
    assert [name for name in pairs - set(IN_TORCH_C) - set(elsewhere) if not name.startswith(not_covered)] == []


def other_values(value):
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, tuple) and value and all(isinstance(one, bool) for one in value):
        return [tuple(not one for one in value)]
    texts = ("ieee", "tf32", "error", "nothing", "warn", "cudnn")
    return [text for text in texts if text != value] if isinstance(value, str) else []


def test_every_switch_that_can_be_turned_here_comes_back():
    turned = set()
    once = "the number of inter-op threads"  # torch lets it be changed once
    for switch in (switch for switch in switches.all_switches() if switch.name != once):
        before = switch.read()
        for value in other_values(before):
            with process_untouched():
                with contextlib.suppress(Exception):  # not every value is one, and not on every machine
                    switch.write(value)
                turned |= {switch.name} if switch.read() != before else set()
            assert switch.read() == before, switch.name
    assert {"_is_view_replay_enabled", "_get_cudnn_benchmark", "_get_backcompat_keepdim_warn"} <= turned
    assert len(turned) > 40


@pytest.mark.parametrize("missing", ["pairs", "precisions", "functorch", "saved tensors"])
def test_a_torch_without_private_names_loses_their_switches_only(missing, monkeypatch):
    if missing == "pairs":
        for name in IN_TORCH_C:
            if name in vars(torch._C):
                monkeypatch.delattr(torch._C, name)
    elif missing == "precisions":
        monkeypatch.delattr(torch._C, "_get_fp32_precision_getter", raising=False)
    elif missing == "functorch":
        monkeypatch.delattr(torch._C._functorch, "get_dynamic_layer_stack_depth")
    else:
        monkeypatch.delattr(torch._C._autograd, "_top_saved_tensors_default_hooks")
    switches.all_switches.cache_clear()
    try:
        with process_untouched():
            torch.set_default_dtype(torch.float64)
        assert torch.get_default_dtype() is torch.float32
    finally:
        switches.all_switches.cache_clear()


@pytest.fixture
def interop_threads(monkeypatch):
    """A number of inter-op threads that can be changed once, as torch has it."""
    number = [2]

    def set_once(value):
        if number[0] != 2:
            raise RuntimeError("cannot set number of interop threads")
        number[0] = value

    monkeypatch.setattr(torch, "get_num_interop_threads", lambda: number[0])
    monkeypatch.setattr(torch, "set_num_interop_threads", set_once)
    switches.all_switches.cache_clear()
    yield
    switches.all_switches.cache_clear()


def test_a_step_that_fails_warns_once_and_stops_no_other(interop_threads):
    def change():
        torch.set_num_interop_threads(3)
        torch.set_default_dtype(torch.float64)
        enter(Dispatch())

    before = modes()
    with pytest.warns(ModelvizWarning, match="number of inter-op threads .*RuntimeError: cannot set") as caught:
        FeatureMapsView(Leaves(change), images()).capture()
    assert len(caught) == 1
    assert (torch.get_default_dtype(), modes()) == (torch.float32, before)


def test_a_step_that_fails_hides_no_error_of_the_model(interop_threads):
    model = Leaves(lambda: torch.set_num_interop_threads(3), IndexError("from the model"))
    with pytest.raises(IndexError, match="from the model"):  # though warnings are errors here
        FeatureMapsView(model, images()).capture()


@pytest.mark.parametrize("kind", [Dispatch, Function])
def test_a_mode_that_refuses_everything_hides_no_error_of_the_model(kind):
    class Refuses(kind):
        def __torch_dispatch__(self, *arguments):
            raise ZeroDivisionError

        __torch_function__ = __torch_dispatch__

    before = modes()
    model = Leaves(lambda: enter(Refuses()), IndexError("from the model"))
    weights = [parameter.tolist() for parameter in model.parameters()]
    with pytest.raises(IndexError, match="from the model"):
        FeatureMapsView(model, images()).capture()
    assert modes() == before
    assert [parameter.tolist() for parameter in model.parameters()] == weights


def test_a_generator_in_an_attribute_does_not_undo_the_restoring():
    class Generates(SmallNet):
        def forward(self, x):
            def steps():
                with torch.device("meta"), torch.autocast("cpu"), Dispatch():
                    yield

            self.steps = steps()
            next(self.steps)
            return super().forward(x)

    before = (device(), autocast(), modes())
    FeatureMapsView(Generates(), images()).capture()
    assert (device(), autocast(), modes()) == before


def test_inference_mode_in_an_attribute_ends_with_the_pass():
    class Enters(SmallNet):
        def forward(self, x):
            self.context = torch.inference_mode()
            self.context.__enter__()
            return super().forward(x)

    model = Enters()
    FeatureMapsView(model, images()).capture()
    assert not torch.is_inference_mode_enabled()
    SmallNet()(images()).sum().backward()  # which fails where the dispatcher still looks for a mode


def test_the_casts_of_a_pass_without_gradients_are_not_those_of_one_with():
    model = SmallNet()
    with torch.autocast("cpu", torch.bfloat16):
        FeatureMapsView(model, images()).capture()
        model(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_mode_of_the_caller_that_the_model_takes_off_is_put_on_again():
    with Dispatch() as outer:
        before = modes()
        FeatureMapsView(Leaves(lambda: torch._C._pop_torch_dispatch_stack(None)), images()).capture()
        assert modes() == before
        assert torch._C._get_dispatch_stack_at(0) is outer


def test_current_device_stream_and_debug_mode_of_a_gpu_come_back(monkeypatch):
    state = {"device": 1, "stream": "side", "debug": 1}
    for name, answer in {
        "is_initialized": lambda: True,
        "is_available": lambda: True,
        "device_count": lambda: 0,
        "current_device": lambda: state["device"],
        "current_stream": lambda: state["stream"],
        "get_sync_debug_mode": lambda: state["debug"],
        "set_device": lambda to: state.update(device=to),
        "set_stream": lambda to: state.update(stream=to),
        "set_sync_debug_mode": lambda to: state.update(debug=to),
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    with process_untouched():
        state.update(device=0, stream="other", debug=2)
    assert state == {"device": 1, "stream": "side", "debug": 1}
