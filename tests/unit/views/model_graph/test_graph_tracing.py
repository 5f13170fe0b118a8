"""Models that export cannot follow are traced, and the reason is given; a failed export leaves nothing behind."""

import contextlib
import gc
import warnings
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_models import Choosing, capture, compared, edited, lines, names, small
from torch import nn
from zoo import ZOO, sequences, vectors

from pytest_modelviz.views.model_graph.capture import ModelGraphView, _reason
from pytest_modelviz.views.model_graph.naming import tensor_text


def test_a_model_that_cannot_be_exported_is_traced_and_says_so():
    made = capture(Choosing(), vectors())
    assert made.result.source == "traced"
    assert names(made.result) == ["inner/linear", "/sum", "/gt", "/relu", "/chunk", "/add"]
    assert str(made.result.operators[-1]) == "/add: float32[2, 4] = add(/chunk[1], argument1=1)"
    (note,) = made.notes
    assert note.startswith("torch.export cannot follow this model (GuardOnDataDependentSymNode: ")
    assert "0x" not in note
    assert "/site-packages/" not in note
    assert compared(made, capture(Choosing(), vectors()))[0].matched


def test_a_traced_graph_is_compared_like_an_exported_one():
    verdict, text = compared(
        capture(Choosing(), vectors()), capture(edited(Choosing, activation=staticmethod(F.gelu))(), vectors())
    )
    assert lines(text)[0] == "replaced in (model): relu -> gelu (after inner/linear)"
    assert (verdict.first.layer, verdict.cause) == ("", "computation")


def test_tracing_follows_what_is_overwritten_and_its_attributes():
    class Awkward(nn.Module):
        def forward(self, x):
            y = x.clone()
            y[:, 0] = 1
            F.relu_(y)
            if y.sum() > -1e9:
                y = y.T.data
            return y.mT.detach().abs()

    graph = capture(Awkward(), vectors()).result
    assert names(graph) == ["/clone", "/setitem", "/relu_", "/sum", "/gt", "/T", "/mT", "/abs"]
    assert {one.name: one.inputs for one in graph.operators[5:]} == {
        "/T": ("/relu_",),
        "/mT": ("/T",),
        "/abs": ("/mT",),
    }
    assert graph.outputs == ("/abs",)


@pytest.mark.parametrize("name", ["T", "mT", "H", "mH", "real", "imag"])
def test_a_traced_attribute_that_is_another_tensor_is_an_operator(name):
    class Reads(nn.Module):
        def forward(self, x):
            return torch.sin(getattr(x.data if x.abs().sum() > -1 else x, name))

    data = torch.complex(vectors(), vectors())
    graph = capture(Reads(), data).result
    assert graph.source == "traced"
    text = tensor_text(getattr(data, name))
    told = [str(one) for one in graph.operators[3:]]
    assert told == [f"/{name}: {text} = {name}(input.x)", f"/sin: {text} = sin(/{name})"]


def test_numbers_that_come_out_of_a_tensor_are_told_without_their_value():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = [torch.tensor([0.25, 0.75])]

        def forward(self, x):
            x = x * float(x.mean()) + x.sum().item()
            x = x * torch.tensor(x[0].tolist()) * 0.125
            x = x + torch.from_numpy(np.sqrt(x.abs().numpy()[0])) + torch.tensor([0.5] * 8)
            return x.reshape(-1, 2) * self.table[0]

    graphs = [capture(Reads(), data).result for data in (vectors(), vectors() * 0.7)]
    assert graphs[0].source == "traced"
    assert str(graphs[0]) == str(graphs[1])
    assert [str(one).partition(" = ")[2] for one in graphs[0].operators] == [
        "mean(input.x)",
        "mul(input.x, argument1=a number)",
        "sum(input.x)",
        "add(/mul, argument1=a number)",
        "getitem(/add, argument1=0)",
        f"tensor(argument0=({', '.join(['a number'] * 8)}))",
        "mul(/add, /tensor)",
        "mul(/mul#1, argument1=0.125)",
        "abs(/mul#2)",
        "numpy(/abs)",
        "add(/mul#2, constant float32[8])",
        f"tensor(argument0=({', '.join(['0.5'] * 8)}))",
        "add(/add#1, /tensor#1)",
        "reshape(/add#2, argument1=-1, argument2=2)",
        "mul(/reshape, constant float32[2] (0.25, 0.75))",
    ]


