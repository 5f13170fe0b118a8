"""Files of runs and tests in unusual places."""

import json
import shutil

import numpy as np
import pytest

from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.storage.formats import content_digest

TWO = (
    "from net import *\ndef test_a(feature_maps):\n    feature_maps(load(), photo())\n"
    "def test_b(model_summary):\n    model_summary(load())\n"
)


def test_the_last_run_s_candidates_and_results_are_forgotten(project):
    project.test(TWO)
    project.run("--modelviz")
    kept = project.path / ".modelviz/candidates/mine.txt"
    kept.write_text("not ours")
    assert len(project.files(".modelviz/candidates")) == 5
    project.run("--modelviz", "-k", "test_b")
    assert sorted(project.files(".modelviz/candidates")) == ["mine.txt", "test_net/test_b/model_summary.json"]
    assert [check["nodeid"] for check in project.results["checks"]] == ["test_net.py::test_b"]
    assert len(list((project.path / ".modelviz/runs").iterdir())) == 1


def test_collecting_alone_forgets_nothing(project):
    project.test()
    project.run("--modelviz")
    before = project.files(".modelviz")
    project.run("--modelviz", "--collect-only")
    assert project.files(".modelviz") == before


def test_a_damaged_results_file_is_no_obstacle(project):
    project.test()
    project.run_once("--modelviz-update")
    (project.path / ".modelviz/results.json").write_text('{"checks": [{"candidate": "../../net.py"}, 3]}')
    project.run("--modelviz").assert_outcomes(passed=1)
    assert (project.path / "net.py").exists()


def test_update_all_mends_what_was_lost_or_cut_off(project):
    project.test("from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n")
    project.run("--modelviz-update")
    before = project.files()
    data = project.baseline("feature_maps.safetensors")
    import hashlib

    staged = data.with_name(f".feature_maps.{hashlib.sha256(data.read_bytes()).hexdigest()[:16]}.safetensors")
    data.rename(staged)  # as a run killed in the middle of an update leaves it
    project.baseline("feature_maps.png").unlink()
    result = project.run("--modelviz")
    result.assert_outcomes(passed=1)
    (line,) = {line for line in project.check("feature_maps")["message"].split("\n") if "was cut off" in line}
    assert "commit none of it before pytest --modelviz-update-missing test_net.py::test_net" in line
    assert "was cut off" in result.stdout.str()
    project.run("--modelviz-update").assert_outcomes(passed=1)
    assert data.exists()
    assert not staged.exists()
    project.run("--modelviz-update-all").assert_outcomes(passed=1)
    assert project.files() == before


