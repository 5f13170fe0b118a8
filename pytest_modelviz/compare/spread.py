"""How many layers drifted, also beyond the point where two passes begin to call different modules.

Up to that point calls are compared one by one. After it, what a call returns is searched for among everything that the
actual pass returns: a tensor that is still there, under whatever name, has not drifted. A call that is no longer made
has drifted, unless its module is gone: another module may do its work.
"""

from pytest_modelviz.compare.lockstep import LockstepComparison
from pytest_modelviz.compare.reappearing import ReturnedTensors, returned


def drifted_layers(comparison: LockstepComparison) -> set[str]:
    """The layers of the baseline with a call whose outputs no call of the actual pass returns, within tolerance."""
    drifted = {layer.layer for layer in comparison.layers if layer.drifted}
    if comparison.order_divergence is None:
        return drifted
    compared = {(layer.layer, layer.call) for layer in comparison.layers}
    found = ReturnedTensors(comparison.actual, comparison.tolerances)
    calls = {(call.layer, call.index) for call in comparison.actual.calls}
    for call in comparison.baseline.calls:
        if call.layer in drifted or call.layer in comparison.skipped_containers or (call.layer, call.index) in compared:
            continue
        missing = call.layer in comparison.actual.modules and (call.layer, call.index) not in calls
        records = returned([call], comparison.baseline.tensors)
        if missing or not call.outputs or not all(found.layers_of(record, call.layer) for record in records):
            drifted.add(call.layer)
    return drifted
