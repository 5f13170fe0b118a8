"""What a newcomer does wrong gets one clear message; what is damaged is told and kept."""

import pytest

ONE = "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("feature_maps(load(), photo(), layers=['convv1'])", "the model has no layer 'convv1'; did you mean 'conv1'"),
        ("cam_map(load(), photo(), target_layer='layer4')", "the model has no layer 'layer4'*"),
        ("cam_map(load(), photo(), method='grad-cam')", "unknown CAM method 'grad-cam': did you mean 'gradcam'*"),
        ("cam_map(load(), photo(), method='randomcam')", "*draws random weights*"),
        ("cam_map(nn.Linear(4, 2), torch.rand(1, 4))", "no layer of the model has an output with spatial extent*"),
        ("cam_map(load(), photo(), target=5)", "target 5 is out of range: the model has 5 classes, from 0"),
        ("feature_maps(load(), photo().to('meta'))", "the input is on meta but the model is on cpu*"),
        ("feature_maps('resnet18', photo())", "the model must be a torch.nn.Module, not str"),
        (
            "feature_maps(load(), photo()); feature_maps(load(), photo())",
            "this test has two checks named 'feature_maps': pass name=*",
        ),
        (
            "feature_maps(load(), photo(), name='x'); cam_map(load(), photo(), name='x')",
            "this test has two checks named 'x'*",
        ),
        ("feature_maps(load(), photo(), name='')", "name= takes a non-empty printable string*"),
        ("model_summary(load(), 'large')", "input_size must be a shape*"),
        ("model_summary(load(), (-1, 3, 8, 8))", "input_size must be a shape*"),
        ("model_summary(load(), (10**15, 3, 8, 8))", "no input of the input_size (1000000000000000, 3, 8, 8) can be*"),
        ("model_summary(load(), (2**62, 3, 8, 8))", "no input of the input_size (4611686018427387904, 3, 8, 8) can*"),
        ("modelviz(load(), photo(), summary=False, feature_maps=False)", "modelviz has nothing to capture*"),
        ("modelviz(load(), photo(), cam='conv9')", "the model has no layer 'conv9'; did you mean*?*"),
    ],
)
def test_a_newcomer_s_mistake_has_one_clear_message(project, call, message):
    project.test(f"from net import *\ndef test_net(model_summary, feature_maps, cam_map, modelviz):\n    {call}\n")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E * pytest_modelviz.errors.ModelvizError: {message.replace('[', '[[]')}*"])
    shown = [line for line in result.outlines if "pytest_modelviz" in line and line.endswith("Error")]
    assert not [line for line in shown if "/pytest_modelviz/" in line]  # the way inside says nothing to a user


@pytest.mark.parametrize("model", ["load().requires_grad_(False)", "load().to(torch.bfloat16)", "load().half()"])
def test_frozen_and_half_precision_models_simply_work(project, model):
    project.test(
        f"from net import *\ndef test_net(model_summary, feature_maps, cam_map):\n"
        f"    model = {model}\n    x = photo().to(model.conv1.weight.dtype)\n"
        f"    model_summary(model, input_data=x)\n    feature_maps(model, x)\n    cam_map(model, x)\n"
    )
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)


def test_an_error_of_the_model_is_the_model_s_own(project):
    project.test("from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), torch.rand(1, 4, 8, 8))\n")
    result = project.run()
    result.stdout.fnmatch_lines(["E * RuntimeError: *expected input*to have 3 channels*"])


def test_two_checks_of_one_view_are_told_apart_by_name(project):
    project.test(
        "from net import *\ndef test_net(feature_maps):\n"
        "    feature_maps(load(), photo(), name='one')\n    feature_maps(load(), photo() * 2, name='two')\n"
    )
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)
    assert project.baseline("one.json").exists()
    assert project.baseline("two.json").exists()


def test_ids_that_look_alike_have_baselines_of_their_own(project):
    project.test(
        """
        import pytest
        from net import *

        @pytest.mark.parametrize("n", [1, 2, 3], ids=["a-b", "a_b", "a/b"])
        def test_net(n, feature_maps):
            feature_maps(load(), photo() * n)
        """
    )
    project.run_once("--modelviz-update").assert_outcomes(passed=3)
    project.run("--modelviz").assert_outcomes(passed=3)
    assert len(list((project.path / "baselines/test_net").iterdir())) == 3


DAMAGE = {
    "truncated": lambda data: data[:100],
    "empty": lambda data: b"",
    "pointer": lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n",
    "conflict": lambda data: b"<<<<<<< HEAD\n" + data + b"=======\n>>>>>>> theirs\n",
    "newer": lambda data: data.replace(b'"schema": 1', b'"schema": 7'),
    "foreign": lambda data: data.replace(b"::test_net", b"::test_other"),
    "view": lambda data: data.replace(b'"view": "feature_maps"', b'"view": "cam_map"'),
    "pictures": lambda data: data.replace(b'"exponent"', b'"exp"'),
    "facts": lambda data: data.replace(b'"pictures": {', b'"pictures": 3, "was": {'),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_baseline_fails_is_kept_and_replaced_only_when_all_is(project, kind):
    project.test(ONE)
    project.run_once("--modelviz-update")
    path = project.baseline("feature_maps.json")
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    damaged = project.files()
    if kind in ("pictures", "facts"):
        project.fault("weight")  # pictures are read when they are shown
    for option in ("--modelviz", "--modelviz-update-missing", "--modelviz-update"):
        if kind in ("pictures", "facts") and option == "--modelviz-update":
            continue  # the drift is recorded without looking at pictures
        result = project.run(option)
        result.assert_outcomes(failed=1)
        assert project.statuses() == {"feature_maps": "unreadable"}
        result.stdout.fnmatch_lines(
            ["feature_maps: the baseline baselines/test_net/test_net/feature_maps.json cannot be read: *"]
        )
        result.stdout.fnmatch_lines(
            [
                "  to replace it with the current capture: pytest --modelviz-update-all test_net.py::test_net",
                "  this records all checks of the test, not only this one",
            ],
            consecutive=True,
        )
        assert project.files() == damaged
    project.run("--modelviz-update-all").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)


