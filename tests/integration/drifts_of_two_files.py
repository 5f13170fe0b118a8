"""Tests in two files of which each has drifted, what waits to be reviewed, and the commands that are printed."""

import json
import re
import shlex

from pytest_modelviz.storage.formats import decode_json

TWO_FILES = {
    "test_a": "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n",
    "test_b": "from net import *\ndef test_net(feature_maps, model_summary):\n"
    "    feature_maps(load(), photo() * 2)\n    model_summary(load())\n",
}
A, B = "test_a.py::test_net", "test_b.py::test_net"


def drift_two_files(project):
    """feature_maps of both files' tests have drifted."""
    for name, text in TWO_FILES.items():
        project.test(text, name=name)
    project.run_once("--modelviz-update").assert_outcomes(passed=2)
    project.fault("weight")
    project.run_once("--modelviz").assert_outcomes(failed=2)
    return project


def compared(project) -> dict[str, str]:
    """The ids of baselines and the digest of what is compared."""
    documents = [decode_json(data) for name, data in project.files().items() if name.endswith("feature_maps.json")]
    return {document["nodeid"]: document["data_sha256"] for document in documents}


def waiting(project, *options: str) -> list[str]:
    rows = json.loads(project.modelviz("list", "--json", *options).output)["checks"]
    return [row["nodeid"] for row in rows if row["state"] == "waiting"]


def accept_commands(text: str) -> list[list[str]]:
    return [shlex.split(command)[1:] for command in re.findall(r"^  accept +(modelviz .*)$", text, re.M)]
