"""`modelviz accept`: what was reviewed becomes the baseline, whole, and nothing else does."""

import json
import re
import shutil

import pytest
from two_drifts import TWO, A, B, drift_two_checks, waiting

from pytest_modelviz.storage.formats import content_digest


@pytest.fixture
def drifted(project):
    return drift_two_checks(project)


class TestAccepting:
    def test_gives_the_same_bytes_as_an_update(self, drifted):
        before = drifted.files()
        done = drifted.modelviz("accept")
        assert done.exit_code == 0
        assert done.output.splitlines() == [
            f"accepted   {test}  feature_maps  baselines/test_net/test_net[{n}]/feature_maps.json"
            for test, n in ((A, "a"), (B, "b"))
        ]
        accepted = drifted.files()
        assert accepted != before
        drifted.run("--modelviz").assert_outcomes(passed=3)
        for name, data in before.items():
            (drifted.path / "baselines" / name).write_bytes(data)
        drifted.run_once("--modelviz-update")
        assert drifted.files() == accepted

    def test_what_is_missing(self, project):
        project.test(TWO)
        project.run("--modelviz")
        assert project.modelviz("accept", "test_net.py::*").output.count("accepted") == 5
        recorded = project.files()
        shutil.rmtree(project.path / "baselines")
        project.run_once("--modelviz-update")
        assert project.files() == recorded

    def test_only_what_is_named_brackets_included(self, drifted):
        drifted.modelviz("accept", A)
        assert waiting(drifted) == [B]
        drifted.run("--modelviz").assert_outcomes(failed=1, passed=2)

    @pytest.mark.parametrize(
        ("pattern", "accepted"),
        [("*", 2), ("test_net.py::test_net[[]*", 2), ("test_net.py::test_net?b?", 1), ("*[[]a]", 1)],
    )
    def test_globs(self, drifted, pattern, accepted):
        assert drifted.modelviz("accept", pattern).output.count("accepted") == accepted

    @pytest.mark.parametrize(
        ("patterns", "hint"),
        [
            (["nothing"], ""),
            ([A, "nothing"], ""),
            (["test_net.py"], "; did you mean 'test_net.py::*'?"),
            (["test_net[a]"], "; did you mean '*test_net[[]a]*'?"),
            (["test_net.py::test_net[*]"], "; did you mean 'test_net.py::test_net[[]*]'?"),
            (["test_net.py::test_other"], ""),  # it matched: there is nothing to accept
        ],
    )
    def test_a_pattern_that_matches_nothing_is_an_error_and_nothing_is_done(self, drifted, patterns, hint):
        before = drifted.files()
        done = drifted.modelviz("accept", *patterns)
        assert done.exit_code == 1
        wanted = f"Error: no test that drifted or had no baseline matches {patterns[-1]!r}{hint}\n"
        assert done.output == wanted
        assert drifted.files() == before

    def test_the_hint_works(self, drifted):
        assert drifted.modelviz("accept", "*test_net[[]a]*").exit_code == 0

    @pytest.mark.parametrize(
        ("command", "known_by"),
        [
            *(("accept", where) for where in ("baselines", "baselines of a variant", "another run", "candidates")),
            *((command, "baselines") for command in ("reject", "show", "list")),
        ],
    )
    def test_a_whole_id_that_this_run_has_not_seen_means_that_test_alone(self, project, command, known_by, tmp_path):
        """As a glob `test_net[1]` is `test_net1`, which has drifted in this shard."""
        project.test(
            "import pytest\nfrom net import *\n@pytest.mark.parametrize('n', [1])\n"
            "def test_net(feature_maps, n):\n    feature_maps(load(), photo())\n"
            "def test_net1(feature_maps):\n    feature_maps(load(), photo())\n"
        )
        options, variant = [], ["--modelviz-variant=cuda"] if "variant" in known_by else []
        project.run("--modelviz-update", *variant).assert_outcomes(passed=2)
        if "baselines" not in known_by:
            shutil.rmtree(project.path / "baselines/test_net/test_net[1]")
            project.run("--modelviz", "-k", "not test_net1").assert_outcomes(failed=1)
            shutil.move(project.path / ".modelviz", tmp_path / "other")
        project.fault("weight")
        project.run("--modelviz", "-k", "test_net1", *variant).assert_outcomes(failed=1)
        if known_by == "another run":
            options = ["--from", str(tmp_path / "other"), "--from", ".modelviz", "--run", project.results["run"]["id"]]
        elif known_by == "candidates":
            shutil.copytree(tmp_path / "other/candidates", project.path / ".modelviz/candidates", dirs_exist_ok=True)
        before, kept = project.files(), project.files(".modelviz/candidates")
        done = project.modelviz(command, "test_net.py::test_net[1]", *options)
        assert done.exit_code == 1
        assert re.fullmatch(r"Error: no test that .* matches 'test_net.py::test_net\[1\]'\n", done.output)
        assert (project.files(), project.files(".modelviz/candidates")) == (before, kept)
        assert project.modelviz("accept", "test_net.py::test_net1", *options).output.count("accepted ") == 1

    def test_a_baseline_that_has_changed_since_is_left_alone(self, drifted):
        path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
        document = json.loads(path.read_text())
        document["facts"]["model"] = "changed by a colleague"
        path.write_text(json.dumps({**document, "content_sha256": content_digest(document)}))
        colleague = path.read_bytes()
        done = drifted.modelviz("accept")
        assert done.exit_code == 1
        assert done.output.splitlines() == [
            f"refused    {A}  feature_maps  its baseline has changed since it was compared: "
            "run pytest --modelviz again",
            f"accepted   {B}  feature_maps  baselines/test_net/test_net[b]/feature_maps.json",
        ]
        assert path.read_bytes() == colleague

    def test_a_baseline_that_is_gone_or_new_since_is_left_alone(self, drifted):
        path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
        kept = {file: file.read_bytes() for file in path.parent.glob("feature_maps.*")}
        for file in kept:
            file.unlink()
        assert drifted.modelviz("accept", A).exit_code == 1
        assert not path.exists()
        drifted.run("--modelviz")  # now it is missing
        for file, data in kept.items():
            file.write_bytes(data)
        assert drifted.modelviz("accept", A).exit_code == 1
        assert {file: file.read_bytes() for file in kept} == kept

    def test_other_line_ends_are_no_change(self, drifted):
        path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert drifted.modelviz("accept", A).exit_code == 0

    def test_twice_is_told_and_does_nothing(self, drifted):
        drifted.modelviz("accept", A)
        before = drifted.files()
        done = drifted.modelviz("accept", A)
        assert (done.exit_code, done.output.split("  ")[0]) == (0, f"already accepted {A}")
        assert drifted.files() == before

    def test_what_cannot_be_read_is_refused(self, drifted):
        path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
        path.write_text("{")
        drifted.run("--modelviz")
        done = drifted.modelviz("accept", A)
        assert done.exit_code == 1
        assert "pytest --modelviz-update-all replaces such a one" in done.output
        assert path.read_text() == "{"

    @pytest.mark.parametrize("damage", ["json", "safetensors", "gone", "foreign", "link"])
    def test_a_candidate_that_is_not_whole_is_refused(self, drifted, damage, tmp_path):
        before = drifted.files()
        path = drifted.path / ".modelviz/candidates/test_net/test_net[a]/feature_maps.json"
        if damage == "json":
            path.write_text(path.read_text().replace("Conv2d", "Conv3d"))
        elif damage == "gone":
            path.unlink()
        elif damage == "foreign":
            for file in path.parent.iterdir():
                shutil.copy(path.parent.parent / "test_net[b]" / file.name, file)
        elif damage == "link":
            path.rename(tmp_path / "outside.json")
            path.symlink_to(tmp_path / "outside.json")
        else:
            path.with_suffix(".safetensors").write_bytes(b"x")
        done = drifted.modelviz("accept", A)
        assert done.exit_code == 1
        assert "refused" in done.output
        assert drifted.files() == before

    def test_a_folder_that_cannot_be_written_is_told(self, drifted):
        shutil.rmtree(drifted.path / "baselines/test_net")
        drifted.run("--modelviz")
        (drifted.path / "baselines/test_net").write_text("in the way")
        done = drifted.modelviz("accept", A)
        assert done.exit_code == 1
        assert "cannot write the baseline" in done.output

    def test_json(self, drifted):
        document = json.loads(drifted.modelviz("accept", "--json", A).output)
        (decision,) = document["decisions"]
        assert (decision["nodeid"], decision["name"], decision["done"]) == (A, "feature_maps", "accepted")

    def test_nothing_to_accept(self, project):
        project.test(TWO)
        project.run_once("--modelviz-update")
        done = project.modelviz("accept")
        assert (done.exit_code, done.output) == (0, "nothing to accept\n")


