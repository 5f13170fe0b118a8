"""Which classes have the highest scores in a model's output, for those who review a drift: nothing is judged by it."""

from __future__ import annotations

import torch

from pytest_modelviz.probe.nested_values import leaves
from pytest_modelviz.records.top_classes import MOST_SAMPLES, TOP_CLASSES
from pytest_modelviz.text.strict_json import JsonObject, JsonValue

_DIGITS = 4  # of a share, which reports give in per cent
_SUM = 1e-3  # how far the sum of probabilities may be from 1


def top_class_facts(output: object) -> dict[str, JsonValue]:
    """For each output that looks like scores of classes, the top class of each sample and its share of probability.

    Scores are a floating-point matrix (samples, classes) without NaN and infinities. Rows of probabilities are taken
    as they are, others through a softmax.

    Args:
        output: what a model returned.

    Returns:
        A fact `top_classes`, by the path of the output: two lists, `classes` and `shares`, with an entry for each of
        the first 32 samples. No fact where no output looks like scores.

    Example:
        >>> top_class_facts(torch.tensor([[0.1, 0.9], [0.8, 0.2]]))
        {'top_classes': {'': {'classes': [1, 0], 'shares': [0.9, 0.8]}}}

    """
    tables = {
        path.lstrip("."): _table(item)
        for path, item in leaves(output)
        if isinstance(item, torch.Tensor) and _are_scores(item)
    }
    found: dict[str, JsonValue] = {path: table for path, table in tables.items() if table is not None}
    return {TOP_CLASSES: found} if found else {}


def _are_scores(item: torch.Tensor) -> bool:
    return (
        item.layout == torch.strided
        and not (item.is_nested or item.is_quantized or item.is_meta)
        and item.is_floating_point()
        and item.dim() == 2
        and item.shape[0] >= 1
        and item.shape[1] >= 2
    )


def _table(item: torch.Tensor) -> JsonObject | None:
    with torch.no_grad():
        scores = item.detach()[:MOST_SAMPLES].double().cpu()
        if not bool(torch.isfinite(scores).all()):
            return None
        are_probabilities = bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() <= _SUM).all())
        shares, classes = (scores if are_probabilities else scores.softmax(1)).max(1)
    return {"classes": classes.tolist(), "shares": [round(share, _DIGITS) for share in shares.tolist()]}