def test_a_tensor_that_takes_the_identity_of_a_dead_one_is_not_taken_for_it():
    class Reuses(nn.Module):
        def forward(self, x):
            if x.sum() < -1e9:
                return x
            numbers, others = np.zeros(8, np.float32), []
            dead = id(torch.relu(x))
            for _ in range(1000):
                others.append(torch.utils.dlpack.from_dlpack(numbers))  # what a trace does not see
                if id(others[-1]) == dead:
                    break
            else:
                pytest.skip("no tensor took its identity")
            return x + others[-1]

    assert capture(Reuses(), vectors()).result.operators[-1].inputs == ("input.x", f"constant float32[8] ({ZEROS})")


ZEROS = ", ".join("0" * 8)


def test_what_runs_after_a_module_that_raised_is_its_caller_s():
    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.outer = nn.Sequential(nn.Identity(), nn.Linear(3, 3))
            self.good = Choosing()

        def forward(self, x):
            with contextlib.suppress(RuntimeError):
                x = self.outer(x)
            return self.good(torch.sigmoid(x)).relu()

    graph = capture(Tries(), vectors()).result
    assert graph.source == "traced"
    assert names(graph)[:2] == ["/sigmoid", "good.inner/linear"]
    assert names(graph)[-2:] == ["good/add", "/relu"]


def test_a_scripted_model_counts_as_one_operator():
    made = ModelGraphView(*_scripted()).capture()
    assert made.result.source == "traced"
    assert names(made.result) == ["/torchscript"]
    assert made.notes[1] == "the model is TorchScript: it counts as one operator"


def _scripted():
    return ZOO["scripted"].build(), ZOO["scripted"].input()


def test_graphs_made_in_two_ways_are_not_compared_and_the_report_says_why():
    made = capture(Choosing(), vectors())
    exported = capture(nn.Linear(8, 8), vectors())
    for before, after in ((made, exported), (exported, made)):
        verdict, text = compared(before, after)
        assert (verdict.matched, verdict.cause) == (False, None)
        (line,) = lines(text)
        sources = after.result.source, before.result.source
        assert line.startswith(f"the graph was {sources[0]}, the baseline's {sources[1]} (GuardOnDataDependentSymNode")
        assert "review the new one and accept it" in line
        view = ModelGraphView(nn.Identity(), small())
        assert [one.label for one in view.picture(after, before, verdict)] == ["operators", "graph"]


def test_a_model_s_own_error_is_its_own():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        capture(nn.Linear(3, 3), vectors())


def test_a_traced_transformer_takes_no_fast_path():
    class Chooses(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = ZOO["encoder"].build()

        def forward(self, x):
            y = self.encoder(x)
            return y if y.sum() > -1e9 else x

    graph = capture(Chooses(), sequences()).result
    assert graph.source == "traced"
    assert sum(one.kind == "layer_norm" for one in graph.operators) == 4


def test_the_reason_of_a_failure_names_no_place_of_this_machine():
    error = ValueError("cannot read /home/somebody/net.py of <Net object at 0x7f00>, 0x12 \nand more")
    assert _reason(error) == "ValueError: cannot read ... of <Net object>, ..."


def test_torch_s_remarks_on_a_failed_export_are_not_printed(capfd, caplog):
    capture(Choosing(), vectors())
    assert not caplog.records
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.parametrize("build", [Choosing, lambda: nn.Linear(8, 8)], ids=["failed", "exported"])
def test_an_export_leaves_no_hooks_and_no_model_behind(build):
    names = [f"_global_{kind}_registration_hooks" for kind in ("buffer", "module", "parameter")]
    tables = [getattr(nn.modules.module, name) for name in names]
    before = [dict(table) for table in tables]
    hook = nn.modules.module.register_module_buffer_registration_hook(lambda module, name, buffer: None)
    try:
        model = build()
        capture(model, vectors())
        alive = weakref.ref(model)
        del model
        gc.collect()
        assert alive() is None
        assert [getattr(nn.modules.module, name) for name in names] == tables
        assert [len(table) for table in tables] == [len(before[0]) + 1, len(before[1]), len(before[2])]
    finally:
        hook.remove()
    assert [dict(table) for table in tables] == before


def test_a_warning_turned_into_an_error_does_not_change_the_graph():

    class Warns(nn.Module):
        def forward(self, x):
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            return x + 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert capture(Warns(), vectors()).result.source == "exported"
