"""What git does to baselines, tried with git itself: line ends, ignored files, rules that are written once."""

import concurrent.futures
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from repositories import Repository, made_repository

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.storage import git_calls
from pytest_modelviz.storage.git import ignored_warning
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

IDS = {"nodeid": "test_net.py::test_a", "name": "n"}
WHERE = Location.of(**IDS)
DATA = "test_net/test_a/n.safetensors"
RULES = "*.safetensors binary\n*.json text eol=lf\n*.png binary\n"

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def save(folder: Path, values: bytes) -> Path:
    """A baseline whose numbers are these bytes; returns its JSON file."""
    array = np.frombuffer(values, np.uint8)
    return Path(Store(folder).save(WHERE, Capture("v", {}, {"map": array}), **IDS, picture=b"\x89PNG\r\n\x1a\n"))


def load(folder: Path) -> bytes:
    return Store(folder).load(WHERE, **IDS).capture.arrays["map"].tobytes()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    return made_repository(tmp_path / "here", monkeypatch)


class TestAttributes:
    def test_the_first_recording_writes_them(self, tmp_path):
        save(tmp_path / "baselines", b"1")
        text = (tmp_path / "baselines/.gitattributes").read_text()
        assert text.endswith(RULES)

    @pytest.mark.parametrize("own", ["", "* -text\n"])
    def test_the_user_s_own_stay(self, tmp_path, own):
        (tmp_path / "baselines").mkdir()
        (tmp_path / "baselines/.gitattributes").write_text(own)
        save(tmp_path / "baselines", b"1")
        assert (tmp_path / "baselines/.gitattributes").read_text() == own

    def test_also_as_a_link(self, tmp_path):
        (tmp_path / "baselines").mkdir()
        (tmp_path / "baselines/.gitattributes").symlink_to(tmp_path / "nowhere")
        save(tmp_path / "baselines", b"1")
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.parametrize("other", ["test_net.py", "pyproject.toml", ".git/HEAD"])
    def test_a_folder_that_has_other_things_in_it_gets_none(self, tmp_path, other):
        """The rules would hold for those as well: `--modelviz-baseline-dir=tests`."""
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).touch()
        save(tmp_path, b"1")
        assert not (tmp_path / ".gitattributes").exists()

    def test_comparing_and_recording_the_same_write_none(self, tmp_path):
        save(tmp_path, b"1")
        (tmp_path / ".gitattributes").unlink()
        load(tmp_path)
        save(tmp_path, b"1")
        assert not (tmp_path / ".gitattributes").exists()

    def test_what_a_killed_process_left_is_removed(self, tmp_path):
        (tmp_path / ".gitattributes.123.tmp").touch()
        save(tmp_path, b"1")
        assert [path.name for path in tmp_path.glob(".gitattributes*")] == [".gitattributes"]

    def test_many_at_once(self, tmp_path):
        def record(number: int) -> None:
            ids = {"nodeid": f"t.py::test_{number}", "name": "n"}
            Store(tmp_path).save(Location.of(**ids), Capture("v", {}), **ids)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(record, range(40)))
        assert (tmp_path / ".gitattributes").read_text().endswith(RULES)
        assert list(tmp_path.glob(".gitattributes?*")) == []

    @pytest.mark.parametrize("rules", ["* text\n", "* text eol=crlf\n", "* text=auto eol=crlf\n*.safetensors text\n"])
    @pytest.mark.parametrize("options", [(), ("-c", "core.autocrlf=true")])
    def test_they_keep_git_from_damage(self, repository, rules, options):
        values = bytes(range(256)) * 20 + b"\r\n" * 5
        (repository.path / ".gitattributes").write_text(rules)
        save(repository.baselines, values)
        repository.commit()
        clone = repository.clone(*options)
        assert load(clone.baselines) == values
        (path,) = clone.baselines.rglob("n.png")
        assert path.read_bytes() == b"\x89PNG\r\n\x1a\n"

    def test_a_large_file_storage_stays_in_force(self, repository):
        """Its rules stand in the project's folder, and the ones written here add to them."""
        (repository.path / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
        save(repository.baselines, b"1")
        assert ": filter: lfs" in repository("check-attr", "filter", f"baselines/{DATA}")


class TestLineEndDamage:
    """A project without the rules, whose own make text of everything."""

    @pytest.fixture
    def without(self, repository):
        def project(rules: str, values: bytes) -> Repository:
            save(repository.baselines, values)
            (repository.baselines / ".gitattributes").unlink()
            (repository.path / ".gitattributes").write_text(rules)
            repository.commit()
            return repository

        return project

    def test_by_checkout_is_explained_and_the_advice_mends_it(self, without):
        values = bytes(256) + b"\n" * 7
        clone = without("* text\n", values).clone("-c", "core.autocrlf=true")
        with pytest.raises(
            UnreadableBaselineError, match=r"line endings on checkout .LF became CRLF.*say '(.*)'"
        ) as error:
            load(clone.baselines)
        assert "remove the file and check it out again" in str(error.value)
        (clone.baselines / ".gitattributes").write_text("*.safetensors binary\n")
        (clone.baselines / DATA).unlink()
        clone("checkout", "--", f"baselines/{DATA}")
        assert load(clone.baselines) == values

    @pytest.mark.parametrize("rules", ["* text\n", "* text eol=crlf\n"])
    def test_by_commit_is_explained(self, without, rules):
        clone = without(rules, bytes(256) + b"\r\n" * 3 + b"\n").clone()
        with pytest.raises(
            UnreadableBaselineError, match=r"3 bytes shorter than its header says.* on commit.*record it"
        ):
            load(clone.baselines)

    @pytest.mark.parametrize("rules", ["* text=auto\n", "*.txt text\n"])
    def test_none_is_none(self, without, rules):
        values = bytes(256) + b"\r\n\n"
        assert load(without(rules, values).clone("-c", "core.autocrlf=true").baselines) == values

    @pytest.mark.parametrize("end", [-1, -4, 100, 9, 0])
    def test_a_file_that_was_cut_off_is_not_called_so(self, tmp_path, end):
        save(tmp_path, bytes(1000))
        path = tmp_path / DATA
        path.write_bytes(path.read_bytes()[:end])
        with pytest.raises(UnreadableBaselineError) as error:
            load(tmp_path)
        assert "CRLF" not in str(error.value)

    def test_a_json_with_other_line_ends_matches(self, without):
        clone = without("*.json text eol=crlf\n", b"1").clone()
        (path,) = clone.baselines.rglob("n.json")
        assert b"\r\n" in path.read_bytes()
        assert load(clone.baselines) == b"1"


class TestIgnored:
    def warning(self, repository: Repository, written: Path) -> str:
        return ignored_warning(repository.baselines, [written], repository.path)

    def test_a_rule_for_files(self, repository):
        (repository.path / ".gitignore").write_text("# data\n*.safetensors\n")
        written = save(repository.baselines, b"1")
        assert self.warning(repository, written) == (
            f"git ignores baselines/{DATA} (by '*.safetensors' in .gitignore, line 2), so that a clone lacks what was "
            "recorded: write the line !baselines/** at the end of .gitignore"
        )

    @pytest.mark.parametrize("rule", ["*.safetensors", "*.json\n*.png", "test_*", "/baselines/test_net/", "**/n.*"])
    @pytest.mark.parametrize("below", [False, True])
    def test_the_advice_is_true(self, repository, rule, below):
        """Also where the project lies in a folder of the repository, and the rule stands above it."""
        project = repository.path / "sub" if below else repository.path
        (repository.path / ".gitignore").write_text(
            f"{rule.replace('/baselines', '/sub/baselines') if below else rule}\n"
        )
        written = save(project / "baselines", b"1")
        told = ignored_warning(project / "baselines", [written], project)
        assert "write the line !baselines/** at the end of .gitignore" in told
        with (project / ".gitignore").open("a") as file:
            file.write("!baselines/**\n")
        assert ignored_warning(project / "baselines", [written], project) == ""
        repository.commit()
        place = "sub/baselines" if below else "baselines"
        assert set(repository("ls-files", place).split()) >= {
            f"{place}/{path.relative_to(project / 'baselines').as_posix()}" for path in written.parent.iterdir()
        }

    @pytest.mark.parametrize("rule", ["baselines/", "baselines", "/*"])
    def test_a_rule_for_the_whole_folder(self, repository, rule):
        (repository.path / ".gitignore").write_text(f"{rule}\n")
        written = save(repository.baselines, b"1")
        assert f"(by {rule!r} in .gitignore, line 1)" in self.warning(repository, written)
        assert "take that rule out" in self.warning(repository, written)

    def test_a_rule_among_the_baselines(self, repository):
        written = save(repository.baselines, b"1")
        (repository.baselines / ".gitignore").write_text("*.png\n")
        assert "baselines/.gitignore, line 1), so" in self.warning(repository, written)
        assert "take that rule out" in self.warning(repository, written)

    def test_a_rule_of_this_clone_or_this_machine(self, repository):
        written = save(repository.baselines, b"1")
        (repository.path / ".git/info/exclude").write_text("*.safetensors\n")
        assert ".git/info/exclude, line 1" in self.warning(repository, written)

    def test_what_is_committed_already_or_not_ignored_is_no_matter(self, repository):
        written = save(repository.baselines, b"1")
        assert self.warning(repository, written) == ""
        repository.commit()
        (repository.path / ".gitignore").write_text("*.safetensors\n")
        assert self.warning(repository, written) == ""

    def test_names_of_all_kinds(self, repository):
        (repository.path / ".gitignore").write_text("*.safetensors\n")
        ids = {"nodeid": "test_é \n.py::test[a b]", "name": "-n"}
        written = Path(Store(repository.baselines).save(Location.of(**ids), Capture("v", {}), **ids))
        written.with_suffix(".safetensors").write_bytes(b"1")
        warning = self.warning(repository, written)
        assert warning.startswith("git ignores ")
        assert " more (by" not in warning

    @pytest.mark.parametrize("cloned", [True, False])
    def test_nothing_that_is_among_the_baselines_is_run(self, repository, tmp_path, cloned):
        """Of these files, which can be committed, git makes a repository, whose configuration names a command."""
        folder = repository.baselines if cloned else tmp_path / "apart"
        for name in ("objects", "refs"):
            (folder / name).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/main\n")
        configuration = f'bare = false\n\tworktree = .\n\tfsmonitor = "touch {tmp_path}/run; false"'
        (folder / "config").write_text(f"[core]\n\trepositoryformatversion = 0\n\t{configuration}\n")
        (repository.path / ".gitignore").write_text("*.safetensors\n")
        warning = ignored_warning(folder, [save(folder, b"1")], repository.path)
        assert warning.startswith("git ignores ") is cloned
        assert not (tmp_path / "run").exists()

    def test_a_linked_folder_of_baselines(self, repository, tmp_path):
        (repository.path / ".gitignore").write_text("*.safetensors\n")
        written = save(repository.baselines, b"1")
        (tmp_path / "link").symlink_to(repository.baselines)
        place = tmp_path / "link"
        warning = ignored_warning(place, [place / written.relative_to(repository.baselines)], repository.path)
        assert warning.startswith("git ignores ")
        assert " more (by" not in warning

    def test_nothing_is_said_where_git_cannot_tell(self, tmp_path, repository, monkeypatch):
        written = save(tmp_path / "baselines", b"1")
        assert ignored_warning(tmp_path / "baselines", [written], tmp_path) == ""  # no repository
        assert ignored_warning("memory://x", [written], tmp_path) == ""
        (repository.path / ".gitignore").write_text("*.safetensors\n")
        written = save(repository.baselines, b"1")
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "which", lambda name: None)  # no git
            assert self.warning(repository, written) == ""
        slow = tmp_path / "bin/git"
        slow.parent.mkdir()
        slow.write_text("#!/bin/sh\nexec sleep 60\n")
        slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(git_calls, "_SECONDS", 0.2)
        monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
        assert self.warning(repository, written) == ""
