"""Channels of some layers side by side, and the text of a pass for people."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelviz.pictures.channels import channels_picture
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import rows
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.feature_maps.drift_pictures import drift_pictures
from pytest_modelviz.views.feature_maps.pages import stored_pages


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """A picture for each layer that has one; with a verdict, of those around the one it names and of what drifted."""
    if baseline is not None:
        return drift_pictures(baseline, actual, verdict)
    return [
        channels_picture(layer or MODEL_LABEL, page.maps, page.caption, numbers=page.labels)
        for layer, page in stored_pages(actual).items()
    ]


def describe(actual: Capture) -> str:
    """A line for each call: what it returned."""
    layers = rows(actual.facts, "layers").items()
    return "\n".join(f"{name or MODEL_LABEL}: {row.get('out', '')}" for name, row in layers)