def test_a_whole_test_id_means_that_test_alone(project):
    project.test(
        "import pytest\nfrom net import *\n"
        "@pytest.mark.parametrize('n', [1, 2])\ndef test_net(n, model_summary): model_summary(load())\n"
        "def test_net1(model_summary): model_summary(load())\n"
    )
    project.run("--modelviz")
    done = project.modelviz("accept", "test_net.py::test_net[1]")
    assert done.output.splitlines() == [
        "accepted   test_net.py::test_net[1]  model_summary  baselines/test_net/test_net[1]/model_summary.json"
    ]
    project.run("--modelviz")  # now it matches, and is still no glob
    assert project.modelviz("accept", "test_net.py::test_net[1]").exit_code == 1
    assert not (project.path / "baselines/test_net/test_net1").exists()


def test_no_digest_in_results_switches_the_guard_off(drifted):
    path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
    document = json.loads(path.read_text())
    document["facts"]["model"] = "changed by a colleague"
    path.write_text(json.dumps({**document, "content_sha256": content_digest(document)}))
    results = drifted.path / ".modelviz/results.json"
    for digest in ("*", "", "unreadable", None):
        told = json.loads(results.read_text())
        for check in told["checks"]:
            check["baseline_sha256"] = digest
        results.write_text(json.dumps(told))
        assert drifted.modelviz("accept", A).exit_code == 1
        assert "changed by a colleague" in path.read_text()


