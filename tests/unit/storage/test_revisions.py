"""Revisions of git repositories, and their files, read without a checkout. Tried with git itself."""

import hashlib
import os
import shutil
import subprocess

import pytest
from repositories import made_repository

from pytest_modelviz.errors import ModelvizError, OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.storage.git_tree import content_ids
from pytest_modelviz.storage.revisions import Repository

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    made = made_repository(tmp_path / "here", monkeypatch)
    made("symbolic-ref", "HEAD", "refs/heads/main")
    return made


def put(repository, name, data=b"x"):
    path = repository.baselines / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def committed(repository, name="t/a.json", data=b"x"):
    put(repository, name, data)
    repository.commit()


@pytest.fixture
def opened(repository):
    """The tree of the baselines at a revision; what git reads is closed at the end."""
    found = Repository.around(repository.path)
    with found.objects() as objects:
        yield lambda name="HEAD": found.tree(objects, found.revision(name), repository.baselines)


class TestNames:
    def test_a_branch_a_tag_and_an_id(self, repository):
        committed(repository)
        repository("tag", "first")
        commit = repository("rev-parse", "HEAD").strip()
        found = Repository.around(repository.path)
        assert found.revision("main").commit == found.revision("first").commit == commit
        assert found.revision("main").label == f"main ({commit[:10]})"
        assert found.revision(commit[:8]).label == commit[:8]

    @pytest.mark.parametrize("name", ["nothing", "HEAD~5", "HEAD:baselines", "--all", "-h", "", "a b", "main^{tree}"])
    def test_what_is_no_commit(self, repository, name):
        committed(repository)
        assert Repository.around(repository.path).revision(name) is None

    def test_what_means_several(self, repository):
        committed(repository)
        repository("update-ref", "refs/tags/main", "HEAD")
        repository("config", "core.warnAmbiguousRefs", "false")
        found = Repository.around(repository.path)
        with pytest.raises(ModelvizError, match=r"'main' is ambiguous .* name it in full, as refs/heads/"):
            found.revision("main")
        assert found.revision("refs/heads/main").label.startswith("refs/heads/main (")

    def test_no_repository(self, tmp_path):
        with pytest.raises(ModelvizError, match="is in no git repository: name two folders"):
            Repository.around(tmp_path)

    def test_no_git(self, repository, monkeypatch):
        monkeypatch.setenv("PATH", str(repository.path))
        with pytest.raises(ModelvizError, match="git is not installed"):
            Repository.around(repository.path)

    def test_a_repository_that_git_refuses(self, repository):
        (repository.path / ".git/HEAD").write_text("nonsense")
        with pytest.raises(ModelvizError, match=r"git cannot read the repository in .*: fatal: "):
            Repository.around(repository.path)


class TestMergeBase:
    def of(self, repository):
        return Repository.around(repository.path).merge_base()

    def test_where_a_branch_began(self, repository):
        committed(repository)
        began = repository("rev-parse", "HEAD").strip()
        repository("checkout", "--quiet", "-b", "branch")
        committed(repository, data=b"of the branch")
        repository("checkout", "--quiet", "main")
        committed(repository, data=b"of main, later")
        repository("checkout", "--quiet", "branch")
        base = self.of(repository)
        assert (base.commit, base.label) == (began, f"{began[:10]} (where HEAD has left main)")

    @pytest.mark.parametrize("name", ["origin/HEAD", "origin/main", "origin/master", "main", "master"])
    def test_with_whatever_the_main_branch_is_called(self, repository, name):
        committed(repository)
        repository("checkout", "--quiet", "-b", "branch")
        remote = f"refs/remotes/{name}" if name.startswith("origin") else f"refs/heads/{name}"
        repository("update-ref", remote, "HEAD")
        if name != "main":
            repository("branch", "--delete", "--force", "main")
        assert self.of(repository).label.endswith(f"(where HEAD has left {name})")

    @pytest.mark.parametrize("false", ["refs/heads/origin/HEAD", "refs/heads/origin/main", "refs/tags/origin/HEAD"])
    def test_with_no_branch_or_tag_that_is_called_as_the_main_branch(self, repository, false):
        committed(repository)
        began = repository("rev-parse", "HEAD").strip()
        repository("update-ref", "refs/remotes/origin/main", "HEAD")
        committed(repository, data=b"of the branch")
        repository("update-ref", false, "HEAD")
        assert self.of(repository).commit == began

    def test_no_main_branch(self, repository):
        committed(repository)
        repository("branch", "--move", "other")
        with pytest.raises(ModelvizError, match=r"has no branch origin/HEAD, .* or master: name the revision to"):
            self.of(repository)

    def test_no_commits(self, repository):
        with pytest.raises(ModelvizError, match="has no commits yet"):
            self.of(repository)

    def test_no_common_history(self, repository):
        committed(repository)
        repository("checkout", "--quiet", "--orphan", "branch")
        committed(repository, data=b"another beginning")
        with pytest.raises(ModelvizError, match="HEAD and main have no commit in common"):
            self.of(repository)

    @pytest.mark.parametrize("has_main", [True, False])
    def test_a_shallow_clone_says_how_to_deepen_it(self, repository, has_main):
        committed(repository)
        repository("checkout", "--quiet", "-b", "branch")
        for data in (b"1", b"2"):
            committed(repository, data=data)
        address = f"file://{repository.path}"
        repository("checkout", "--quiet", "main")
        branches = "--no-single-branch" if has_main else "--single-branch"
        clone = made_clone(repository, "--depth=1", "--branch=branch", branches, address)
        assert ("origin/main" in clone("branch", "--remotes")) == has_main
        with pytest.raises(ModelvizError) as caught:
            self.of(clone)
        assert "'git fetch --deepen=1000'" in str(caught.value)
        assert "'fetch-depth: 0'" in str(caught.value)
        assert ("this clone is shallow" in str(caught.value)) == has_main
        clone("fetch", "--quiet", "--unshallow", "origin", "main:refs/remotes/origin/main")
        assert self.of(clone).commit == repository("rev-parse", "main").strip()


