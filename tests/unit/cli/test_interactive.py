"""`modelviz review`: each key does what it says, at once, and nothing else."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pytest_modelviz.cli import interactive, main
from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Cause, Divergence
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

KEYS = "a accept  r reject  s skip  "


def capture(value: float) -> Capture:
    return Capture("v", {"peak": value}, {"map": np.full(300, value, np.float32)})


class Project:
    """A project with drifts (of test_a to test_c at conv, of test_d in the input) and a check without a baseline."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "pytest.ini").write_text("[pytest]\n")
        (root / "test_net.py").write_text("".join(f"def test_{test}(): ...\n" for test in "abcdef"))
        self.baselines = Store(root / "baselines")
        self.results = ResultsFolder(root / ".modelviz")
        self.checks = [*(self.check(test) for test in "abc"), self.check("d", Cause.INPUT), self.check("e", None)]
        self.write()

    def write(self, folder: ResultsFolder | None = None, run: str = "R") -> None:
        facts = RunFacts(run, "2", "3", "linux", "cpu", 1)
        (folder or self.results).write(RunResult(facts, tuple(self.checks)))

    def check(
        self,
        test: str,
        cause: Cause | None = Cause.WEIGHTS,
        *,
        layer: str = "conv",
        value: float = 2.0,
        folder: ResultsFolder | None = None,
        **fields,
    ) -> CheckResult:
        """A drift from 1 to `value`; without a cause, a check that has no baseline."""
        nodeid, name, results = f"test_net.py::test_{test}", "n", folder or self.results
        where, candidates = Location.of(nodeid, name), Store(results.candidates, kind="candidate")
        if cause is not None:
            self.baselines.save(where, capture(1.0), nodeid=nodeid, name=name)
        candidates.save(where, capture(value), nodeid=nodeid, name=name)
        return CheckResult(
            nodeid=nodeid,
            view="v",
            name=name,
            status=Status.MISSING if cause is None else Status.DRIFT,
            message=f"n drifted for {cause}\n  error     0.05",
            baseline=f"baselines/{where.path}.json",
            candidate=f".modelviz/candidates/{where.path}.json",
            candidate_sha256=candidates.digest(where),
            baseline_sha256=self.baselines.digest(where),
            cause=cause,
            error=0.05,
            tolerance=0.0001,
            first_divergence=None if cause is None else Divergence(layer, "Conv2d", 0, 0.05, 0.0001),
            output=OutputEffect(0.025, 0.0001) if cause is Cause.WEIGHTS else None,
            **fields,
        )

    def accepted(self) -> str:
        """The letters of the tests whose baselines are what was captured."""
        return "".join(
            test
            for test in "abcdef"
            if (path := self.root / f"baselines/test_net/test_{test}/n.json").exists()
            and json.loads(path.read_text())["facts"]["peak"] == 2.0
        )

    def waiting(self) -> str:
        rows = json.loads(CliRunner().invoke(main, ["list", "--json"]).output)["checks"]
        return "".join(row["nodeid"][-1] for row in rows if row["state"] == "waiting")

    def picture(self, check: CheckResult, name: str, data: bytes | None = None) -> bytes:
        data = png_bytes(np.full((4, 4, 3), len(name), np.uint8)) if data is None else data
        self.results.keep_pictures(self.results.location(check).path, {f"{name}.png": data})
        return data


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(interactive, "_is_terminal", lambda: True)
    return Project(tmp_path)


def review(keys: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["review", *options], input=keys, catch_exceptions=False)


def test_a_group_is_shown_before_its_checks(project):
    text = review("q").output
    assert text.startswith(
        "weights at conv (Conv2d): 3 checks of 3 tests\n"
        "  output    off by 0.025\n"
        "  tests     test_net.py::test_a, test_net.py::test_b, test_net.py::test_c\n\n"
        "1 of 5  test_net.py::test_a\n"
        "n drifted for weights\n"
        "  error     0.05\n"
        "  accept    modelviz accept --run R test_net.py::test_a\n"
        f"{KEYS}A/R/S all 3 left of this group  d details  q quit\n"
    )
    assert text.endswith("q quit\n5 still waiting\n")
    assert project.accepted() == ""


def test_each_check_is_decided_by_its_key(project):
    done = review("arsaa")
    assert done.exit_code == 0
    assert project.accepted() == "ade"
    assert project.waiting() == "c"
    order = [line for line in done.output.splitlines() if " of 5  " in line]
    assert order == [f"{number} of 5  test_net.py::test_{test}" for number, test in enumerate("abcde", 1)]
    assert "accepted   test_net.py::test_a  n  baselines/test_net/test_a/n.json\n" in done.output
    assert "rejected   test_net.py::test_b  n  " in done.output
    assert "without a baseline: 1 check\n" in done.output
    assert done.output.endswith("3 accepted, 1 rejected, 1 still waiting\n")