@pytest.mark.parametrize("damage", [b"", b"version https://git-lfs", None])
def test_a_damaged_safetensors_file_is_no_accepted_candidate(drifted, damage):
    drifted.modelviz("accept")
    data = drifted.baseline("feature_maps.safetensors", "test_net/test_net[a]")
    data.unlink() if damage is None else data.write_bytes(damage)
    assert drifted.modelviz("accept", A).exit_code == 1
    drifted.run("--modelviz")
    done = drifted.modelviz("accept")
    assert (done.exit_code, "pytest --modelviz-update-all replaces such a one" in done.output) == (1, True)


def test_what_was_accepted_stays_so_when_its_candidate_is_gone(drifted):
    assert drifted.modelviz("accept", A).exit_code == 0
    shutil.rmtree(drifted.path / ".modelviz/candidates")
    rows = json.loads(drifted.modelviz("list", "--json").output)["checks"]
    assert [row["state"] for row in rows] == ["accepted", "gone"]
    assert drifted.modelviz("accept", A).output.startswith("already accepted")
    assert "its candidate is gone" in drifted.modelviz("accept", B).output


class TestExpectedFailures:
    """A drift in a test that is expected to fail is known: only who names it takes it for the baseline."""

    KNOWN = "test_net.py::test_known"

    @pytest.fixture
    def known(self, project):
        project.test(
            "import pytest\nfrom net import *\n@pytest.mark.xfail\ndef test_known(feature_maps):\n"
            "    feature_maps(load(), photo())\ndef test_other(feature_maps):\n    feature_maps(load(), photo())\n"
        )
        project.run_once("--modelviz-update").assert_outcomes(xpassed=1, passed=1)
        assert all("expected_failure" not in check for check in project.results["checks"])
        project.fault("weight")
        project.run_once("--modelviz").assert_outcomes(xfailed=1, failed=1)
        return project

    def test_are_told_apart(self, known):
        assert known.check_of(self.KNOWN, "feature_maps")["expected_failure"] is True
        first, second, counts = known.modelviz("list").output.splitlines()
        assert first.startswith(
            f"drift      {self.KNOWN}  feature_maps  (xfail)  output off by 0.3 %, top-1 kept: weights at conv2"
        )
        assert "xfail" not in second
        assert counts.startswith("2 waiting, 1 of them xfail; run ")
        assert f"{self.KNOWN}  (xfail)" in known.modelviz("show").output.splitlines()

    def test_are_left_by_a_bare_accept(self, known):
        before = known.baseline("feature_maps.json", "test_net/test_known").read_bytes()
        done = known.modelviz("accept")
        assert done.exit_code == 0
        assert [line.split()[0] for line in done.output.splitlines()] == ["left", "accepted"]
        assert f"left       {self.KNOWN}  feature_maps  its test is expected to fail (xfail)" in done.output
        assert known.baseline("feature_maps.json", "test_net/test_known").read_bytes() == before
        known.run("--modelviz").assert_outcomes(xfailed=1, passed=1)

    @pytest.mark.parametrize("pattern", [KNOWN, "*"])
    def test_are_accepted_by_name(self, known, pattern):
        assert known.modelviz("accept", pattern).output.startswith(f"accepted   {self.KNOWN}")
        known.run("--modelviz", "-k", "known").assert_outcomes(xpassed=1)

    def test_one_that_calls_xfail_itself(self, project):
        project.test(
            "import pytest\nfrom net import *\ndef test_known(feature_maps):\n"
            "    feature_maps(load(), photo())\n    pytest.xfail('known')\n"
        )
        project.run("--modelviz").assert_outcomes(xfailed=1)
        assert project.modelviz("accept").output.startswith("left ")