def test_a_safetensors_file_of_another_recording_is_unreadable(project):
    project.test(ONE)
    project.run("--modelviz-update")
    data = project.baseline("feature_maps.safetensors")
    old = data.read_bytes()
    project.fault("weight")
    project.run("--modelviz-update")
    data.write_bytes(old)
    project.run("--modelviz").stdout.fnmatch_lines(["*does not belong to its JSON file*"])
    data.unlink()
    project.run("--modelviz").stdout.fnmatch_lines(["*safetensors file is missing*"])


def test_a_check_under_another_view_is_unreadable(project):
    project.test("from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo(), name='x')\n")
    project.run_once("--modelviz-update")
    project.test("from net import *\ndef test_net(cam_map):\n    cam_map(load(), photo(), name='x')\n")
    project.run("--modelviz").stdout.fnmatch_lines(["*it was recorded by the view 'feature_maps', not 'cam_map'"])


FAILING = """
from net import *

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        print("a pass")
        x = self.conv(x)
        try:
            return {}["missing"]
        except KeyError as error:
            raise LookupError("of the model") from error

class Mismatches(Fails):
    def forward(self, x):
        print("a pass")
        return self.conv(x) @ torch.ones(3, 3)

def test_summary(model_summary):
    model_summary(MODEL(), photo())

def test_maps(feature_maps):
    feature_maps(MODEL(), photo())

def test_cam(cam_map):
    cam_map(MODEL(), photo())

def test_saliency(saliency_map):
    saliency_map(MODEL(), photo())

def test_graph(model_graph):
    model_graph(MODEL(), photo())

def test_together(modelviz):
    modelviz(MODEL(), photo(), cam="conv")
"""


@pytest.mark.parametrize(
    ("model", "error"), [("Fails", "LookupError: of the model"), ("Mismatches", "RuntimeError: mat1 and mat2 shapes*")]
)
def test_an_error_of_the_model_is_shown_without_the_way_to_it_and_made_once(project, model, error):
    project.test(FAILING.replace("MODEL", model))
    result = project.run()
    result.assert_outcomes(failed=6)
    shown = result.stdout.str()
    assert "pytest_modelviz/" not in shown
    assert shown.count("a pass\n") - shown.count('print("a pass\n') == 6
    result.stdout.fnmatch_lines([f"E * {error}"] * 6)
    assert "torch/_" not in shown  # nor through what watches operators
    if model == "Fails":
        result.stdout.fnmatch_lines(["E * KeyError: 'missing'", "test_net.py:*: LookupError"] * 6)


def test_the_whole_way_is_there_for_who_wants_it(project):
    classes = FAILING.partition("def test_summary")[0]
    project.test(f"{classes}def test_net(feature_maps):\n    feature_maps(Fails(), photo())\n")
    assert "pytest_modelviz/" in project.run("--full-trace").stdout.str()


def test_an_error_of_the_plugin_itself_keeps_its_way(project, monkeypatch):
    def broken(*_):
        return 1 + "1"

    monkeypatch.setattr("pytest_modelviz.views.feature_maps.capture.environment", broken)
    monkeypatch.setattr("pytest_modelviz.plugin.tracebacks._HOME", str(__file__))
    project.test(ONE)
    project.run().stdout.fnmatch_lines(["*test_errors.py:*: TypeError"])


ALL = """
from net import *

def test_net(
    model_summary, feature_maps, cam_map, kernel_maps, saliency_map, model_graph, activation_maximization, modelviz,
    training_curve,
):
    net, allowed = load(), ALLOWED
    model_summary(net, photo(), **allowed)
    model_graph(net, photo(), **allowed)
    feature_maps(net, photo(), **allowed)
    cam_map(net, photo(), target=1, **allowed)
    kernel_maps(net, **allowed)
    saliency_map(net, photo(), target=1, **allowed)
    activation_maximization(net, "conv2", image=photo(), steps=1, **allowed)
    modelviz(net, photo(), name="all", **allowed)
    training_curve(training(net), steps=1, model=net, **allowed)
"""


def test_every_fixture_takes_tolerances_and_those_that_compare_numbers_heed_them(project):
    project.test(ALL.replace("ALLOWED", "{}"))
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.fault("weight")  # five per cent of one layer's
    project.test(ALL.replace("ALLOWED", "dict(rtol={'*': 1.0}, atol=1e-9)"))
    project.run("--modelviz").assert_outcomes(passed=1)
    assert set(project.statuses().values()) == {"match"}
    errors = {check["name"] for check in project.results["checks"] if check["error"] > 1e-3}
    assert errors == {*project.statuses()} - {"model_summary", "model_graph", "all_model_summary"}  # those are exact


@pytest.mark.parametrize("view", ["model_summary", "kernel_maps", "model_graph"])
def test_a_tolerance_that_is_none_is_told_by_every_fixture(project, view):
    given = "load()" if view == "kernel_maps" else "load(), photo()"
    project.test(f"from net import *\ndef test_net({view}):\n    {view}({given}, rtol='much')\n")
    project.run().stdout.fnmatch_lines(["E * rtol*'much'*"])
