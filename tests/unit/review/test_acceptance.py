"""Accepting what somebody else has captured: finished where it was cut off, and nothing let in but a capture."""

import contextlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin

from pytest_modelviz.cli import main
from pytest_modelviz.pictures.files import encoded_anew, png_bytes
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.storage.formats import text_sha256
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

NODEID = "tests/test_net.py::test_a"
FOLDER = "tests/test_net/test_a"


def picture(value: float) -> bytes:
    return png_bytes(np.full((20, 30, 3), int(value), np.uint8))


def capture(value: float, size: int = 300) -> Capture:
    arrays = {"map": np.full(size, value, np.float32)} if size else {}
    return Capture("v", {"peak": value}, arrays)


class Project:
    """A project with a drift of one check, from 1 to 2."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tests").mkdir(parents=True)
        (root / "tests/test_net.py").write_text("def test_a(): ...\n")
        (root / "pytest.ini").write_text("[pytest]\n")
        self.results = ResultsFolder(root / ".modelviz")

    def compared(self, nodeid: str = NODEID, *, has_baseline: bool = True, **candidate) -> None:
        """Write what a run leaves that has compared a check."""
        where, ids = Location.of(nodeid, "n"), {"nodeid": nodeid, "name": "n"}
        baselines = Store(self.root / "baselines")
        if has_baseline:
            baselines.save(where, capture(1.0), **ids, picture=picture(1))
        candidates = Store(self.results.candidates, kind="candidate")
        given = {"capture": capture(2.0), "picture": picture(2), **candidate}
        candidates.save(where, given["capture"], **ids, picture=given["picture"])
        check = {
            **ids,
            "view": "v",
            "status": "drift" if has_baseline else "missing",
            "message": "n drifted",
            "baseline": f"baselines/{where.path}.json",
            "candidate": f".modelviz/candidates/{where.path}.json",
            "candidate_sha256": candidates.digest(where),
            "baseline_sha256": baselines.digest(where),
            **dict.fromkeys(("first_divergence", "cause", "error", "tolerance")),
        }
        run = RunFacts("R", "R", "R", "R", "R", workers=1)
        self.results.write(RunResult(run, (CheckResult.from_json(check),)))

    @property
    def candidate(self) -> Path:
        return self.results.candidates / FOLDER / "n.png"

    def accept(self, *options: str) -> tuple[str, str]:
        """What was done, and why."""
        done = CliRunner().invoke(main, ["accept", "--json", *options], catch_exceptions=False)
        (decision,) = json.loads(done.output)["decisions"]
        assert done.exit_code == (decision["done"] == "refused")
        return decision["done"], decision["reason"]

    def baselines(self) -> dict[str, bytes]:
        """All files, hidden ones too."""
        root = self.root / "baselines"
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.name != ".gitattributes"
        }


@pytest.fixture
def project(tmp_path, monkeypatch):
    made = Project(tmp_path / "project")
    monkeypatch.chdir(made.root)
    return made


CHANGES = {
    "new values": (capture(1.0), capture(2.0), picture(2)),
    "values gone": (capture(1.0), capture(2.0, size=0), picture(2)),
    "values come": (capture(1.0, size=0), capture(2.0), picture(2)),
    "picture gone": (capture(1.0), capture(2.0), None),
}


class TestCutOff:
    """Killed at any moment, the next accept finishes what was begun, and does not say that nothing was to be done."""

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.parametrize("change", CHANGES)
    def test_at_every_step(self, project, change):
        before, after, image = CHANGES[change]
        where = Location.of(NODEID, "n")
        killed, half = 0, 0
        for step in range(40):
            shutil.rmtree(project.root / "baselines", ignore_errors=True)
            Store(project.root / "baselines").save(where, before, nodeid=NODEID, name="n", picture=picture(1))
            project.compared(has_baseline=False, capture=after, picture=image)
            document = json.loads(project.results.results.read_text())
            document["checks"][0]["status"] = "drift"
            project.results.results.write_text(json.dumps(document))
            shutil.rmtree(project.results.runs)
            died = self.accept_until(project, step)
            state = project.baselines()
            done, _ = project.accept()
            wanted = {f"{FOLDER}/n.json", *([f"{FOLDER}/n.safetensors"] if after.arrays else ())}
            wanted |= {f"{FOLDER}/n.png"} if image else set()
            assert set(project.baselines()) == wanted
            candidates = {path.name: path.read_bytes() for path in project.candidate.parent.iterdir()}
            assert {name.rpartition("/")[2]: data for name, data in project.baselines().items()} == candidates
            assert done == ("already accepted" if state == project.baselines() else "accepted")
            assert project.accept()[0] == "already accepted"
            if not died:
                break
            killed += 1
            half += state != project.baselines() and state[f"{FOLDER}/n.json"] == candidates["n.json"]
        assert not died
        assert killed >= 4
        assert half >= 1  # the JSON file was new, and something else was not

    @staticmethod
    def accept_until(project, step: int) -> bool:
        """Accept in a process that dies before it changes the folder for this number of times."""
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                left = [step]

                def dying(action):
                    def act(path, *arguments, **options):
                        if "baselines" in Path(path).parts:
                            left[0] -= 1
                            if left[0] < 0:
                                os._exit(9)
                        return action(path, *arguments, **options)

                    return act

                for name in ("replace", "unlink", "open"):
                    setattr(Path, name, dying(getattr(Path, name)))
                done = CliRunner().invoke(main, ["accept"], catch_exceptions=False)
                os._exit(done.exit_code)
            os._exit(3)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, 9)
        return code == 9

    def test_an_old_picture_with_nothing_hidden_is_replaced(self, project):
        """As it was left by a copy of the folder that leaves hidden files out."""
        project.compared()
        project.accept()
        whole = project.baselines()
        (project.root / "baselines" / FOLDER / "n.png").write_bytes(picture(1))
        assert project.accept()[0] == "accepted"
        assert project.baselines() == whole

    def test_what_the_dead_have_left_goes_with_the_next(self, project):
        project.compared()
        project.accept()
        whole = project.baselines()
        (project.root / "baselines" / FOLDER / ".n.json.999999999.tmp").write_text("{")
        project.accept()
        assert project.baselines() == whole

    def test_a_running_process_keeps_its_unfinished_file(self, project):
        project.compared()
        project.accept()
        name = f".n.json.{os.getppid()}.tmp"
        (project.root / "baselines" / FOLDER / name).write_text("{")
        assert project.accept()[0] == "already accepted"
        assert f"{FOLDER}/{name}" in project.baselines()

    def test_a_baseline_of_another_check_is_not_tidied(self, project):
        project.compared()
        names = [".m.json.999999999.tmp", ".n2.0123456789abcdef.png", ".nn.json.1.tmp"]
        for name in names:
            (project.root / "baselines" / FOLDER / name).write_text("")
        assert project.accept()[0] == "accepted"
        assert {f"{FOLDER}/{name}" for name in names} < set(project.baselines())


def encoded(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


def commented() -> bytes:
    information = PngImagePlugin.PngInfo()
    information.add_text("Comment", "<script>alert(1)</script>", zip=False)
    return encoded(Image.open(io.BytesIO(picture(2))), pnginfo=information, icc_profile=b"<script>" * 9)


FOREIGN = {
    "script": b"<script>alert(1)</script>",
    "nothing": b"",
    "magic alone": b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
    "truncated": picture(2)[:-30],
    "true colours": encoded(Image.new("RGB", (9, 9))),
    "transparent": encoded(Image.new("RGBA", (9, 9))),
    "another format": encoded(Image.new("P", (9, 9)), format="GIF"),
    "too many pixels": encoded(Image.new("P", (2**14, 2**14))),
}


class TestPictures:
    @pytest.mark.parametrize("kind", FOREIGN)
    def test_what_is_no_picture_of_ours_is_refused(self, project, kind):
        project.compared()
        project.candidate.write_bytes(FOREIGN[kind])
        before = project.baselines()
        done, reason = project.accept()
        assert done == "refused"
        assert "the candidate's n.png is not a picture of a capture" in reason
        assert project.baselines() == before

    def test_an_absurdly_large_file_is_not_even_read(self, project):
        project.compared()
        with project.candidate.open("r+b") as file:
            file.truncate(300 * 2**20)
        before = project.baselines()
        done, reason = project.accept()
        assert (done, "absurdly large" in reason) == ("refused", True)
        assert project.baselines() == before

    @pytest.mark.parametrize("data", [picture(2) + b"<script>" * 1000, commented()], ids=["behind", "within"])
    def test_only_the_colours_are_taken_over(self, project, data):
        assert b"<script>" in data
        project.compared()
        project.candidate.write_bytes(data)
        assert project.accept()[0] == "accepted"
        assert project.baselines()[f"{FOLDER}/n.png"] == picture(2)

    def test_pictures_made_here_keep_their_bytes(self):
        draw = np.random.default_rng(0)
        for size in ((1, 1), (1, 300), (40, 7), (90, 120)):
            grey = np.repeat(draw.integers(0, 256, (*size, 1)), 3, 2)
            few = draw.integers(0, 256, (9, 3))[draw.integers(0, 9, size)]
            for image in (draw.integers(0, 256, (*size, 3)), grey, few, np.zeros((*size, 3))):
                data = png_bytes(image.astype(np.uint8))
                assert encoded_anew(data) == data

    @pytest.mark.parametrize("ending", ["json", "safetensors", "png"])
    @pytest.mark.parametrize("kind", ["symbolic", "symbolic inside", "hard"])
    def test_links_are_not_copied_through(self, project, tmp_path, ending, kind):
        project.compared()
        path = project.candidate.with_suffix(f".{ending}")
        target = (path.parent if kind.endswith("inside") else tmp_path) / f"secret.{ending}"
        path.rename(target)
        path.hardlink_to(target) if kind == "hard" else path.symlink_to(target)
        before = project.baselines()
        done, reason = project.accept()
        assert done == "refused"
        assert " is a link, and links are not followed" in reason or (kind, ending) == ("symbolic", "json")
        assert project.baselines() == before

    def test_the_advice_for_links_is_true(self, project, tmp_path):
        project.compared()
        project.candidate.rename(tmp_path / "x.png")
        project.candidate.hardlink_to(tmp_path / "x.png")
        assert project.accept()[0] == "refused"
        shutil.copytree(project.results.root, tmp_path / "copy")
        assert project.accept("--from", str(tmp_path / "copy"))[0] == "accepted"


class TestFilesOfTests:
    @pytest.mark.parametrize(
        "file",
        [
            "/etc/passwd",
            "{root}/tests/test_net.py",
            "../notes.txt",
            "../project/tests/test_net.py",
            "../link/tests/test_net.py",
            "tests/../tests/test_net.py",
            "tests/../../other/test_there.py",
            "./tests/test_net.py",
            "tests//test_net.py",
            "tests/test_net.py/",
            "tests",
            "",
            ".",
            "..",
            "pytest.ini",
            ".env",
            ".git/hooks/test_a.py",
            ".modelviz/test_a.py",
            "baselines/test_a.py",
            "tests/gone.py",
            "tests/test_net.py\0",
            "C:/Windows/test_a.py",
        ],
    )
    def test_what_holds_no_test_of_this_project_is_refused(self, project, tmp_path, file):
        (tmp_path / "other").mkdir()
        for path in ("notes.txt", "other/test_there.py", "project/.env"):
            (tmp_path / path).write_text("")
        for folder in (".git/hooks", ".modelviz", "baselines"):
            (project.root / folder).mkdir(parents=True)
            (project.root / folder / "test_a.py").write_text("")
        (tmp_path / "link").symlink_to(project.root)
        project.compared(f"{file.format(root=project.root)}::test_a", has_baseline=False)
        before = project.baselines()
        done, reason = project.accept()
        assert done == "refused"
        assert "is not a test file of the project" in reason or "there is no " in reason
        assert project.baselines() == before

    @pytest.mark.parametrize(
        "file", ["tests/test_net.py", "../other/test_there.py", "README.md", "docs/a b.rst", "tests/linked.py"]
    )
    def test_what_may_hold_one_is_not(self, project, tmp_path, file):
        (project.root / "docs").mkdir()
        (tmp_path / "other").mkdir()
        (tmp_path / "other/test_linked.py").write_text("")
        (project.root / "tests/linked.py").symlink_to(tmp_path / "other/test_linked.py")
        path = project.root / file
        path.exists() or path.write_text("")
        project.compared(f"{file}::test_a", has_baseline=False)
        assert project.accept()[0] == "accepted"


class TestALinkInPlaceOfTheBaselines:
    """Whoever has not named that folder may not know of the link: it may come with a checkout."""

    @pytest.fixture
    def outside(self, project, tmp_path):
        project.compared()
        (project.root / "baselines").rename(tmp_path / "outside")
        (project.root / "baselines").symlink_to(tmp_path / "outside")
        return tmp_path / "outside"

    def tree(self, folder: Path) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_nothing_is_written_through_it(self, project, outside):
        before = self.tree(outside)
        done, reason = project.accept()
        assert done == "refused"
        assert "baselines is a symbolic link, and nothing is written or removed through a link" in reason
        assert self.tree(outside) == before

    def test_nothing_is_moved_or_removed_through_it(self, project, outside):
        (project.root / "tests/test_net.py").rename(project.root / "tests/test_new.py")
        before = self.tree(outside)
        moved = CliRunner().invoke(main, ["mv", "tests/test_net.py::test_a", "tests/test_new.py::test_a"])
        assert (moved.exit_code, "is a symbolic link" in moved.output) == (1, True)
        pruned = CliRunner().invoke(main, ["prune", NODEID])
        assert (pruned.exit_code, "is a symbolic link" in pruned.output) == (1, True)
        assert self.tree(outside) == before

    def test_it_is_read_through(self, project, outside):
        where = Location.of(NODEID, "n")
        store = Store(project.root / "baselines", configured=False)
        assert store.load(where, nodeid=NODEID, name="n").capture.facts["peak"] == 1.0
        text = (outside / FOLDER / "n.json").read_bytes()
        assert store.digest(where) == text_sha256(text)

    @pytest.mark.parametrize("how", ["option", "configuration", "options of pytest"])
    def test_whoever_names_it_knows_of_it(self, project, outside, how):
        ini = {
            "configuration": "[pytest]\nmodelviz_baseline_dir = baselines\n",
            "options of pytest": "[pytest]\naddopts = --modelviz-baseline-dir=baselines\n",
        }
        (project.root / "pytest.ini").write_text(ini.get(how, "[pytest]\n"))
        assert project.accept(*(["--baseline-dir", "baselines"] if how == "option" else []))[0] == "accepted"
        assert (outside / FOLDER / "n.png").read_bytes() == picture(2)


def test_what_this_version_does_not_know_is_not_accepted(project):
    """No seal covers it, and no comparison has looked at it."""
    project.compared()
    before, path = project.baselines(), project.candidate.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "approved_by": "everybody"}))
    document = json.loads(project.results.results.read_text())
    document["checks"][0]["candidate_sha256"] = text_sha256(path.read_bytes())
    project.results.results.write_text(json.dumps(document))
    shutil.rmtree(project.results.runs)
    done, reason = project.accept()
    assert (done, "has keys that this version does not know ('approved_by')" in reason) == ("refused", True)
    assert project.baselines() == before
