"""Baselines as checkouts and build tools bring them: through links, ignored by git, from an earlier version."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pytest_modelviz.storage.names import Location

pytestmark = pytest.mark.unwatched

FEATURES = "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"


@pytest.fixture
def recorded(project):
    project.test(FEATURES)
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    return project


def link_away(path: Path, outside: Path) -> None:
    """Put a file or folder somewhere else, and a link in its place."""
    outside.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, outside)
    path.symlink_to(outside)


class TestLinks:
    def test_linked_files_are_compared_accepted_and_replaced(self, recorded, tmp_path_factory):
        cache = tmp_path_factory.mktemp("cache")
        for path in list((recorded.path / "baselines/test_net/test_net").iterdir()):
            link_away(path, cache / path.name)
        before = {path.name: path.read_bytes() for path in cache.iterdir()}
        recorded.run("--modelviz").assert_outcomes(passed=1)
        recorded.fault("weight")
        recorded.run("--modelviz").assert_outcomes(failed=1)
        assert recorded.statuses() == {"feature_maps": "drift"}
        assert recorded.modelviz("accept").exit_code == 0
        recorded.run("--modelviz").assert_outcomes(passed=1)
        assert {path.name: path.read_bytes() for path in cache.iterdir()} == before
        assert not [path for path in (recorded.path / "baselines").rglob("*") if path.is_symlink()]

    @pytest.mark.parametrize("folder", ["test_net", "test_net/test_net"])
    def test_a_linked_folder_is_compared_and_not_written_and_the_advice_is_true(
        self, recorded, tmp_path_factory, folder
    ):
        outside = tmp_path_factory.mktemp("cache") / "there"
        link = recorded.path / "baselines" / folder
        link_away(link, outside)
        before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
        recorded.run("--modelviz").assert_outcomes(passed=1)
        recorded.run("--modelviz-update-all").assert_outcomes(passed=1)
        recorded.fault("weight")
        for accepting in (False, True):
            told = recorded.run("--modelviz" if accepting else "--modelviz-update").stdout.str()
            told = recorded.modelviz("accept").output if accepting else told
            assert "is a symbolic link, and nothing is written or removed through a link. Put a real folder" in told
            assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
        link.unlink()
        shutil.copytree(outside, link)
        assert recorded.modelviz("accept").exit_code == 0
        recorded.run("--modelviz").assert_outcomes(passed=1)
        assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before

    def test_baselines_that_are_a_link_as_a_whole(self, recorded, tmp_path_factory):
        """Whoever has set that up names the folder; see TestLinks in test_files.py for everybody else."""
        link_away(recorded.path / "baselines", tmp_path_factory.mktemp("cache") / "there")
        recorded.run("--modelviz").assert_outcomes(passed=1)
        recorded.pytester.makeini("[pytest]\nmodelviz_baseline_dir = baselines\n")
        recorded.fault("weight")
        recorded.run("--modelviz-update").assert_outcomes(passed=1)
        recorded.run("--modelviz").assert_outcomes(passed=1)

    def test_what_was_not_fetched_is_not_recorded_anew(self, recorded, tmp_path_factory):
        outside = tmp_path_factory.mktemp("cache") / "there"
        link_away(recorded.path / "baselines/test_net", outside)
        shutil.rmtree(outside)
        for option in ("--modelviz", "--modelviz-update", "--modelviz-update-missing"):
            result = recorded.run(option)
            result.assert_outcomes(failed=1)
            result.stdout.fnmatch_lines(["*is a symbolic link to *, which is not there: fetch what it leads to*"])
            assert recorded.statuses() == {"feature_maps": "unreadable"}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
class TestGit:
    @pytest.fixture
    def ignoring(self, project):
        subprocess.run(["git", "init", "--quiet"], cwd=project.path, check=True)
        (project.path / ".gitignore").write_text("*.safetensors\n")
        project.test(FEATURES)
        return project

    WARNING = (
        "git ignores baselines/test_net/test_net/feature_maps.safetensors (by '*.safetensors' in .gitignore, line 1), "
        "so that a clone lacks what was recorded: write the line !baselines/** at the end of .gitignore"
    )

    def test_a_run_that_records_warns_and_the_advice_is_true(self, ignoring):
        assert self.WARNING in ignoring.run_once("--modelviz-update").outlines
        assert "git ignores" not in ignoring.run("--modelviz").stdout.str()
        (ignoring.path / ".gitignore").write_text("*.safetensors\n!baselines/**\n")
        shutil.rmtree(ignoring.path / "baselines")
        assert "git ignores" not in ignoring.run_once("--modelviz-update").stdout.str()

    def test_so_does_accept_beside_its_output(self, ignoring):
        ignoring.run("--modelviz")
        done = ignoring.modelviz("accept", "--json")
        assert self.WARNING in done.stderr
        assert json.loads(done.stdout)["decisions"][0]["done"] == "accepted"

    def test_once_for_all_workers(self, ignoring):
        ignoring.with_numbers()
        ignoring.test("".join(f"def {name}(numbers): numbers(1)\n" for name in ("test_net", "test_two")))
        result = ignoring.run_apart("--modelviz-update", "-n2")
        (told,) = [line for line in result.outlines if "git ignores" in line]
        assert "numbers.safetensors and 1 more (by" in told
        assert (ignoring.path / "baselines/.gitattributes").exists()

    def test_rules_are_written_by_what_records_and_nothing_else(self, ignoring):
        rules = ignoring.path / "baselines/.gitattributes"
        ignoring.run("--modelviz")
        assert not rules.parent.exists()
        ignoring.modelviz("accept")
        assert rules.exists()
        rules.unlink()
        ignoring.run("--modelviz")
        ignoring.run("--modelviz-update-all")  # nothing new
        assert not rules.exists()
        assert list((ignoring.path / ".modelviz").rglob(".gitattributes")) == []


class TestEarlierVersions:
    """What was recorded when capital letters got no hash."""

    TEST = (
        "import pytest\nfrom net import *\n@pytest.mark.parametrize('n', ['S', 's'])\n"
        "def test_net(feature_maps, n):\n    feature_maps(load(), photo() * len(n + 'x' * n.isupper()), name='Maps')\n"
    )

    @pytest.fixture
    def earlier(self, project):
        """A project whose baselines lie where the earlier version has put them."""
        project.test(self.TEST)
        project.run_once("--modelviz-update").assert_outcomes(passed=2)
        for n in "Ss":
            where = Location.of(f"test_net.py::test_net[{n}]", "Maps")
            for ending in ("json", "safetensors", "png"):
                old, new = (project.path / "baselines" / f"{path}.{ending}" for path in where.paths)
                new.parent.mkdir(exist_ok=True)
                old.rename(new)
        shutil.rmtree(project.path / "baselines/test_net/test_net[S]-6e1ddc6ff0", ignore_errors=True)
        return project

    def test_they_match_are_updated_in_place_and_accepted(self, earlier):
        before = earlier.files()
        assert set(before) == {
            f"test_net/test_net[{n}]/Maps.{end}" for n in "Ss" for end in ("json", "png", "safetensors")
        }
        for option in ("--modelviz", "--modelviz-update-all", "--modelviz-update"):
            earlier.run(option, "--modelviz-orphans=fail").assert_outcomes(passed=2)
            assert earlier.files() == before
        earlier.fault("weight")
        earlier.run("--modelviz").assert_outcomes(failed=2)
        assert earlier.modelviz("accept", "*[[]S]").exit_code == 0
        earlier.run_once("--modelviz-update").assert_outcomes(passed=2)
        assert set(earlier.files()) == set(before)
        earlier.run("--modelviz").assert_outcomes(passed=2)

    def test_they_are_orphans_and_pruned(self, earlier):
        earlier.test(self.TEST.replace("['S', 's']", "['s']"))
        earlier.run("--modelviz")
        (row,) = earlier.results["orphans"]
        assert row["baseline"] == "baselines/test_net/test_net[S]/Maps.json"
        assert earlier.modelviz("prune").output.count("removed") == 1
        assert {name.split("/")[1] for name in earlier.files()} == {"test_net[s]"}

    def test_a_variant_is_compared_with_the_common_one_and_accepted_beside_it(self, earlier):
        option = "--modelviz-variant=CUDA"
        earlier.run("--modelviz", option).assert_outcomes(passed=2)
        earlier.fault("weight")
        earlier.run("--modelviz", option).assert_outcomes(failed=2)
        done = earlier.modelviz("accept")
        assert (done.exit_code, done.output.count("accepted")) == (0, 2), done.output
        earlier.run("--modelviz", option).assert_outcomes(passed=2)


class TestSetuptools:
    """The remedy that the docs give, tried with setuptools itself."""

    PROJECT = '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "your-package"\nversion = "1"\n'

    def build(self, folder: Path) -> subprocess.CompletedProcess[str]:
        code = "import setuptools.build_meta as backend; backend.build_wheel('.')"
        return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)

    def test_it_builds_beside_baselines_with_the_lines_of_the_docs(self, tmp_path):
        pytest.importorskip("setuptools")
        for folder in ("your_package/sub", "baselines/test_net"):
            (tmp_path / folder).mkdir(parents=True)
        for package in ("your_package", "your_package/sub"):
            (tmp_path / package / "__init__.py").touch()
        (tmp_path / "pyproject.toml").write_text(self.PROJECT)
        assert "Multiple top-level packages discovered" in self.build(tmp_path).stderr
        page = (Path(__file__).parents[2] / "docs/baselines.md").read_text("utf-8")
        lines = page.partition("# pyproject.toml\n")[2].partition("```")[0]
        assert lines.count("\n") == 2
        (tmp_path / "pyproject.toml").write_text(self.PROJECT + lines)
        done = self.build(tmp_path)
        assert done.returncode == 0, done.stderr
        with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
            packed = {name.rpartition("/")[0] for name in wheel.namelist() if ".dist-info" not in name}
        assert packed == {"your_package", "your_package/sub"}