@pytest.mark.parametrize("damage", ["no picture", "half a picture", "another size", "a link to another"])
def test_update_all_makes_a_damaged_picture_anew(project, damage):
    project.test("from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n")
    project.run("--modelviz-update")
    before = project.files()
    picture = project.baseline("feature_maps.png")
    whole = picture.read_bytes()
    small = png_bytes(np.zeros((2, 2, 3), np.uint8))
    if damage == "a link to another":
        (project.path / "other.png").write_bytes(small)
        picture.unlink()
        picture.symlink_to(project.path / "other.png")
    else:
        damaged = {"no picture": b"<script>", "half a picture": whole[: len(whole) // 2], "another size": small}
        picture.write_bytes(damaged[damage])
    project.run("--modelviz-update-all").assert_outcomes(passed=1)
    assert project.files() == before
    assert damage != "a link to another" or (project.path / "other.png").read_bytes() == small


def test_what_this_version_does_not_know_is_no_part_of_what_is_recorded_next(project):
    """A newer version's key, or a stranger's: compared with nothing, so that it is ignored, and dropped."""
    project.test("from net import *\ndef test_net(model_summary):\n    model_summary(load())\n")
    project.run("--modelviz-update")
    before, path = project.files(), project.baseline("model_summary.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "approved_by": "everybody"}))
    changed = project.files()
    for option in ("--modelviz", "--modelviz-update"):
        project.run(option).assert_outcomes(passed=1)
        assert project.files() == changed
    project.run("--modelviz-update-all").assert_outcomes(passed=1)
    assert project.files() == before


def test_tests_outside_of_rootdir_do_not_share_baselines(project):
    for folder in ("one", "two"):
        (project.path / folder).mkdir()
        (project.path / folder / "test_same.py").write_text(
            f"from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo() * {len(folder)})\n"
        )
        (project.path / folder / "__init__.py").write_text("")
    (project.path / "root").mkdir()
    options = ("--rootdir=root", "one/test_same.py", "two/test_same.py")
    project.run("--modelviz-update", *options).assert_outcomes(passed=2)
    project.run("--modelviz", *options).assert_outcomes(passed=2)
    assert len(list((project.path / "root/baselines").rglob("*.json"))) == 2


def test_the_printed_command_works_in_the_folder_where_pytest_was_started(project, monkeypatch):
    (project.path / "below").mkdir()
    (project.path / "below/test_net.py").write_text(
        "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"
    )
    project.pytester.makeini("[pytest]\n")
    monkeypatch.chdir(project.path / "below")
    options = ("--modelviz-baseline-dir=shots", "--modelviz-rtol=1e-3")
    result = project.run("--modelviz", *options)
    result.stdout.fnmatch_lines(
        [
            "  record it: modelviz accept --run * --baseline-dir shots below/test_net.py::test_net, or "
            "pytest --modelviz-update-missing --modelviz-baseline-dir=shots --modelviz-rtol=1e-3 test_net.py::test_net"
        ]
    )
    line = next(line for line in result.outlines if line.startswith("  record it:"))  # CI shows it twice
    accept, _, record = line.removeprefix("  record it: ").partition(", or ")
    assert project.modelviz(*accept.split()[1:]).exit_code == 0
    project.run("--modelviz", *options).assert_outcomes(passed=1)
    shutil.rmtree(project.path / "shots")
    project.run(*record.split()[1:]).assert_outcomes(passed=1)
    project.run("--modelviz", *options).assert_outcomes(passed=1)


def test_a_run_that_is_broken_off_keeps_its_drift(project):
    project.test(
        "from net import *\nimport pytest\ndef test_net(feature_maps):\n"
        "    feature_maps(load(), photo())\n    pytest.exit('enough')\n"
    )
    project.run("--modelviz")
    assert project.statuses() == {"feature_maps": "missing"}


def test_names_cannot_command_the_terminal(project):
    project.test("from net import *\ndef test_net(model_summary):\n    model_summary(load())\n")
    project.run_once("--modelviz-update")
    path = project.baseline("model_summary.json")
    text = path.read_text().replace('"ReLU"', '"\\u001b[2JReLU\\nfake"')
    sealed = json.dumps({**json.loads(text), "content_sha256": content_digest(json.loads(text))})
    path.write_text(sealed)
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    assert "\x1b[2J" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*relu class: \\x1b[[]2JReLU\\nfake -> ReLU"])


def test_it_does_without_other_plugins(project):
    project.test()
    assert project.run("--modelviz-update", "-p", "no:terminal").ret == 0  # and always without cacheprovider
    assert set(project.statuses().values()) == {"recorded"}


def test_ini_values_of_the_wrong_type_are_named(project):
    project.test()
    for line in ("modelviz = maybe", "modelviz_rtol = much", "modelviz_atol = -1"):
        project.pytester.makeini(f"[pytest]\n{line}\n")
        result = project.run()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: modelviz: {line.partition(' ')[0]} *"])


def test_warnings_as_errors_are_survived_also_by_a_map_of_nan(project):
    project.test(
        "from net import *\ndef test_net(feature_maps, cam_map):\n"
        "    import numpy\n    numpy.seterr(all='raise')\n"
        "    feature_maps(load(), photo() * float('nan'))\n    cam_map(load(), photo() * float('nan'), target=1)\n"
    )
    with np.errstate():  # what the inner run sets is not for the tests after this one
        project.run("--modelviz-update", "-W", "error").assert_outcomes(passed=1)
        result = project.run("--modelviz", "-W", "error")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "test_net.py::test_net cam_map: match",
            "  note      49 of the map's 49 values at conv2 are not finite",
            "2 match; details in *",
        ]
    )


def test_a_check_that_is_marked_not_to_be_compared_is_counted_without_advice(project):
    project.test(
        "from net import *\nimport pytest\n@pytest.mark.modelviz(compare=False)\n"
        "def test_net(model_summary):\n    model_summary(load())\n"
    )
    result = project.run("--modelviz")
    assert "1 check not compared" in result.outlines


class TestLinks:
    """Whatever a checkout or an archive brings: what a run writes into its results folder stays in there."""

    @pytest.fixture(autouse=True)
    def _recorded(self, project):
        project.test()
        project.run_once("--modelviz-update")

    @pytest.mark.parametrize("folder", ["candidates", "pictures", "pruned", "tensorboard", "unfinished"])
    @pytest.mark.parametrize("fault", ["", "weight"])
    def test_a_linked_folder_of_the_results_ends_the_run_before_it_begins(self, project, folder, fault):
        before = project.files()
        shutil.rmtree(project.path / ".modelviz")
        (project.path / ".modelviz").mkdir()
        (project.path / ".modelviz" / folder).symlink_to("../baselines")
        project.fault(fault)
        result = project.run("--modelviz")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: modelviz: *.modelviz/{folder} is a symbolic link: remove it*"])
        assert project.files() == before

    def test_links_that_make_one_of_two_folders(self, project):
        before = project.files()
        shutil.rmtree(project.path / ".modelviz")
        (project.path / ".modelviz").symlink_to("baselines")
        result = project.run("--modelviz")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: modelviz: --modelviz-results-dir takes a folder of its own*"])
        assert project.files() == before

    def test_a_link_in_place_of_gitignore_is_not_followed(self, project, tmp_path_factory):
        outside = tmp_path_factory.mktemp("outside") / "file"
        shutil.rmtree(project.path / ".modelviz")
        (project.path / ".modelviz").mkdir()
        (project.path / ".modelviz/.gitignore").symlink_to(outside)
        project.run("--modelviz").assert_outcomes(passed=1)
        assert not outside.exists()

    def test_a_link_in_place_of_the_baselines_is_read_and_not_written_through(self, project, tmp_path_factory):
        """A checkout may bring it; whoever names the folder knows of it."""
        outside = tmp_path_factory.mktemp("outside") / "baselines"
        (project.path / "baselines").rename(outside)
        (project.path / "baselines").symlink_to(outside)
        project.run("--modelviz").assert_outcomes(passed=1)
        project.run("--modelviz-update").assert_outcomes(passed=1)  # nothing is to be written
        before = project.files()
        project.fault("weight")
        result = project.run("--modelviz-update")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["E*baselines is a symbolic link, and nothing is written or removed through a link*"]
        )
        assert project.files() == before
        project.run("--modelviz-update", "--modelviz-baseline-dir=baselines").assert_outcomes(passed=1)
        assert project.files() != before

    def test_the_results_may_lie_elsewhere_altogether(self, project, tmp_path_factory):
        shutil.rmtree(project.path / ".modelviz")
        (project.path / ".modelviz").symlink_to(tmp_path_factory.mktemp("scratch"))
        project.pytester.makeini("[pytest]\nmodelviz_results_dir = .modelviz\n")  # somebody has named it
        project.fault("weight")
        project.run("--modelviz").assert_outcomes(failed=1)
        assert project.modelviz("accept").exit_code == 0


def test_a_picture_that_cannot_be_replaced_is_told_as_it_is(project):
    project.test("from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n")
    project.run("--modelviz-update")
    picture = project.baseline("feature_maps.png")
    picture.unlink()
    picture.mkdir()
    project.fault("weight")
    result = project.run("--modelviz-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was written, but not everything beside it (Is a directory): remove what is*"])
    project.run("--modelviz").assert_outcomes(passed=1)
    picture.rmdir()
    project.run("--modelviz-update-all").assert_outcomes(passed=1)
    assert picture.is_file()


