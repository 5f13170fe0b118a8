"""Large language models on the meta device: parameters and multiply-adds by hand, and rows that do not grow."""

import pytest
import torch

from pytest_modelviz.views.model_summary.capture import ModelSummaryView

transformers = pytest.importorskip("transformers")


def decoder(layers, hidden, heads, kv_heads, intermediate, vocab):
    config = transformers.LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=intermediate,
        vocab_size=vocab,
    )
    with torch.device("meta"):
        return transformers.LlamaForCausalLM(config).eval()


def by_hand(layers, hidden, heads, kv_heads, intermediate, vocab, tokens):
    """Parameters and multiply-adds of one sequence."""
    head = hidden // heads
    attention = 2 * hidden * hidden + 2 * hidden * kv_heads * head  # queries and outputs, keys and values
    products = layers * (attention + 3 * hidden * intermediate) + hidden * vocab  # the last are the logits
    norms = (2 * layers + 1) * hidden
    # each token's queries with all keys, and the weights with all values
    scores = layers * 2 * heads * tokens * tokens * head
    return products + norms + hidden * vocab, tokens * products + scores


SMALL = {"layers": 3, "hidden": 64, "heads": 8, "kv_heads": 2, "intermediate": 96, "vocab": 50}
LARGE = {"layers": 80, "hidden": 8192, "heads": 64, "kv_heads": 8, "intermediate": 28672, "vocab": 128256}


CASES = {"small": (SMALL, 3 * 28_800 + 6_464), "70 billion": (LARGE, 70_553_706_496)}


@pytest.mark.parametrize(("sizes", "parameters"), CASES.values(), ids=CASES)
def test_parameters_and_multiply_adds_by_hand(sizes, parameters):
    tokens = 16
    ids = torch.zeros(1, tokens, dtype=torch.int64)
    result = ModelSummaryView(decoder(**sizes), input_data={"input_ids": ids}).capture().result
    assert (result.total_params, result.mult_adds) == by_hand(**sizes, tokens=tokens)
    assert result.total_params == parameters
    assert result.parameter_bytes == 4 * parameters
    assert result.layers["lm_head"].outputs == f"float32[1, {tokens}, {sizes['vocab']}]"
    assert result.layers["model.layers.0.mlp.up_proj"].mult_adds == tokens * sizes["hidden"] * sizes["intermediate"]


def test_a_row_is_no_longer_in_a_model_of_more_layers():
    lengths = []
    for layers in (12, 24):
        model = decoder(**{**SMALL, "layers": layers})
        view = ModelSummaryView(model, input_data={"input_ids": torch.zeros(1, 4, dtype=torch.int64)})
        rows = view.capture().facts["layers"]
        lengths.append({name: len(str(row)) for name, row in rows.items() if name.startswith("model.layers.3")})
    assert lengths[0] == lengths[1]
    assert len(lengths[0]) == 13