def made_clone(repository, *options):
    path = repository.path.with_name("clone")
    repository("clone", "--quiet", *options, str(path))
    return type(repository)(path)


class TestFiles:
    def test_they_are_read_as_they_were(self, repository, opened):
        data = bytes(range(256)) + b"\r\n" * 3
        committed(repository, "t/ä b/n.safetensors", data)
        (repository.path / ".gitattributes").write_text(
            "* text eol=crlf working-tree-encoding=UTF-16 filter=no diff=no\n"
        )
        put(repository, "t/ä b/n.safetensors", b"of the working tree")
        assert opened().read("t/ä b/n.safetensors", 1000) == data
        assert opened().find(".safetensors") == ["t/ä b/n.safetensors"]
        assert list(opened().siblings("t/ä b/n.json")) == ["n.safetensors"]

    def test_many_one_after_the_other(self, repository, opened):
        for at in range(30):
            put(repository, f"t/{at}.json", b"%d\n" % at * at)
        repository.commit()
        tree = opened()
        assert [tree.read(f"t/{at}.json", 1000) for at in range(30)] == [b"%d\n" % at * at for at in range(30)]

    def test_an_earlier_revision(self, repository, opened):
        committed(repository, data=b"1")
        committed(repository, data=b"2")
        assert [opened(name).read("t/a.json", 9) for name in ("HEAD~1", "HEAD")] == [b"1", b"2"]
        short = repository("rev-parse", "HEAD~1")[:10]
        assert opened("HEAD~1").display_path("t/a.json") == f"{short}:baselines/t/a.json"

    def test_nothing_is_there(self, repository, opened):
        committed(repository)
        (repository.path / "other").touch()
        repository("rm", "--quiet", "-r", "baselines")
        repository.commit()
        assert opened().find(".json") == []
        with pytest.raises(FileNotFoundError):
            opened("HEAD~1").read("t/b.json", 9)

    def test_hidden_ones_are_not_found(self, repository, opened):
        for name in (".a.json", ".t/a.json", "t/.a.json", "t.d/a.json"):
            put(repository, name)
        repository.commit()
        assert opened().find(".json") == ["t.d/a.json"]

    def test_a_large_one_is_refused_before_it_is_read(self, repository, opened):
        committed(repository, data=b"12345")
        assert opened().read("t/a.json", 5) == b"12345"
        with pytest.raises(OversizedBaselineError, match=r"a.json is absurdly large \(5 bytes\)"):
            opened().read("t/a.json", 4)

    def test_a_link_is_not_followed(self, repository, opened):
        put(repository, "t/b.json")
        (repository.baselines / "t/a.json").symlink_to("b.json")
        repository.commit()
        assert opened().is_linked("t/a.json")
        assert not opened().is_linked("t/b.json")
        with pytest.raises(UnreadableBaselineError, match="is a symbolic link"):
            opened().read("t/a.json", 9)

    def test_the_folder_as_a_link(self, repository, opened):
        committed(repository)
        repository.baselines.rename(repository.path / "real")
        repository.baselines.symlink_to("real")
        repository.commit()
        with pytest.raises(ModelvizError, match="baselines is a link or a submodule"):
            opened()

    def test_a_folder_outside(self, repository, tmp_path):
        committed(repository)
        found = Repository.around(repository.path)
        with found.objects() as objects, pytest.raises(ModelvizError, match="are not in the git repository"):
            found.tree(objects, found.revision("HEAD"), tmp_path / "other")

    def test_the_repository_itself(self, repository):
        committed(repository)
        found = Repository.around(repository.path)
        with found.objects() as objects:
            tree = found.tree(objects, found.revision("HEAD"), repository.path)
            assert tree.read("baselines/t/a.json", 9) == b"x"
            assert tree.display_path("a").endswith(":a")

    def test_what_is_not_in_the_clone(self, repository, opened):
        committed(repository, data=b"somewhere else")
        blob = repository("rev-parse", "HEAD:baselines/t/a.json").strip()
        (repository.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
        assert opened().find(".json") == ["t/a.json"]
        with pytest.raises(UnreadableBaselineError, match="its content is not in this clone"):
            opened().read("t/a.json", 99)
        assert opened().content_ids("t/a.json") == {blob}

    def test_a_partial_clone_fetches_nothing(self, repository, tmp_path):
        committed(repository, data=b"1")
        committed(repository, data=b"2")
        repository("config", "uploadpack.allowFilter", "true")
        clone = made_clone(repository, "--filter=blob:none", f"file://{repository.path}")
        clone("config", "remote.origin.uploadpack", f"touch {tmp_path}/ran; git-upload-pack")
        found = Repository.around(clone.path)
        with found.objects() as objects:
            newer, older = (found.tree(objects, found.revision(name), clone.baselines) for name in ("HEAD", "HEAD~1"))
            assert newer.read("t/a.json", 9) == b"2"
            assert older.content_ids("t/a.json")
            for _ in range(2):
                with pytest.raises(ModelvizError, match=r"partial one .* run 'git fetch --refetch --no-filter origin'"):
                    older.read("t/a.json", 9)
        assert not (tmp_path / "ran").exists()
        clone("config", "--unset", "remote.origin.uploadpack")
        clone("fetch", "--quiet", "--refetch", "--no-filter", "origin")
        with found.objects() as objects:
            assert found.tree(objects, found.revision("HEAD~1"), clone.baselines).read("t/a.json", 9) == b"1"

    def test_folders_that_a_partial_clone_lacks_are_not_empty(self, repository):
        committed(repository, data=b"1")
        committed(repository, data=b"2")
        repository("config", "uploadpack.allowFilter", "true")
        clone = made_clone(repository, "--filter=tree:0", "--no-checkout", f"file://{repository.path}")
        found = Repository.around(clone.path)
        with found.objects() as objects, pytest.raises(ModelvizError, match="this clone is a partial one"):
            found.tree(objects, found.revision("HEAD~1"), clone.baselines)

    def test_nothing_replaces_an_object(self, repository, opened):
        committed(repository, data=b"1")
        other = put(repository, "u.json", b"2")
        ids = [
            repository("hash-object", "-w", str(path)).strip() for path in (repository.baselines / "t/a.json", other)
        ]
        repository("replace", *ids)
        assert opened().read("t/a.json", 9) == b"1"

    def test_it_is_not_written(self, repository, opened):
        committed(repository)
        for change in (
            lambda t: t.write("t/a.json", b""),
            lambda t: t.delete("t/a.json"),
            lambda t: t.move("t/a.json", "b"),
        ):
            with pytest.raises(OSError, match="is part of a revision"):
                change(opened())


def commit_of(repository, rows):
    """A commit whose folder has these rows, as git would not make it: (mode, name, id)."""
    data = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(digest) for mode, name, digest in rows)
    command = ["git", "hash-object", "-w", "-t", "tree", "--stdin", "--literally"]
    made = subprocess.run(command, cwd=repository.path, input=data, capture_output=True, check=True)
    return repository("commit-tree", made.stdout.decode().strip(), "-m", "x").strip()