@pytest.mark.parametrize(
    ("keys", "accepted", "waiting"),
    [
        ("Aq", "abc", "de"),
        ("rAq", "bc", "de"),
        ("Rq", "", "de"),
        ("sRaA", "d", "ae"),
        ("Asss", "abc", "de"),
        ("aSa", "ad", "bce"),
    ],
)
def test_a_group_is_decided_at_once(project, keys, accepted, waiting):
    review(keys)
    assert (project.accepted(), project.waiting()) == (accepted, waiting)


@pytest.mark.parametrize("key", "ARS")
def test_checks_of_a_group_decided_at_once_are_counted(project, key):
    assert f"4 of 5  test_net.py::test_d{chr(10)}" in review(f"s{key}q").output


def test_other_keys_do_nothing(project):
    text = review("xo\x1b\rAq").output
    assert text.count(KEYS) == 6
    assert project.accepted() == "abc"


def test_the_last_of_a_group_and_a_single_check_have_no_group_to_decide(project):
    assert review("ssAsRq").output.count("A/R/S all") == 2
    assert project.accepted() == ""


@pytest.mark.parametrize("end", ["", "\x00"])
def test_an_interrupt_leaves_what_was_decided(project, monkeypatch, end):
    keys = iter("aa")

    def getchar() -> str:
        key = next(keys, None)
        if key is None:
            raise (KeyboardInterrupt if end else EOFError)
        return key

    monkeypatch.setattr(click, "getchar", getchar)
    text = CliRunner().invoke(main, ["review"], catch_exceptions=False).output
    assert text.endswith("interrupted: all decisions made so far stand\n2 accepted, 3 still waiting\n")
    assert project.accepted() == "ab"


def test_the_end_of_the_input_is_an_interrupt(project):
    assert review("a").output.endswith("interrupted: all decisions made so far stand\n1 accepted, 4 still waiting\n")


def test_an_interrupt_waits_until_a_decision_is_whole(project, monkeypatch):
    replaced, before = Store.replace_if_unchanged, signal.getsignal(signal.SIGINT)

    def interrupted(self, *arguments, **keywords) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        replaced(self, *arguments, **keywords)

    monkeypatch.setattr(Store, "replace_if_unchanged", interrupted)
    text = review("A").output
    assert text.endswith("interrupted: all decisions made so far stand\n1 accepted, 4 still waiting\n")
    assert project.accepted() == "a"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_refusal_is_shown_and_the_review_goes_on(project):
    project.baselines.save(
        Location.of("test_net.py::test_b", "n"), capture(3.0), nodeid="test_net.py::test_b", name="n"
    )
    done = review("Aaq")
    assert "refused    test_net.py::test_b  n  its baseline has changed since it was compared: run" in done.output
    assert project.accepted() == "acd"
    assert done.output.endswith("3 accepted, 1 refused, 2 still waiting\n")
    assert done.exit_code == 1


def test_a_drift_of_a_test_that_may_fail_is_accepted_only_where_it_is_shown(project):
    project.checks = [project.check(test, expected_failure=True) for test in "ab"]
    project.write()
    text = review("A").output
    assert "1 of 2  test_net.py::test_a  (xfail)\n" in text
    assert "left       test_net.py::test_b  n  its test is expected to fail (xfail)" in text
    assert text.endswith("1 accepted, 1 still waiting\n")
    assert project.accepted() == "a"


def test_what_several_runs_captured_differently_is_refused(project):
    folders = [ResultsFolder(project.root / f"ci/{name}") for name in "xy"]
    for value, folder in enumerate(folders, 2):
        project.checks = [project.check("a", value=float(value), folder=folder)]
        project.write(folder, run=folder.root.name)
    text = review("aa", "--from", "ci").output
    assert text.count("refused    test_net.py::test_a  n  runs x and y captured it differently: choose one") == 2
    assert "1 of 2  test_net.py::test_a  run x\n" in text
    assert project.accepted() == ""
    assert "1 of 1  " in review("a", "--from", "ci", "--run", "x").output
    assert project.accepted() == "a"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (("test_net.py::test_b",), "b"),
        (("--group", "input@conv"), "d"),
        (("--check", "n"), "abcde"),
        (("--run", "R"), "abcde"),
        (("--from", ".modelviz", "--group", "weights@conv"), "abc"),
    ],
)
def test_options_choose_what_is_asked(project, options, asked):
    lines = review("s" * 5, *options).output.splitlines()
    assert [line.split("  ")[1][-1] for line in lines if line[1:5] == " of "] == list(asked)


