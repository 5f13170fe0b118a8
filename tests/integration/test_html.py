"""report.html as a file: what stands in it, of what results, and what it may do."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_by_hand import FACTS, drift, keep_details, picture_files, write_results

from pytest_modelviz.pictures.colour import NOT_FINITE
from pytest_modelviz.pictures.files import quick_png_bytes
from pytest_modelviz.records.check_result import LayerCounts, Status
from pytest_modelviz.records.verdict import Divergence
from pytest_modelviz.reports import html
from pytest_modelviz.reports.html import write_report
from pytest_modelviz.reports.report_page import Wording
from pytest_modelviz.storage.names import Location
from pytest_modelviz.text.printable import printable


def page_of(folder) -> str:
    return write_report(folder).read_text("utf-8")


def text_of(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


def keep_pictures(folder, check, files) -> None:
    folder.keep_pictures(Location.of(check.nodeid, check.name).path, files)


def test_groups_come_first_the_most_severe_before_others(tmp_path):
    light = [drift(test, output=None, cause="input", layer="") for test in ("test_a", "test_b")]
    page = page_of(write_results(tmp_path, *light, drift("test_c")))
    changed = page[page.index("What changed") : page.index("Checks that did not match")]
    assert re.findall(r'<span class="cause">(.*?)</span>', changed) == ["weights", "input"]
    assert '<p class="effect">output off by 0.3, top class changed in 1 of 2 samples</p>' in changed
    assert "<div>sample 0: class 5 -&gt; class 7</div>" in changed
    assert "2 checks of 2 tests" in changed
    assert f"<code>modelviz accept --run {FACTS.id} --group &#39;input@(model)&#39;</code>" in changed


def test_commands_have_the_options_of_whoever_makes_the_page(tmp_path):
    wording = Wording(options=lambda result: f"--run {result.run.id} --from ci", accept=lambda *_: "")
    folder = write_results(tmp_path, drift("test_a"))
    assert "--group" not in write_report(folder, wording=wording).read_text()  # where no check can be accepted
    wording = replace(wording, accept=lambda *_: "modelviz accept x")
    assert f"--run {FACTS.id} --from ci --group weights@net.conv2" in write_report(folder, wording=wording).read_text()


def test_the_eleventh_change_and_those_after_it_are_folded(tmp_path):
    page = page_of(write_results(tmp_path, *(drift(f"test_{at}", layer=f"l{at}") for at in range(12))))
    changed = page[page.index("What changed") : page.index("Checks that did not match")]
    assert changed.count('<div class="group"') == 12
    folded = changed[changed.index("<summary>and 2 more changes</summary>") :]
    assert folded.count('<div class="group"') == 2


def test_what_was_expected_to_fail_is_no_change_and_says_so(tmp_path):
    page = page_of(write_results(tmp_path, drift("test_a", expected_failure=True)))
    assert "expected to fail" in page
    assert '<div class="group"' not in page


def test_each_check_has_an_id_that_stays(tmp_path):
    checks = [drift("test_a"), drift("test_a", "cam_map")]
    ids = re.findall(r'<article id="(check-\w+)"', page_of(write_results(tmp_path / "1", *checks)))
    assert len(set(ids)) == 2
    assert re.findall(r'<article id="(check-\w+)"', page_of(write_results(tmp_path / "2", *checks[::-1]))) == ids[::-1]


def test_the_time_branch_and_commit_of_a_run(tmp_path):
    facts = replace(FACTS, commit="0123456789abcdef", branch="topic", dirty=True)
    page = page_of(write_results(tmp_path, drift("test_a"), facts=facts))
    assert "<strong>2026-01-02 03:04</strong>" in page
    assert "<strong>topic 01234567*</strong>" in page


def test_details_bring_the_whole_message_the_chart_and_the_tree(tmp_path):
    check = drift("test_a")
    folder = write_results(tmp_path, check)
    assert "<svg" not in page_of(folder)  # an older folder makes a report, too
    evidence = "".join(f"\n{'  evidence' if at == 0 else '':12}line {at} of it" for at in range(20))
    keep_details(folder, replace(check, message=check.message + evidence))
    page = page_of(folder)
    assert "line 19 of it" in page
    assert "<summary>and 8 more lines</summary>" in page  # beyond the group's four and eight of its own
    assert page.count("<rect") == 4
    assert '<rect class="first"' in page
    tree = page[page.index('<ul class="tree">') :]
    assert re.findall(r'<details( open)?><summary class="(\w+)">', tree) == [
        (" open", "holds"),
        (" open", "holds"),
        ("", "agrees"),
    ]
    tree = text_of(tree)
    assert "(model) 2 of 4 drifted net 2 of 3 drifted conv1 conv2 0.05, 500 x allowed first relu 0.03, 300" in tree


def test_changes_of_the_environment_are_said_once(tmp_path):
    checks = [drift(f"test_{at}", environment_changes={"torch": ("2.13", "2.14")}) for at in range(3)]
    page = page_of(write_results(tmp_path, *checks))
    assert page.count("Changed since baselines were recorded: torch: 2.13 -&gt; 2.14</p>") == 1
    many = drift("test_a", environment_changes={f"key{at}": ("1", "2") for at in range(10)})
    page = page_of(write_results(tmp_path / "many", many))
    assert "key6: 1 -&gt; 2, and 3 more</p>" in page
    assert [f"key{at}: 1 -&gt; 2" in page[page.index("<main>") :] for at in (6, 7)] == [False, True]


def test_a_heading_that_says_more_than_the_titles_stands(tmp_path):
    first = Divergence("conv", "Conv2d", 3, 0.05, 1e-4)
    text = text_of(page_of(write_results(tmp_path / "1", drift("test_a", first_divergence=first))))
    assert text.count("weights at conv Conv2d, call 3") == 2
    partly = drift("test_a", message="feature_maps could be compared only up to step 4\n  cause     weights: a")
    assert text_of(page_of(write_results(tmp_path / "2", partly))).count("only up to step 4") == 1


def test_each_fact_is_said_once(tmp_path):
    first, second = drift("test_a"), drift("test_b", error=0.01)
    evidence = "\n  evidence  net.conv2.weight differs by 0.05: all x 1.05"
    folder = write_results(tmp_path, *(replace(check, message=check.message + evidence) for check in (first, second)))
    text = text_of(page_of(folder))
    for fact in ("all x 1.05", "sample 0: class 5 -> class 7", "error 0.05", "error 0.01"):
        assert text.count(fact) == 1, fact
    assert text.count("off by 0.3, allowed 0.0001, top class changed in 1 of 2 samples") == 2  # once a check
    assert "drifted, first at" not in text


def test_a_group_without_evidence_says_what_there_is(tmp_path):
    text = text_of(page_of(write_results(tmp_path, drift("test_a"), drift("test_b"))))
    assert [text.count(fact) for fact in ("cause weights", "2 of 4 layers")] == [0, 1]
    built = [drift(test, cause="architecture") for test in ("test_a", "test_b")]
    text = text_of(page_of(write_results(tmp_path / "built", *built)))
    assert text.count("cause the model is built differently") == 1


def test_what_a_check_says_otherwise_than_its_group_stands_with_it(tmp_path):
    checks = [drift(test) for test in ("test_a", "test_b")]
    own = "\n  evidence  both\n            own of "
    folder = write_results(tmp_path, *(replace(c, message=f"{c.message}{own}{c.nodeid[-1]}") for c in checks))
    text = text_of(page_of(folder))
    assert [text.count(line) for line in ("both", "own of a", "own of b")] == [1, 1, 1]
    assert text.index("own of a") < text.index("Checks that did not match") < text.index("own of b")


@pytest.mark.parametrize(
    "finding",
    [
        {"kind": "class", "layer": "net.conv2", "before": "Conv2d", "after": "Conv<3>d"},
        {"kind": "field", "field": "class", "layer": "net.conv2", "before": "Conv2d", "after": "Conv<3>d"},
    ],
)
def test_the_class_of_the_layer_before_and_now(tmp_path, finding):
    check = drift("test_a")
    folder = write_results(tmp_path, check)
    keep_details(folder, check, findings=[{**finding, "layer": "other", "after": "X"}, finding])
    page = page_of(folder)
    assert page.count('<span class="class">Conv2d -&gt; Conv&lt;3&gt;d</span>') == 2


def test_another_input_and_the_output_have_names_of_their_own_in_the_chart_and_the_tree(tmp_path):
    check = drift("test_a", cause="input", layer="")
    folder = write_results(tmp_path, check)
    rows = [{"layer": "conv", "error": 0.1, "tolerance": 1e-4}, {"layer": "", "error": 0.3, "tolerance": 1e-4}]
    keep_details(folder, check, layers=rows)
    text = text_of(page_of(folder))
    assert "(input): 0.05, allowed 0.0001 conv: 0.1, allowed 0.0001 (output): 0.3, allowed 0.0001" in text
    assert "first: (input)" in text
    assert "(model) 2 of 2 drifted (input) 0.05, 500 x allowed first conv 0.1, 1,000 x allowed (output) 0.3" in text


class _Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "'\"><img src=x onerror=alert(1)>",
        "</title></svg></pre></script><b>",
        "a\n::error::no",
        "\u202eb\x1b[2J",
        "{{ 7 * 7 }}",
    ],
)
def test_names_in_details_are_only_text(tmp_path, hostile):
    check = drift("test_a", layer=hostile)
    folder = write_results(tmp_path, check)
    keep_pictures(folder, check, picture_files() | {"001-b.png": picture_files()["000-conv2.png"]})
    layers = [{"layer": hostile, "error": 0.1, "tolerance": 0.0}, {"layer": f"a.{hostile}", "error": None}]
    text = {"label": hostile, "composite": "001-b.png", "lines": [["-", hostile]]}
    keep_details(folder, check, layers=layers, pictures=[{"label": hostile, "composite": "000-conv2.png"}, text])
    page = page_of(folder)
    found = _Attributes()
    found.feed(page)
    assert (found.tags.count("script"), found.tags.count("img"), found.tags.count("b")) == (1, 3, 2)
    assert not {name for name in found.names if name.startswith("on") or name == "style"}
    assert all(line.isprintable() and not line.startswith("::") for line in page.split("\n"))
    assert unescape(page).count(printable(hostile)) > 5


def test_details_of_another_result_are_not_shown(tmp_path):
    check = drift("test_a")
    folder = write_results(tmp_path, check)
    for other in (replace(check, nodeid="t.py::b"), replace(check, status=Status.UNSTABLE), replace(check, name="n")):
        document = {"schema": 1, "check": {"nodeid": other.nodeid, "name": other.name, "status": other.status.value}}
        folder.details.keep(Location.of(check.nodeid, check.name).path, {**document, "layers": [{"layer": "conv9"}]})
        assert "conv9" not in page_of(folder)


@pytest.mark.parametrize(
    "members",
    [
        {"layers": [1]},
        {"layers": [{"layer": 1}]},
        {"layers": [{"layer": "a", "error": "x"}]},
        {"layers": {}},
        {"pictures": [1]},
        {"pictures": [{"composite": "000-conv2.png", "lines": [1]}]},
        {"pictures": [{"composite": "000-conv2.png", "lines": [["?", "x"]]}]},
        {"pictures": ["old/000-conv2.png"]},
        {"check": 1},
        {"check": {"nodeid": "test_net.py::test_a", "name": "feature_maps", "status": "drift", "message": 1}},
    ],
)
def test_details_may_hold_anything(tmp_path, members):
    check = drift("test_a")
    folder = write_results(tmp_path, check)
    keep_pictures(folder, check, picture_files())
    keep_details(folder, check, **members)
    assert "test_net.py::test_a" in page_of(folder)


def test_pictures_are_there_as_their_parts_or_else_as_they_are(tmp_path):
    check = drift("test_a")
    folder = write_results(tmp_path, check)
    keep_pictures(folder, check, picture_files())
    page = page_of(folder)
    assert re.findall(r'<div class="part (\w+)">', page) == ["baseline", "actual", "difference"]
    assert page.count("data:image/png;base64,") == 3
    assert [path.name for path in folder.pictures_of(check)] == ["000-conv2.png"]
    files = picture_files()
    del files["000-conv2.baseline.png"]
    keep_pictures(folder, check, files)
    page = page_of(folder)
    assert '<div class="modes"' not in page
    assert page.count("data:image/png;base64,") == 1


def test_what_stands_around_a_picture_is_text_beside_its_parts(tmp_path):
    check = drift("test_a")
    folder = write_results(tmp_path, check)
    keep_pictures(folder, check, picture_files())
    row = {"label": "conv2", "composite": "p/000-conv2.png", "captions": ["error <1>"], "not_finite": ["-inf", "NaN"]}
    keep_details(folder, check, pictures=[row])
    page = page_of(folder)
    assert "conv2 <small>error &lt;1&gt;</small></figcaption>" in page
    assert re.findall(r'data-kind="([^"]+)"></span> (\S+)', page) == [("NaN", "NaN"), ("-inf", "-inf")]
    files = picture_files()
    del files["000-conv2.actual.png"]
    keep_pictures(folder, check, files)
    assert "error &lt;1&gt;" not in page_of(folder)  # it is in the composite


def test_the_legend_has_the_colours_of_the_pictures():
    style = Path(html.__file__).with_name("report.css").read_text()
    found = dict(re.findall(r'data-kind="([^"]+)"\] \{ background: #(\w+);', style))
    short = {kind: "".join(2 * digit for digit in text) if len(text) == 3 else text for kind, text in found.items()}
    assert {kind: tuple(bytes.fromhex(text)) for kind, text in short.items()} == NOT_FINITE


class TestQuietChecks:
    PICTURE = "baselines/test_net/test_m/feature_maps.png"

    def page(self, tmp_path, **members) -> str:
        match = drift("test_m", status=Status.MATCH, error=2e-7, tolerance=1e-6, layers=LayerCounts(9, 0), message="")
        match = replace(match, **{"baseline": self.PICTURE.replace("png", "json"), **members})
        return page_of(write_results(tmp_path / ".modelviz", match))

    def test_what_was_compared(self, tmp_path):
        text = text_of(self.page(tmp_path, message="feature_maps: match\n  note      rounding is large"))
        assert "1 check without trouble test_net.py::test_m \u00b7 feature_maps match" in text
        assert "compared 9 layers, largest error 2e-07, allowed 1e-06 (20 % of it) baseline baselines/" in text
        assert "feature_maps: match note rounding is large There is no picture of it beside this report." in text
        assert "compared 9 layers, all equal" in text_of(self.page(tmp_path, error=0.0, tolerance=0.0))
        assert "compared" not in text_of(self.page(tmp_path, status=Status.RECORDED))

    def test_the_baseline_s_picture_is_linked_to_and_not_held(self, tmp_path):
        assert "<img" not in self.page(tmp_path)
        (tmp_path / self.PICTURE).parent.mkdir(parents=True)
        (tmp_path / self.PICTURE).write_bytes(picture_files()["000-conv2.png"])
        page = self.page(tmp_path)
        assert f'<img class="linked" src="../{self.PICTURE}"' in page
        assert "data:image" not in page

    @pytest.mark.parametrize("path", ["{}/out/a.json", "../out/a.json", "//host/a.json", "s3://b/a.json", "out/a.png"])
    def test_nothing_else_is_linked_to(self, tmp_path, path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").write_bytes(picture_files()["000-conv2.png"])
        assert "<img" not in self.page(tmp_path, baseline=path.format(tmp_path))
        assert "<img" in self.page(tmp_path, baseline="out/a.json")


def test_a_layer_that_is_called_like_a_part(tmp_path):
    check = drift("test_a")
    folder = write_results(tmp_path, check)
    keep_pictures(folder, check, picture_files("conv.actual", 1) | picture_files("conv", 0))
    assert [path.name for path in folder.pictures_of(check)] == ["000-conv.png", "001-conv.actual.png"]


def test_texts_are_text(tmp_path):
    check = drift("test_a", "model_summary")
    folder = write_results(tmp_path, check)
    keep_pictures(folder, check, {"000-layers.png": quick_png_bytes(np.zeros((4, 4, 3), np.uint8))})
    lines = [["-", "a: <ReLU>"], ["+", "a: GELU"], ["@", "3 unchanged"], [" ", "b"]]
    picture = {"label": "layers", "composite": "elsewhere/000-layers.png", "lines": lines}
    keep_details(folder, check, pictures=[picture])
    page = page_of(folder)
    assert '<span class="removed"><span class="sign">-</span> a: &lt;ReLU&gt;</span>' in page
    assert '<span class="added"><span class="sign">+</span> a: GELU</span>' in page
    assert "data:image" not in page


def test_each_check_has_one_picture_before_one_has_two(tmp_path, monkeypatch):
    checks = [drift("test_a"), drift("test_b")]
    folder = write_results(tmp_path, *checks)
    for check in checks:
        keep_pictures(folder, check, picture_files("one", 0) | picture_files("two", 1))
    size = sum(len(data) for name, data in picture_files().items() if name.count(".") == 2)
    monkeypatch.setattr("pytest_modelviz.reports.figures._MOST_PICTURE_BYTES", 2 * size)
    page = page_of(folder)
    assert re.findall(r"<figcaption[^>]*>(\w+)<", page) == ["one", "one"]
    assert page.count("1 more pictures are in the results folder") == 2


def test_the_policy_allows_our_own_style_and_script_and_pictures_alone(tmp_path):
    page = page_of(write_results(tmp_path, drift("test_a")))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.replace("&#39;", "'").split(";"))
    texts = {f"{tag}-src": re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL) for tag in ("style", "script")}
    for rule, (text,) in texts.items():
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: 'self' file:"  # of passing checks, beside the page
    assert not re.search(r' (?:style|on\w+)="', page)
    assert "http" not in re.sub(r"http-equiv", "", page)


@pytest.mark.unwatched
def test_five_hundred_checks_are_a_page_of_less_than_thirty_megabytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 120, 3)).astype(np.uint8)
    files = dict.fromkeys(picture_files(), quick_png_bytes(noise))
    checks = [drift(f"test_{at}") for at in range(500)]
    folder = write_results(tmp_path, *checks)
    layers = [{"layer": f"stage{at // 50}.block{at}.conv", "error": 0.1, "tolerance": 1e-4} for at in range(200)]
    keep_details(folder, checks[0], layers=layers)
    document = folder.details.read(Location.of(checks[0].nodeid, checks[0].name).path)
    for check in checks:  # without waiting for the disk, as those who keep them do
        path = Location.of(check.nodeid, check.name).path
        own = {**document, "check": {**document["check"], "nodeid": check.nodeid, "message": check.message}}
        (folder.details.root / path.parent).mkdir(parents=True, exist_ok=True)
        (folder.details.root / f"{path}.json").write_text(json.dumps(own))
        (folder.pictures / path).mkdir(parents=True)
        for name, data in files.items():
            (folder.pictures / path / name).write_bytes(data)
    page = page_of(folder)
    assert len(page) < 30e6
    assert page.count("<article") == page.count("<svg") == 500
    assert "One bar for 4 layers that follow each other" in page
