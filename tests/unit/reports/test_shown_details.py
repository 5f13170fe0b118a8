"""What a page shows of the details of a check is bounded, whoever has written them."""

import json

import pytest

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.reports.shown_details import read_details
from pytest_modelviz.storage.results import ResultsFolder

CHECK = CheckResult(
    nodeid="t.py::test", view="v", name="n", status=Status.DRIFT, baseline="b", message="n drifted\n  error     1"
)


def shown(root, message, layers):
    results = ResultsFolder(root)
    path = results.details.root / f"{results.location(CHECK).path}.json"
    path.parent.mkdir(parents=True)
    own = {"nodeid": CHECK.nodeid, "name": CHECK.name, "status": "drift", "message": message}
    path.write_text(json.dumps({"check": own, "layers": layers}))
    (found,) = read_details(results, [CHECK], str)
    return found


@pytest.mark.parametrize(("letters", "is_whole"), [(1_000, True), (1_000_000, False)])
def test_a_message_of_any_length(tmp_path, letters, is_whole):
    message = f"n drifted\n{'&' * letters}"
    assert shown(tmp_path, message, []).message == (message if is_whole else None)


def test_layers_without_end(tmp_path):
    names = [*("b" + ".a" * 2000 for _ in range(20)), *("c" for _ in range(25_000))]
    rows = [{"layer": name, "error": 1.0, "tolerance": 0.5} for name in names]
    details = shown(tmp_path, CHECK.message, rows)
    assert "20000 of 20000 calls drifted" in details.chart.svg
    assert ".a" * 300 not in details.chart.svg