def test_results_are_not_written_through_a_link_that_nobody_has_named(project, tmp_path_factory):
    """A checkout may bring `.modelviz` as a link; what lies behind it is not this run's to replace or remove."""
    project.test(TWO)
    outside = tmp_path_factory.mktemp("outside")
    for name in ("results.json", "report.html", "runs/x.json"):
        (outside / name).parent.mkdir(exist_ok=True)
        (outside / name).write_text('{"of": "somebody else"}')
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    (project.path / ".modelviz").symlink_to(outside)
    result = project.run("--modelviz")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*.modelviz is a symbolic link, which may have come with the project: *"])
    for command in ("list", "show", "accept", "reject", "orphans", "prune", "report"):
        done = project.modelviz(command)
        assert (done.exit_code, "is a symbolic link" in done.output) == (1, True)
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
    named = project.run(f"--modelviz-results-dir={project.path / '.modelviz'}", "--modelviz")
    assert named.ret == pytest.ExitCode.USAGE_ERROR
    named.stderr.fnmatch_lines(["*.modelviz holds files that no run of this plugin wrote*"])
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
    shutil.rmtree(outside)
    outside.mkdir()
    project.run(f"--modelviz-results-dir={project.path / '.modelviz'}", "--modelviz").assert_outcomes(failed=2)
    assert project.modelviz("list", "--from", ".modelviz").output.startswith("missing ")
