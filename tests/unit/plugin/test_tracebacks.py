"""Which frames of an error a user gets to see."""

from pathlib import Path

import pytest

import pytest_modelviz
from pytest_modelviz.plugin.tracebacks import hide_own_frames

HOME = Path(pytest_modelviz.__file__).parent


@pytest.mark.parametrize(
    ("file", "hidden"),
    [(HOME / "probe" / "x.py", True), (HOME.with_name(f"{HOME.name}_nets") / "x.py", False)],
    ids=["own", "of_a_package_beside"],
)
def test_only_the_plugin_s_own_frames_are_hidden(file, hidden):
    def fails():
        raise LookupError

    scope = {"fails": fails}
    exec(compile("def step():\n    fails()", str(file), "exec"), scope)
    with pytest.raises(LookupError) as caught:
        scope["step"]()
    hide_own_frames(caught.value)
    names, frame = [], caught.value.__traceback__
    while frame is not None:
        names.append(frame.tb_frame.f_code.co_name)
        frame = frame.tb_next
    assert ("step" in names) is not hidden
    assert names[-1] == "fails"