class TestForgedFolders:
    @pytest.mark.parametrize(
        "names", [("baselines", "baselines"), ("a", "a"), ("baselines", ".."), ("baselines", "a/b")]
    )
    def test_names_that_git_does_not_check_out(self, repository, opened, names):
        committed(repository)
        tree = repository("rev-parse", "HEAD:baselines").strip()
        commit = commit_of(repository, [("40000", name, tree) for name in names])
        with pytest.raises(ModelvizError, match="was not made by git"):
            opened(commit)

    def test_folders_that_hold_one_another_s_copies(self, repository, opened):
        """A few objects, and a billion paths."""
        committed(repository)
        tree = repository("rev-parse", "HEAD:baselines/t").strip()
        for _ in range(9):
            commit = commit_of(repository, [("40000", name, tree) for name in ("a", "b", "baselines", *"cdefghi")])
            tree = repository("rev-parse", f"{commit}^{{tree}}").strip()
        with pytest.raises(ModelvizError, match="too many files"):
            opened(commit)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


class TestLargeFiles:
    """Git LFS commits pointers, and keeps the files that they stand for beside git's own objects."""

    @pytest.fixture
    def pointed(self, repository, opened):
        data = b"large"
        self.digest = hashlib.sha256(data).hexdigest()
        committed(repository, "t/a.safetensors", POINTER.format(self.digest, len(data)).encode())
        self.stored = repository.path / ".git/lfs/objects" / self.digest[:2] / self.digest[2:4] / self.digest
        self.stored.parent.mkdir(parents=True)
        self.stored.write_bytes(data)
        return opened()

    def test_those_that_were_fetched_are_read(self, pointed):
        assert pointed.read("t/a.safetensors", 1000) == b"large"

    def test_others_say_how_to_fetch_them(self, pointed):
        self.stored.unlink()
        with pytest.raises(UnreadableBaselineError, match=r"a Git LFS pointer, .*'git lfs fetch origin [0-9a-f]{10}'"):
            pointed.read("t/a.safetensors", 1000)

    def test_something_else_is_not_taken_for_one(self, pointed):
        self.stored.write_bytes(b"other")
        with pytest.raises(UnreadableBaselineError, match="is a Git LFS pointer"):
            pointed.read("t/a.safetensors", 1000)

    def test_a_link_is_none(self, repository, opened):
        text = POINTER.format("a" * 64, 5)
        (repository.path / "link").symlink_to(text)
        repository.baselines.mkdir()
        (repository.path / "link").rename(repository.baselines / "a.safetensors")
        repository.commit()
        assert "a" * 64 not in opened().content_ids("a.safetensors")

    def test_a_pointer_is_known_by_what_it_stands_for(self, pointed):
        self.stored.unlink()
        assert pointed.content_ids("t/a.safetensors") & content_ids(b"large")
        assert not pointed.content_ids("t/a.safetensors") & content_ids(b"other")


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_ids_are_those_of_git(tmp_path, monkeypatch, object_format):
    repository = made_repository(tmp_path / "made", monkeypatch)
    shutil.rmtree(repository.path / ".git")
    repository("init", "--quiet", f"--object-format={object_format}")
    committed(repository, "t/a.json", b"some text\n")
    found = Repository.around(repository.path)
    with found.objects() as objects:
        tree = found.tree(objects, found.revision("HEAD"), repository.baselines)
        assert tree.read("t/a.json", 99) == b"some text\n"
        assert tree.content_ids("t/a.json") & content_ids(b"some text\n")
        assert not tree.content_ids("t/a.json") & content_ids(b"other text\n")
        assert tree.content_ids("t/b.json") == frozenset()


@pytest.mark.skipif(os.name == "nt", reason="needs a shell script")
def test_git_runs_nothing_of_the_project(repository, opened, tmp_path):
    """Neither hooks nor filters nor text conversions nor monitors, also of a repository among the baselines."""
    committed(repository)
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\ncat\n")
    script.chmod(0o755)
    inner = type(repository)(repository.baselines)
    for each in (repository, inner):
        for key in (
            "core.fsmonitor",
            "core.pager",
            "diff.x.textconv",
            "filter.x.smudge",
            "filter.x.clean",
            "core.sshCommand",
        ):
            each("config", key, str(script))
        (each.path / ".gitattributes").write_text("* diff=x filter=x\n")
        for hook in ("post-checkout", "reference-transaction", "post-index-change"):
            (each.path / ".git/hooks").mkdir(exist_ok=True)
            (each.path / ".git/hooks" / hook).write_text(script.read_text())
            (each.path / ".git/hooks" / hook).chmod(0o755)
    (tmp_path / "ran").unlink(missing_ok=True)
    assert opened().read("t/a.json", 9) == b"x"
    assert Repository.around(repository.path).merge_base()
    assert not (tmp_path / "ran").exists()
