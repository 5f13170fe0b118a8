"""Which classes have the highest scores in an output."""

import torch

from pytest_modelviz.probe.top_classes import top_class_facts


def table(classes, shares):
    return {"classes": classes, "shares": shares}


def test_scores_go_through_a_softmax_and_probabilities_do_not():
    scores = torch.tensor([[0.0, 0.0, float(torch.log(torch.tensor(2.0)))]])  # e^s: 1, 1, 2
    assert top_class_facts(scores) == {"top_classes": {"": table([2], [0.5])}}
    assert top_class_facts(torch.tensor([[0.1, 0.9], [0.8, 0.2]])) == {"top_classes": {"": table([1, 0], [0.9, 0.8])}}


def test_outputs_are_found_by_path():
    output = {"logits": torch.tensor([[0.1, 0.9]]), "hidden": torch.ones(1, 2, 3), "loss": torch.tensor(1.0)}
    assert top_class_facts(output) == {"top_classes": {"logits": table([1], [0.9])}}


def test_what_does_not_look_like_scores_says_nothing():
    nothing = [
        torch.ones(2, 3).int(),
        torch.ones(3),
        torch.ones(2, 1),
        torch.ones(0, 3),
        torch.ones(2, 3, device="meta"),
        torch.tensor([[torch.nan, 1.0]]),
        torch.eye(3).to_sparse(),
        "text",
    ]
    assert all(top_class_facts(output) == {} for output in nothing)


def test_of_a_large_batch_the_first_samples_count():
    (classes,) = top_class_facts(torch.eye(100))["top_classes"].values()
    assert classes["classes"] == list(range(32))
    assert set(classes["shares"]) == {1.0}


def test_half_precision_is_read():
    assert top_class_facts(torch.tensor([[0.25, 0.75]], dtype=torch.bfloat16)) == {
        "top_classes": {"": table([1], [0.75])}
    }
