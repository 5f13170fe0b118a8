"""report.html in Chromium: search, filters, keys, modes of comparing pictures, links, and what axe-core says of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from browser import CHROMIUM, DRIVER, Browser
from report_by_hand import drift, keep_details, picture_files, write_results

from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.reports import html
from pytest_modelviz.reports.html import write_report
from pytest_modelviz.storage.names import Location

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
NODE_MODULES = Path(os.environ.get("MODELVIZ_NODE_MODULES", "node_modules"))
AXE = NODE_MODULES / "axe-core/axe.min.js"
TSC = shutil.which("tsc", path=f"{NODE_MODULES / '.bin'}{os.pathsep}{os.environ.get('PATH', '')}")
ENTER = "\ue007"
ESCAPE = "\ue00c"
EVIDENCE = "\n  evidence  net.conv2.weight differs by 0.05: all x 1.05"
CHECKS = (
    drift("test_a", message=drift("test_a").message + EVIDENCE),
    drift("test_b", "cam_map", cause="gradient", layer="head"),
    drift("tests/test_z.py::test_c", "model_summary", cause="architecture", layer="net.relu", output=None),
    drift("test_d", status=Status.MISSING, cause=None, first_divergence=None, output=None, message="no baseline at x"),
    drift("test_e", layer="other.layer", error=0.01),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    match = drift("test_f", status=Status.MATCH, message="", baseline="baselines/x.json")
    gone = OrphanRecord("test_gone.py::test", "cam_map", "cam_map", None, "baselines/gone", None, None)
    project = tmp_path_factory.mktemp("project")
    (project / "baselines").mkdir()
    (project / "baselines/x.png").write_bytes(picture_files()["000-conv2.png"])
    folder = write_results(project / ".modelviz", *CHECKS, match, orphans=[gone])
    for check in CHECKS[:2]:
        keep_details(folder, check)
        folder.keep_pictures(Location.of(check.nodeid, check.name).path, picture_files())
    text = {"label": "layers", "composite": "000-layers.png", "lines": [["-", "a"], ["+", "b"], ["@", "9 unchanged"]]}
    keep_details(folder, CHECKS[2], pictures=[text])
    pictures = [picture_files(label, number) for number, label in enumerate(("layers", "b", "c", "d"))]
    files = {name: data for picture in pictures for name, data in picture.items()}
    folder.keep_pictures(Location.of(CHECKS[2].nodeid, CHECKS[2].name).path, files)
    return write_report(folder)


@pytest.fixture(scope="module")
def window():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(window, report):
    window.emulate(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    window.resize(1280, 900)
    window.open(report)
    yield window
    assert list(window.messages()) == []  # no error, and nothing that the page's own policy forbids


def names(browser) -> list[str]:
    """The tests whose checks can be seen, in their order."""
    script = "return [...document.querySelectorAll('#articles > article:not([hidden])')].map(a => a.dataset.name)"
    return [name.partition("::")[2].partition(" ")[0] for name in browser.run(script)]


def current(browser) -> str:
    name = browser.run("return document.querySelector('article.current')?.dataset.name ?? ''")
    return name.partition("::")[2].partition(" ")[0]


def enter(browser, selector: str, value: str, event: str = "input") -> None:
    browser.run(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true}))",
        selector,
        value,
    )


def shown(browser, selector: str) -> bool:
    """Whether an element of the first picture can be seen."""
    script = (
        "return document.querySelector('figure.picture ' + arguments[0]).checkVisibility({visibilityProperty: true})"
    )
    return browser.run(script, selector)


def style(browser, selector: str, name: str) -> str:
    return browser.run(
        "return getComputedStyle(document.querySelector('figure.picture ' + arguments[0]))[arguments[1]]",
        selector,
        name,
    )


class TestChecks:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("test_b", ["test_b"]),
            ("net.relu", ["test_c"]),
            ("NO BASELINE", ["test_d"]),
            ("head gradient", ["test_b"]),
            ("all x 1.05", ["test_a"]),  # which its group says
            ("nowhere", []),
            ("", ["test_a", "test_b", "test_e", "test_c", "test_d"]),
        ],
    )
    def test_search_by_test_layer_and_text(self, browser, text, found):
        enter(browser, "#search", text)
        assert names(browser) == found
        assert browser.run("return document.querySelector('#count').value") == f"{len(found)} of 5 checks"
        assert browser.run("return document.querySelector('#nothing').hidden") is bool(found)
        links = browser.run("return [...document.querySelectorAll('nav li.entry:not([hidden])')].length")
        assert links == len(found)

    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ({"status": "missing"}, ["test_d"]),
            ({"view": "cam_map"}, ["test_b"]),
            ({"cause": "weights"}, ["test_a", "test_e"]),
            ({"file": "tests/test_z.py"}, ["test_c"]),
            ({"cause": "weights", "view": "cam_map"}, []),
        ],
    )
    def test_filters(self, browser, filters, found):
        for name, value in filters.items():
            enter(browser, f"select[data-filter={name}]", value)
        assert names(browser) == found

    def test_filters_are_reset(self, browser):
        enter(browser, "select[data-filter=status]", "missing")
        enter(browser, "#search", "nowhere")
        browser.click("#clear")
        browser.run_until_called("setTimeout(arguments[0], 50)")
        assert len(names(browser)) == 5

    def test_sorted_by_name_and_by_severity(self, browser):
        enter(browser, "#sort", "name")
        contents = browser.run("return [...document.querySelectorAll('nav li')].map(l => l.textContent)")
        assert (contents[0], contents[-2:]) == ("What changed", ["Orphans", "Checks without trouble"])
        assert names(browser) == ["test_a", "test_b", "test_d", "test_e", "test_c"]
        enter(browser, "#sort", "severity")
        assert names(browser) == ["test_a", "test_b", "test_e", "test_c", "test_d"]

    def test_a_link_opens_its_check_even_one_that_is_filtered_away(self, browser, report):
        target = browser.run("return document.querySelector('article[data-name*=test_d]').id")
        browser.open(report, target)
        opened = "return document.getElementById(arguments[0]).querySelector('details').open"
        assert (current(browser), browser.run(opened, target)) == ("test_d", True)
        enter(browser, "select[data-filter=status]", "drift")
        browser.run("location.hash = ''")
        browser.run("location.hash = arguments[0]", target)
        browser.run_until_called("setTimeout(arguments[0], 50)")
        assert "test_d" in names(browser)

    def test_only_the_first_checks_of_the_worst_groups_are_unfolded(self, browser):
        assert browser.run("return [...document.querySelectorAll('.check')].map(d => d.open)") == [
            *(True, True, True),
            *(False, False),
        ]
        browser.click("#unfold")
        assert browser.run("return [...document.querySelectorAll('.check')].every(d => d.open)")

    def test_a_command_is_copied(self, browser):
        browser.command("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        browser.click(".group .copy")
        browser.run_until_called("setTimeout(arguments[0], 100)")
        assert browser.run("return document.querySelector('.group .copy').textContent") == "Copied"
        copied = browser.run_until_called("navigator.clipboard.readText().then(arguments[0])")
        assert copied == browser.run("return document.querySelector('.group code').textContent")

    def test_all_is_printed(self, browser):
        browser.run("document.querySelector('#changes').after(document.querySelector('.more'))")  # of no check
        browser.run("dispatchEvent(new Event('beforeprint'))")
        assert browser.run("return [...document.querySelectorAll('.check, .more')].every(d => d.open)")
        browser.run("dispatchEvent(new Event('afterprint'))")
        assert not browser.run("return [...document.querySelectorAll('.check')].every(d => d.open)")


class TestKeys:
    def test_from_check_to_check(self, browser):
        seen = []
        for key in "jjjkj":
            browser.press(key)
            seen.append(current(browser))
        assert seen == ["test_a", "test_b", "test_e", "test_b", "test_e"]

    def test_hidden_checks_are_passed_over(self, browser):
        enter(browser, "select[data-filter=cause]", "weights")
        browser.press("j", "j")
        assert current(browser) == "test_e"

    def test_enter_folds(self, browser):
        fold = "return document.querySelector('article.current .check').open"
        browser.press("j")
        assert browser.run(fold)
        browser.press(ENTER)
        assert not browser.run(fold)
        browser.press(ENTER)
        assert browser.run(fold)

    def test_slash_searches_and_other_keys_are_text_there(self, browser):
        browser.press("/")
        assert browser.run("return document.activeElement.id") == "search"
        browser.press("j", "?")
        assert browser.run("return document.querySelector('#search').value") == "j?"
        assert current(browser) == ""
        browser.press(ESCAPE)
        assert browser.run("return document.activeElement.id") != "search"

    def test_help(self, browser):
        browser.press("?")
        assert browser.run("return document.querySelector('#help').open")
        browser.press(ESCAPE)
        assert not browser.run("return document.querySelector('#help').open")

    def test_modes_of_the_current_check(self, browser):
        browser.press("j", "j")
        modes = []
        for key in "23451":
            browser.press(key)
            modes.append(browser.run("return [...document.querySelectorAll('.picture')].map(f => f.dataset.mode)")[:2])
        assert modes == [["side", mode] for mode in ("swipe", "onion", "blink", "difference", "side")]


class TestModes:
    """Of the first picture."""

    def mode(self, browser, name: str) -> None:
        browser.click(f"figure.picture .modes button[data-mode={name}]")
        pressed = "return [...document.querySelectorAll('.picture .modes')][0].querySelector('[aria-pressed=true]')"
        assert browser.run(f"{pressed}.dataset.mode") == name

    def slide(self, browser, value: int) -> None:
        enter(browser, "figure.picture .slider input", str(value))

    def test_side_by_side(self, browser):
        assert all(shown(browser, f".{part} img") for part in ("baseline", "actual", "difference"))
        assert not shown(browser, ".slider")
        edges = (
            "return [...document.querySelectorAll('.picture .part')].slice(0, 3).map(p => p.getBoundingClientRect().x)"
        )
        left, middle, right = browser.run(edges)
        assert left < middle < right
        assert browser.run("return document.querySelector('.picture img').naturalWidth") == 60

    def test_swipe(self, browser):
        self.mode(browser, "swipe")
        assert not shown(browser, ".difference")
        assert style(browser, ".actual", "clipPath") == "inset(0px 0px 0px 50%)"
        self.slide(browser, 20)
        assert style(browser, ".actual", "clipPath") == "inset(0px 0px 0px 20%)"
        left = (
            "return [...document.querySelectorAll('.picture .part')].slice(0, 2).map(p => p.getBoundingClientRect().x)"
        )
        baseline, actual = browser.run(left)
        assert baseline == actual

    def test_swiping_over_the_picture_itself(self, browser):
        self.mode(browser, "swipe")
        browser.run("document.querySelector('.picture').scrollIntoView()")
        box = "document.querySelector('.picture .stage').getBoundingClientRect()"
        x, y, width = browser.run(f"const b = {box}; return [b.x, b.y + b.height / 2, b.width]")
        browser.drag((x + width / 2, y), (x + 0.8 * width, y))
        assert browser.run("return document.querySelector('.picture .slider input').value") == "80"
        assert style(browser, ".actual", "clipPath") == "inset(0px 0px 0px 80%)"

    def test_onion_skin(self, browser):
        self.mode(browser, "onion")
        self.slide(browser, 25)
        assert style(browser, ".actual", "opacity") == "0.25"
        assert style(browser, ".actual", "clipPath") == "none"

    def test_blink(self, browser):
        self.mode(browser, "blink")
        name = "return getComputedStyle(document.querySelector('.picture .shown'), '::after').content"
        assert browser.run(name) == ('"actual"' if shown(browser, ".actual img") else '"baseline"')
        states = {shown(browser, ".actual img")}
        browser.run_until_called("setTimeout(arguments[0], 900)")
        states.add(shown(browser, ".actual img"))
        assert states == {True, False}
        browser.click("figure.picture .pause")
        before = shown(browser, ".actual img")
        browser.run_until_called("setTimeout(arguments[0], 900)")
        assert shown(browser, ".actual img") is before
        browser.click("figure.picture .other")
        assert shown(browser, ".actual img") is not before

    def test_nothing_blinks_by_itself_for_those_who_want_no_motion(self, browser):
        browser.emulate(prefers_reduced_motion="reduce")
        self.mode(browser, "blink")
        before = shown(browser, ".actual img")
        browser.run_until_called("setTimeout(arguments[0], 900)")
        assert shown(browser, ".actual img") is before

    def test_difference(self, browser):
        self.mode(browser, "difference")
        assert [shown(browser, f".{part} img") for part in ("baseline", "actual", "difference")] == [False, False, True]
        self.mode(browser, "side")
        assert shown(browser, ".baseline img")


def test_the_baseline_of_a_passing_check_is_loaded_when_it_is_opened(browser, report, tmp_path):
    picture = "document.querySelector('img.linked')"
    opened = f"for (let e = {picture}; e; e = e.parentElement) if (e.matches('details')) e.open = true;"
    browser.run_until_called("setTimeout(arguments[0], 200)")
    assert browser.run(f"return {picture}.naturalWidth") == 0
    browser.run(f"{opened} {picture}.scrollIntoView()")
    browser.run_until_called("setTimeout(arguments[0], 300)")
    assert browser.run(f"return [{picture}.naturalWidth, {picture}.nextElementSibling.hidden]") == [60, True]
    (tmp_path / "alone.html").write_bytes(report.read_bytes())
    browser.open(tmp_path / "alone.html")
    browser.run(f"{opened} {picture}.scrollIntoView()")
    browser.run_until_called("setTimeout(arguments[0], 300)")
    assert browser.run(f"return [{picture}.hidden, {picture}.nextElementSibling.hidden]") == [True, False]
    assert "ERR_FILE_NOT_FOUND" in "".join(browser.messages())


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_is_wider_than_the_window(browser, width):
    browser.resize(width, 800)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_it_can_be_read_without_its_script(browser, report, tmp_path):
    text = report.read_text("utf-8")
    start, end = text.index("<script>"), text.index("</script>")
    (tmp_path / "still.html").write_text(text[:start] + text[end + len("</script>") :])
    browser.open(tmp_path / "still.html")
    assert all(shown(browser, f".{part} img") for part in ("baseline", "actual", "difference"))
    tools = "return [...document.querySelectorAll('#filters, .copy, .modes')].some(e => e.checkVisibility())"
    assert not browser.run(tools)


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: npm install axe-core, and name MODELVIZ_NODE_MODULES")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_core_finds_nothing(browser, scheme, width):
    browser.emulate(prefers_color_scheme=scheme)
    browser.resize(width, 900)
    browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
    browser.run(AXE.read_text("utf-8"))
    found = browser.run_until_called("const done = arguments[0]; axe.run().then(r => done(r.violations))")
    assert [(rule["id"], node["html"], node["failureSummary"]) for rule in found for node in rule["nodes"]] == []


@pytest.mark.skipif(TSC is None, reason="no tsc: npm install typescript, and name MODELVIZ_NODE_MODULES")
def test_the_script_is_typed():
    options = [
        "--noEmit",
        "--allowJs",
        "--checkJs",
        "--strict",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom,dom.iterable",
    ]
    script = Path(html.__file__).with_name("report.js")
    done = subprocess.run([TSC, *options, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
