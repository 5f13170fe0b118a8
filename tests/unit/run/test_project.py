"""Which folder is the project, and what its configuration says, as pytest finds them."""

from pathlib import Path

import pytest

from pytest_modelviz.run.project import find_project, pytest_root, results_folders

SETTING = "modelviz_baseline_dir"


def configured(path: Path, text: str) -> str | None:
    """What a file in a folder of its own says of the baselines; `none` where it configures nothing of pytest."""
    path.write_text(text)
    project = find_project(path.parent / "inner/deep")
    return project.setting("--modelviz-baseline-dir") if project.root == path.parent else "none"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outer/inner/deep").mkdir(parents=True)
    (tmp_path / "pytest.ini").touch()
    return tmp_path / "outer"


@pytest.mark.parametrize("name", ["pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"])
@pytest.mark.parametrize("text", ["", "[other]\n", "no [section"])
def test_a_file_of_pytest_s_own_counts_whatever_it_says(folder, name, text):
    assert configured(folder / name, text) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", f"[pytest]\n{SETTING} = shots"),
        (".pytest.ini", f"[pytest]\n{SETTING} = shots"),
        ("pytest.toml", f'[pytest]\n{SETTING} = "shots"'),
        (".pytest.toml", f'[pytest]\n{SETTING} = "shots"'),
        ("tox.ini", f"[pytest]\n{SETTING} = shots"),
        ("setup.cfg", f"[tool:pytest]\n{SETTING} = shots"),
        ("pyproject.toml", f'[tool.pytest.ini_options]\n{SETTING} = "shots"'),
        ("pyproject.toml", f'[tool.pytest]\n{SETTING} = "shots"'),
        ("pytest.ini", "[pytest]\naddopts = --modelviz-baseline-dir=shots"),
        ("pytest.ini", f"[pytest]\naddopts = -q --modelviz-baseline-dir shots\n{SETTING} = others"),
        ("pyproject.toml", '[tool.pytest]\naddopts = ["-q", "--modelviz-baseline-dir", "shots"]'),
    ],
)
def test_each_kind_of_file_can_name_the_baselines(folder, name, text):
    assert configured(folder / name, text) == "shots"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tox.ini", f"[tox]\n{SETTING} = shots"),
        ("setup.cfg", f"[pytest]\n{SETTING} = shots"),
        ("pyproject.toml", "[tool.black]\n"),
        ("pyproject.toml", "[tool"),
        ("pytest.cfg", f"[pytest]\n{SETTING} = shots"),
    ],
)
def test_a_file_of_others_counts_only_if_it_has_pytest_s_section(folder, name, text):
    assert configured(folder / name, text) == "none"
    assert find_project(folder).root == folder.parent


def test_the_closest_configuration_counts(folder):
    (folder / "pytest.ini").touch()
    assert find_project(folder / "inner/deep").root == folder
    (folder / "inner/tox.ini").write_text(f"[pytest]\n{SETTING} = shots\n")
    assert find_project(folder / "inner/deep").root == folder / "inner"


def test_of_one_folder_the_file_that_pytest_reads_first_counts(folder):
    for name, text in (("tox.ini", f"[pytest]\n{SETTING} = a"), ("pytest.toml", f'[pytest]\n{SETTING} = "b"')):
        (folder / name).write_text(text)
    assert find_project(folder).setting("--modelviz-baseline-dir") == "b"


def test_without_a_configuration_signs_of_a_project_count(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    assert find_project(tmp_path / "a/b").root == tmp_path / "a/b"
    (tmp_path / "a/.modelviz").mkdir()
    (tmp_path / "a/.modelviz/results.json").touch()
    assert find_project(tmp_path / "a/b").root == tmp_path / "a"
    (tmp_path / "setup.py").touch()
    assert find_project(tmp_path / "a/b").root == tmp_path
    (tmp_path / "a/pyproject.toml").touch()
    assert find_project(tmp_path / "a/b").root == tmp_path / "a"


def test_the_root_that_pytest_takes_for_a_file(tmp_path):
    file = tmp_path / "a/b/test_net.py"
    assert pytest_root(file, tmp_path / "a/c") == tmp_path / "a"  # what the file and the current folder share
    (tmp_path / "setup.py").touch()
    assert pytest_root(file, tmp_path / "a/c") == tmp_path
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/pytest.ini").touch()
    assert pytest_root(file, tmp_path / "a/c") == tmp_path / "a/b"


def test_results_folders_are_found_in_a_folder_of_artifacts(tmp_path):
    """Six levels down; links are not followed, and what was not looked into is known."""
    for name in ("x", "a/.modelviz", "b/c/d/e/f/.modelviz", "b/c/d/e/f/g/.modelviz"):
        (tmp_path / "ci" / name).mkdir(parents=True)
        (tmp_path / "ci" / name / "results.json").touch()
    (tmp_path / "ci/y").symlink_to("a")
    found = [tmp_path / "ci" / name for name in ("a/.modelviz", "b/c/d/e/f/.modelviz", "x")]
    skipped = [tmp_path / "ci" / name for name in ("b/c/d/e/f/g/.modelviz", "y")]
    assert results_folders(str(tmp_path / "ci"), tmp_path) == (found, skipped)
    assert results_folders("ci", tmp_path) == (found, skipped)  # relative to the project's root
    assert results_folders(str(tmp_path / "ci/a"), tmp_path) == (found[:1], [])
    assert results_folders(str(found[2]), tmp_path) == (found[2:], [])
    nothing = tmp_path / "nothing"
    assert results_folders(str(nothing), tmp_path) == ([nothing], [])
