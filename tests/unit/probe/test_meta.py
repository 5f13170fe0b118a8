"""Models on the meta device: their shapes are followed without memory, also where their code reads values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


class Reads(nn.Module):
    """Takes as many steps as its input says, by one of the ways in which code reads values."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.lstm, self.head = way, nn.LSTM(4, 6), nn.Linear(6, 2)
        self.norm = nn.BatchNorm1d(6)
        self.tied = self.head.weight

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = x[: self.steps(x, lengths)]
        return self.head(self.norm(self.lstm(x)[0][:, 0]))

    def steps(self, x: torch.Tensor, lengths: torch.Tensor) -> int:
        if self.way == "item":
            return int(lengths.max().item())
        if self.way == "list":
            return max(lengths.tolist())
        if self.way == "nonzero":
            return len(lengths.nonzero())
        if self.way == "branch":
            return 2 if (lengths > 1).any() else 3
        return 2 if self.head(torch.zeros(6, device=self.head.weight.device)).sum().item() > 0 else 3  # "weights"


def built(way: str, device: str = "meta") -> Reads:
    torch.manual_seed(0)
    with torch.device(device):
        return Reads(way).eval()


INPUT = {"x": torch.ones(3, 1, 4), "lengths": torch.tensor([1, 2])}


@pytest.mark.parametrize("way", ["item", "list", "nonzero", "branch"])
def test_a_meta_model_that_reads_its_input_is_summarised_as_a_real_one(way):
    model = built(way)
    held = {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    flat = [id(tensor) for tensor in model.lstm._flat_weights]
    capture = ModelSummaryView(model, input_data=INPUT).capture()
    real = ModelSummaryView(built(way, "cpu"), input_data=INPUT).capture()
    assert capture.facts == real.facts
    assert capture.facts["layers"]["head"]["in"] == "input: float32[2, 6]"
    assert capture.facts["totals"]["mult_adds"] > 0
    assert capture.notes == ()
    assert {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())} == held
    assert [id(tensor) for tensor in model.lstm._flat_weights] == flat
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("way", ["item", "weights"])
def test_several_views_at_once_summarise_it_as_the_summary_does(way):
    alone = ModelSummaryView(built(way), input_data=INPUT).capture()
    together = CombinedCapture(built(way), INPUT, feature_maps=False).summary.capture()
    assert (together.facts, together.notes) == (alone.facts, alone.notes)
    data = {name: tensor.to("meta") for name, tensor in INPUT.items()}
    with pytest.raises(ModelvizError, match=r"reads values of tensors, which are on the meta device"):
        CombinedCapture(built(way), data).summary.capture()


def test_an_input_of_which_only_the_size_is_known_is_zeros_as_for_a_real_model():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) if x.sum().item() == 0 else x

    made = []
    for device in ("meta", "cpu"):
        with torch.device(device):
            made.append(ModelSummaryView(Net(), (3, 4)).capture())
    assert made[0].facts == made[1].facts
    assert made[0].facts["layers"]["head"]["out"] == "float32[3, 2]"


def test_of_an_input_on_meta_only_what_needs_no_values_is_followed():
    data = {name: tensor.to("meta") for name, tensor in INPUT.items()}
    assert ModelSummaryView(built("item"), input_data=data).capture().notes

    class Halves(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            size = torch.tensor([x.shape[0]])  # a real tensor, whatever the device of the input
            return super().forward(x[: int(size.item()) // 2])

    with torch.device("meta"):
        model = Halves(4, 2)
    capture = ModelSummaryView(model, input_data=torch.ones(6, 4, device="meta")).capture()
    assert capture.facts["layers"][""]["out"] == "float32[3, 2]"


def test_where_it_reads_its_weights_it_is_summarised_without_shapes_and_says_why():
    capture = ModelSummaryView(built("weights"), input_data=INPUT).capture()
    (note,) = capture.notes
    assert "reads values" in note
    assert "without shapes" in note
    assert capture.facts["layers"]["head"] == {
        "class": "Linear",
        "config": "in_features=6, out_features=2, bias=True",
        "parameters": {"weight": "float32[2, 6]", "bias": "float32[2]"},
    }


def test_a_fault_of_its_own_stays_an_error():
    with torch.device("meta"):
        model = nn.Linear(4, 2)
    with pytest.raises(RuntimeError, match=r"same reduction dim|cannot be multiplied|size mismatch"):
        ModelSummaryView(model, input_data=torch.ones(1, 3)).capture()


def test_a_language_model_with_a_mask():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8}
    config = transformers.LlamaConfig(vocab_size=32000, num_hidden_layers=4, **sizes)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    ids = {"input_ids": torch.tensor([[1, 5, 9, 3]]), "attention_mask": torch.tensor([[0, 1, 1, 1]])}
    capture = ModelSummaryView(model, input_data=ids).capture()
    assert capture.facts["layers"]["lm_head"]["out"] == "float32[1, 4, 32000]"
    assert capture.facts["totals"]["parameters"] > 3e9
    assert capture.notes == ()


def test_where_numbers_are_needed_what_to_do_is_said():
    data = {name: tensor.to("meta") for name, tensor in INPUT.items()}
    with pytest.raises(ModelvizError, match=r"reads values of tensors, which are on the meta device.*model_summary"):
        FeatureMapsView(built("item"), data).capture()