def test_nothing_waits(project):
    review("AAA")
    assert review("").output.endswith("2 still waiting\n")
    review("aa")
    assert review("").output == "nothing to review\n"
    assert review("", "--group", "x").exit_code == 1


def test_details_are_all_that_is_known(project):
    check = project.checks[0]
    layers: Sequence[dict] = [
        {"layer": "conv", "call": 0, "error": 0.05, "tolerance": 0.0001},
        {"layer": "", "call": 2, "error": None, "tolerance": 0.1},
        {"layer": "early", "call": 0, "error": 0.0, "tolerance": 0.0001},
        {"layer": "a\n::error::no", "error": "x", "tolerance": True},
        {"layer": "modelviz accept evil", "error": 0.0, "tolerance": 0.0},
        {"layer": 5},
    ]
    about = {**check.to_json(), "message": "n drifted\n  evidence  everything\n  accept    modelviz accept evil"}
    project.results.details.keep(project.results.location(check).path, {"check": about, "layers": layers})
    text = review("dsdq").output
    shown = text.partition("q quit\n")[2].partition(KEYS)[0]
    assert shown == (
        "n drifted\n  evidence  everything\n  accept    modelviz accept --run R test_net.py::test_a\n"
        "  layers    each with its error, and what is allowed\n"
        "  ! 0.05      0.0001    conv\n"
        "  ! inf       0.1       the model itself, call 2\n"
        "  = 0         0.0001    early\n"
        "  = inf       inf       a\\n::error::no\n"
        "  (a line that holds a command is left out)\n"
    )
    assert "no details of this check were kept\n" in text  # of the second


def test_details_of_another_capture_are_not_shown(project):
    check = project.checks[0]
    about = {**check.to_json(), "candidate_sha256": "0" * 64, "message": "n drifted otherwise"}
    project.results.details.keep(project.results.location(check).path, {"check": about, "layers": []})
    text = review("dq").output
    assert "otherwise" not in text
    assert "no details of this check were kept\n" in text


def test_pictures_are_opened_one_after_the_other(project, monkeypatch):
    opened = []
    monkeypatch.setattr(click, "launch", lambda path: opened.append(Path(path).read_bytes()) or len(opened) == 3)
    check, other, stranger = project.checks[:3]
    location = project.results.location(check).path
    pictures = {f"{number}.png": png_bytes(np.full((4, 4, 3), number, np.uint8)) for number in range(2)}
    project.results.keep_pictures(location, pictures)
    project.picture(other, "script", b"#!/bin/sh\n")
    link = project.results.pictures / project.results.location(stranger).path / "link.png"
    link.parent.mkdir(parents=True)
    (project.root / "secret.png").write_bytes(pictures["0.png"])
    link.symlink_to(project.root / "secret.png")
    text = review("ooosososq").output
    assert opened == [pictures["0.png"], pictures["1.png"], pictures["0.png"]]
    assert text.count("  picture   .modelviz/pictures/") == 4
    assert text.count("nothing here opens pictures: ") == 1
    assert "the picture is no PNG file, and is not opened\n" in text
    assert "the picture cannot be read: link.png leads out of " in text


def test_names_of_strangers_are_quoted_and_end_no_line(project):
    layer = "modelviz accept x.py::y"
    project.checks = [project.check("a", layer=layer), project.check("b", layer="a\n::error::no")]
    project.write()
    lines = review("sq", "--from", ".modelviz").output.splitlines()
    assert f"weights at '{layer}' (Conv2d): 1 check of 1 test" in lines
    assert all(line.isprintable() and not line.startswith("::") for line in lines)


def test_without_a_terminal_it_says_what_to_use(project, monkeypatch):
    monkeypatch.undo()
    done = CliRunner().invoke(main, ["review"], input="a")
    assert done.exit_code == 1
    assert "needs a terminal: elsewhere, use modelviz show and modelviz accept" in done.output


@pytest.mark.parametrize("key", "arAR")
def test_what_another_run_has_captured_meanwhile_is_neither_accepted_nor_rejected(project, monkeypatch, key):
    """It was never shown."""

    def pressed() -> str:
        for test in "abc":
            project.check(test, value=3.0)
        return key

    monkeypatch.setattr(click, "getchar", pressed)
    project.checks = project.checks[:3]
    project.write()
    done = CliRunner().invoke(main, ["review"], catch_exceptions=False)
    assert done.exit_code == 1
    refused = [line for line in done.output.splitlines() if "replaced since these results were read" in line]
    assert len(refused) == 3
    assert project.accepted() == ""
    candidates = project.results.stored_candidates
    loaded = [
        candidates.load(Location.of(check.nodeid, "n"), nodeid=check.nodeid, name="n") for check in project.checks
    ]
    assert [stored.capture.facts["peak"] for stored in loaded] == [3.0] * 3
