"""What a run is called, and the machine that it ran on."""

import datetime
import os
import platform
from collections.abc import Iterable

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.run_result import RunFacts


def new_run_id() -> str:
    """The time and the process: no two runs have the same, and they sort."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S.%f")
    return f"{now}_{os.getpid()}"


def facts_of(run_id: str, results: Iterable[CheckResult], torch: str) -> RunFacts:
    """The facts that are known without the project; `torch` is its version."""
    devices = {device for check in results for device in check.device.split(",")}
    system = f"{platform.system()}-{platform.machine()}".lower()
    return RunFacts(run_id, torch, platform.python_version(), system, ",".join(sorted(devices)) or "cpu", workers=1)
