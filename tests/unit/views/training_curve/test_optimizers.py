"""What is recorded of optimisers, and what a training says where only its optimiser is another one."""

import copy
import dataclasses
import json

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from pytest_modelviz.compare.ignored import is_ignored
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.findings import AttributeFinding, Role
from pytest_modelviz.reports.sentences import sentences
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.curve_tables import CurveKind
from pytest_modelviz.views.training_curve.findings import CurveFinding, CurveRemark, OptimizerFinding


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.body(x))


class Setup:
    """A small training of which the optimiser is chosen."""

    def __init__(self, optimizer, *, scheduler=None, clip=None, steps=4, given=True, model=True, in_step=True):
        torch.manual_seed(1)
        self.net = Net()
        self.optimizer = optimizer(self.net)
        self.scheduler = scheduler(self.optimizer) if scheduler else None
        kept, own = [self.scheduler], self.scheduler if in_step else None

        def step(number):
            x = torch.randn(16, 4)
            loss = (self.net(x) - x.sum(1, keepdim=True)).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(self.net.parameters(), clip)
            self.optimizer.step()
            if own is not None:
                own.step()
            return loss

        self.kept = kept
        self.view = TrainingCurveView(
            step,
            steps=steps,
            model=self.net if model else None,
            optimizer=self.optimizer if given is True else given or None,
        )


def captured(optimizer, **options):
    return Setup(optimizer, **options).view.capture()


def compared(one, other, **options):
    two = Setup(other, **options)
    return two.view.compare(captured(one, **options), two.view.capture(), Tolerances())


def told(verdict):
    """The sentences about optimisers."""
    return sentences([finding for finding in verdict.findings if isinstance(finding, OptimizerFinding)])


def adamw(decay=1e-4, **options):
    return lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=decay, **options)


def adam(**options):
    return lambda net: torch.optim.Adam(net.parameters(), lr=1e-3, **options)


def sgd(rate=0.01, **options):
    return lambda net: torch.optim.SGD(net.parameters(), lr=rate, **options)


def grouped(matrices, others):
    def make(net):
        wide, narrow = ([p for p in net.parameters() if (p.dim() > 1) is is_wide] for is_wide in (True, False))
        groups = [{"params": wide, "weight_decay": matrices}, {"params": narrow, "weight_decay": others}]
        return torch.optim.AdamW(groups, lr=1e-3)

    return make


# what the numbers show, without optimizer=


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (adamw(1e-4), adamw(3e-3)),
        (sgd(weight_decay=1e-4), sgd(weight_decay=1e-3)),
        (sgd(momentum=0.9, weight_decay=1e-4), sgd(momentum=0.9, weight_decay=1e-3)),
        (adam(weight_decay=1e-3), adamw(1e-3)),
        (grouped(1e-3, 1e-3), grouped(1e-3, 0.0)),
        (grouped(1e-3, 1e-3), grouped(0.0, 1e-3)),
        (adam(), adam(eps=1e-6)),
        (adam(), adam(betas=(0.89, 0.999))),
        (sgd(momentum=0.9), sgd(momentum=0.9, nesterov=True)),
        (sgd(momentum=0.9), sgd(momentum=0.9, dampening=0.01)),
        (adam(), lambda net: torch.optim.Adam(net.parameters(), lr=1.05e-3)),
        (sgd(), lambda net: torch.optim.SGD(list(net.parameters())[:-1], lr=0.01)),
        (sgd(), lambda net: torch.optim.SGD(net.body.parameters(), lr=0.01)),
    ],
    ids=[
        "decoupled decay",
        "decay",
        "decay and momentum",
        "coupled or not",
        "no decay of norms and biases",
        "no decay of matrices",
        "eps",
        "betas",
        "nesterov",
        "dampening",
        "rate",
        "a bias left out",
        "a head left out",
    ],
)
def test_another_optimiser_shows_in_the_numbers(one, other):
    verdict = compared(one, other, given=False)
    assert not verdict.matched
    assert verdict.findings[0].kind in (CurveKind.UPDATE, CurveKind.DECAY)
    assert (verdict.cause, verdict.first.layer, verdict.first.class_name) == ("computation", "", "Net")
    assert compared(one, one, given=False).matched


def test_another_threshold_of_clipping_shows():
    one, other = Setup(sgd(), clip=0.5, given=False), Setup(sgd(), clip=0.4, given=False)
    verdict = other.view.compare(one.view.capture(), other.view.capture(), Tolerances())
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "", "computation")
    together = [f for f in verdict.findings if isinstance(f, CurveFinding) and not f.name]
    assert together[0].kind is CurveKind.UPDATE
    assert together[0].change == pytest.approx(-0.2, rel=1e-3)


def test_a_decay_is_told_by_what_it_does():
    verdict = compared(adamw(1e-4), adamw(3e-3), given=False, steps=1)
    texts = sentences(verdict.findings)
    assert any("body.1.weight moves along itself, as weight decay makes it, by " in text for text in texts)
    assert all("a difference of" not in text for text in texts)


@pytest.mark.parametrize(("before", "after", "change"), [(0.0175, 0.0262, "+50 %"), (0.0158, 0.0237, "+50 %")])
def test_a_change_is_a_part_of_what_it_was(before, after, change):
    (text,) = sentences([CurveFinding("", CurveKind.UPDATE, "w", before, after)])
    assert text == f"w moves by {before} -> {after}, {change}"


def test_a_parameter_alone_and_all_together_have_one_definition():
    verdict = compared(sgd(0.01), sgd(0.015), given=False, steps=1)
    changes = {f.name: f.change for f in verdict.findings if isinstance(f, CurveFinding) and f.kind is CurveKind.UPDATE}
    assert "" in changes
    assert len(changes) > 1
    assert list(changes.values()) == pytest.approx([0.5] * len(changes), rel=1e-3)


def test_a_baseline_that_does_not_say_how_parameters_moved_cannot_be_compared():
    one, two = Setup(adamw(1e-4), given=False), Setup(adamw(1e-4), given=False)
    baseline, actual = one.view.capture(), two.view.capture()
    arrays = {key: values for key, values in baseline.arrays.items() if key != "parameters.moves"}
    old = type(baseline)(baseline.view, baseline.facts, arrays, baseline.environment)
    with pytest.raises(UnreadableBaselineError, match="Record it anew"):
        two.view.compare(old, actual, Tolerances())


def test_elements_whose_gradient_is_rounding_are_not_compared():
    # the key's bias of attention has no gradient but rounding, of which Adagrad makes full steps in any direction
    def trained(push):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        optimizer = torch.optim.Adagrad(layer.parameters(), lr=1e-2)
        bias = layer.self_attn.in_proj_bias
        noise = torch.zeros_like(bias)
        noise[8:16] = push
        bias.register_hook(lambda gradient: gradient * (noise == 0) + noise * gradient.abs().max())

        def step(number):
            loss = layer(torch.rand(2, 3, 8)).square()[..., 0].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=1, model=layer)

    one, other = trained(1e-9), trained(-1e-9)
    baseline, actual = one.capture(), other.capture()
    assert other.compare(baseline, actual, Tolerances()).matched


# what is recorded


def test_what_an_optimiser_was_told_to_do_is_recorded():
    (record,) = captured(grouped(1e-2, 0.0)).facts["optimizer"]
    assert (record["class"], record["schedulers"], record["schedules"]) == ("AdamW", [], {})
    assert [group["options"]["weight_decay"] for group in record["groups"]] == [1e-2, 0.0]
    assert record["groups"][0]["parameters"] == ["body.0.weight", "body.3.weight", "head.weight"]
    assert record["groups"][0]["options"]["betas"] == [0.9, 0.999]
    for volatile in ("params", "foreach", "fused", "capturable", "differentiable"):
        assert volatile not in record["groups"][0]["options"]
    json.dumps(record)


def test_schedules_are_recorded_step_by_step():
    facts = captured(sgd(0.1), scheduler=lambda one: lr_scheduler.StepLR(one, 2, gamma=0.5)).facts
    (record,) = facts["optimizer"]
    assert record["schedules"] == {"0.lr": {"0": 0.1, "2": 0.05, "4": 0.025}}
    (scheduler,) = record["schedulers"]
    assert (scheduler["class"], scheduler["options"]) == ("StepLR", {"gamma": 0.5, "step_size": 2})


def test_without_a_model_parameters_are_told_by_their_shape():
    (record,) = captured(sgd(), model=False).facts["optimizer"]
    assert record["groups"][0]["parameters"][-2:] == ["float32[4, 1]", "float32[32]"] or "float32[1]" in str(record)


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_several_optimisers(kind):
    def given(body, head):
        torch.manual_seed(1)
        net = Net()
        both = torch.optim.SGD(net.body.parameters(), lr=body), torch.optim.Adam(net.head.parameters(), lr=head)
        several = kind(both) if kind is not dict else {"body": both[0], "head": both[1]}

        def step(number):
            loss = net(torch.rand(4, 4)).square().mean()
            net.zero_grad()
            loss.backward()
            for one in both:
                one.step()
            return loss

        return TrainingCurveView(step, steps=2, model=net, optimizer=several)

    one, other = given(0.1, 0.01), given(0.1, 0.02)
    verdict = other.compare(one.capture(), other.capture(), Tolerances())
    name = "Adam 'head'" if kind is dict else "Adam '1'"
    assert told(verdict) == [f"the optimiser: lr ({name}): 0.01 -> 0.02"]


# what is said


CHANGES = {
    "decay": (adamw(1e-4), adamw(2e-4), "weight_decay (AdamW): 0.0001 -> 0.0002"),
    "betas": (adam(), adam(betas=(0.9, 0.998)), "betas (Adam): (0.9, 0.999) -> (0.9, 0.998)"),
    "eps": (adam(), adam(eps=1e-9), "eps (Adam): 1e-08 -> 1e-09"),
    "maximize": (sgd(), sgd(maximize=True), "maximize (SGD): False -> True"),
    "group": (
        grouped(1e-3, 1e-3),
        grouped(1e-3, 0.0),
        "weight_decay (AdamW, group 1): 0.001 -> 0.0",
    ),
    "class": (sgd(), lambda net: torch.optim.RMSprop(net.parameters(), lr=0.01), "class: SGD -> RMSprop"),
    "left out": (
        sgd(),
        lambda net: torch.optim.SGD(list(net.parameters())[:-1], lr=0.01),
        "head.bias (SGD): optimised -> left out",
    ),
    "groups": (adamw(1e-3), grouped(1e-3, 1e-3), "parameter groups (AdamW): 1 -> 2"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_an_optimiser_is_said_as_such(change):
    one, other, text = CHANGES[change]
    verdict = compared(one, other)
    assert f"the optimiser: {text}" in told(verdict)
    assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "computation", "")


@pytest.mark.parametrize("model", [True, False])
def test_a_change_that_no_number_shows_is_a_drift(model):
    def stepping(size):
        return lambda one: lr_scheduler.StepLR(one, size)

    one = Setup(sgd(), scheduler=stepping(30), model=model)
    other = Setup(sgd(), scheduler=stepping(60), model=model)
    verdict = other.view.compare(one.view.capture(), other.view.capture(), Tolerances())
    assert (verdict.matched, verdict.cause) == (False, "computation")
    assert [type(finding) for finding in verdict.findings] == [CurveRemark, OptimizerFinding]
    assert told(verdict) == ["the optimiser: StepLR step_size (SGD): 30 -> 60"]


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (None, lambda o: lr_scheduler.StepLR(o, 9), "scheduler (SGD): none -> StepLR"),
        (
            lambda o: lr_scheduler.StepLR(o, 9),
            lambda o: lr_scheduler.ExponentialLR(o, 0.9),
            "scheduler (SGD): StepLR -> ExponentialLR",
        ),
        (
            lambda o: lr_scheduler.LambdaLR(o, lambda n: 1.0 if n < 2 else 0.5),
            lambda o: lr_scheduler.LambdaLR(o, lambda n: 1.0 if n < 3 else 0.5),
            "lr of step 2 (SGD): 0.005 -> 0.01",
        ),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ConstantLR(o), lr_scheduler.StepLR(o, 8)], [9]),
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ConstantLR(o), lr_scheduler.StepLR(o, 8)], [10]),
            "SequentialLR milestones (SGD): (9) -> (10)",
        ),
    ],
    ids=["attached", "class", "function", "nested"],
)
def test_schedulers(one, other, text):
    two = Setup(sgd(), scheduler=other)
    verdict = two.view.compare(captured(sgd(), scheduler=one), two.view.capture(), Tolerances())
    assert f"the optimiser: {text}" in told(verdict)


def test_a_scheduler_may_be_kept_anywhere_that_the_step_function_names():
    stepping = lambda one: lr_scheduler.StepLR(one, 30)  # noqa: E731
    one, other = (
        Setup(sgd(), scheduler=stepping, in_step=True),
        Setup(sgd(), scheduler=stepping, in_step=False),
    )
    other.scheduler = None  # only the list of the closure's owner has it
    assert other.view.compare(one.view.capture(), other.view.capture(), Tolerances()).matched


def test_schedulers_can_be_given():
    def given(size):
        made = Setup(sgd(), scheduler=lambda one: lr_scheduler.StepLR(one, size), given=False, in_step=False)
        made.view._optimizer = made.scheduler
        return made.view

    one, other = given(30), given(60)
    verdict = other.compare(one.capture(), other.capture(), Tolerances())
    assert told(verdict) == ["the optimiser: StepLR step_size (SGD): 30 -> 60"]


def test_what_does_not_change_what_is_computed_is_no_drift():
    assert compared(adam(), adam(foreach=False)).matched
    assert compared(adam(), lambda net: torch.optim.Adam(list(net.parameters())[::-1], lr=1e-3)).matched
    assert compared(sgd(), lambda net: torch.optim.SGD(net.parameters(), lr=torch.tensor(0.01))).matched


def test_an_option_of_another_version_of_torch_is_no_drift_where_it_is_off():
    off, on = Setup(adam()).view, Setup(adam(amsgrad=True)).view
    for view, matches in ((off, True), (on, False)):
        actual = view.capture()
        facts = copy.deepcopy(actual.facts)
        del facts["optimizer"][0]["groups"][0]["options"]["amsgrad"]
        assert view.compare(dataclasses.replace(actual, facts=facts), actual, Tolerances()).matched is matches


def test_a_baseline_that_does_not_know_the_optimiser_is_no_match():
    one, two = Setup(adam(), given=False), Setup(adam())
    baseline, actual = one.view.capture(), two.view.capture()
    assert "optimizer" not in baseline.facts
    assert told(two.view.compare(baseline, actual, Tolerances())) == ["the optimiser: optimizer=: not given -> given"]
    assert told(two.view.compare(actual, baseline, Tolerances())) == ["the optimiser: optimizer=: given -> not given"]


def test_changed_weights_outweigh_an_optimiser_which_is_told_beside():
    one, two = Setup(sgd(0.01)), Setup(sgd(0.02))
    with torch.no_grad():
        two.net.head.weight.mul_(1.1)
    verdict = two.view.compare(one.view.capture(), two.view.capture(), Tolerances())
    assert (verdict.cause, verdict.first.layer) == ("weights", "head")
    assert [f.role for f in verdict.findings if isinstance(f, OptimizerFinding)] == [Role.ALSO]


class Logging(torch.optim.SGD):
    """It writes where a process has its temporary files, and keeps when it began."""

    def __init__(self, parameters, log_dir, note="plain"):
        super().__init__(parameters, lr=0.01)
        self.log_dir, self.logger, self.note = str(log_dir), str(log_dir), note
        self.started = 1764176567.1234567 if note == "plain" else 1700000000.7654321


def test_what_two_processes_do_not_share_is_no_option(tmp_path):
    def logging_to(folder, **options):
        return lambda net: Logging(net.parameters(), tmp_path / folder, **options)

    assert compared(logging_to("a"), logging_to("b")).matched
    assert str(tmp_path) not in json.dumps(captured(logging_to("a")).facts)
    assert told(compared(logging_to("a"), logging_to("a", note="other"))) == [
        "the optimiser: note (Logging): plain -> other"
    ]
    facts = json.loads(json.dumps(captured(logging_to("a")).facts))
    facts["optimizer"][0]["options"]["log_dir"] = "/tmp/tmpa1/runs"  # as an earlier version wrote it
    view = Setup(logging_to("b")).view
    capture = view.capture()
    assert view.compare(dataclasses.replace(capture, facts=facts), capture, Tolerances()).matched


@pytest.mark.parametrize(
    ("glob", "matched"), [("*.note", True), ("Logging.note", True), ("note", True), ("*.n", False)]
)
def test_options_can_be_ignored(glob, matched, tmp_path):
    one, other = (Setup(lambda net, n=n: Logging(net.parameters(), tmp_path, n)) for n in ("plain", "other"))
    verdict = other.view.compare(one.view.capture(), other.view.capture(), Tolerances(ignored=(glob,)))
    assert verdict.matched is matched
    assert any(is_ignored([glob], *name) for name in one.view.option_names(one.view.capture())) is matched


def test_hyperparameters_kept_on_the_model_are_no_layer():
    def kept(rate):
        made = Setup(sgd(rate), given=False)
        made.net.hparams = {"lr": rate, "name": "run"}
        return made.view

    one, other = kept(0.01), kept(0.02)
    verdict = other.compare(one.capture(), other.capture(), Tolerances())
    assert (verdict.cause, verdict.first.layer, verdict.first.class_name) == ("computation", "", "Net")
    assert [(f.role, f.name) for f in verdict.findings if isinstance(f, AttributeFinding)] == [(Role.ALSO, "hparams")]


def test_configuration_of_the_model_itself_is_headed_by_its_name():
    class Scaled(Net):
        factor = 1.0

        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return self.factor * super().forward(x)

        def extra_repr(self):
            return f"factor={self.factor}"

    def view(factor):
        torch.manual_seed(0)
        net = Scaled(factor)
        return TrainingCurveView(lambda i: net(torch.ones(1, 4)).sum(), steps=1, model=net)

    one, other = view(1.0), view(2.0)
    verdict = other.compare(one.capture(), other.capture(), Tolerances())
    assert (verdict.cause, verdict.first.layer, verdict.first.class_name) == ("architecture", "", "Scaled")


# what cannot be


@pytest.mark.parametrize("given", [0.1, "adam", [], {}, [3], nn.Linear(1, 1), torch.optim.SGD], ids=repr)
def test_what_is_no_optimiser_is_said(given):
    with pytest.raises(ModelvizError, match=r"optimizer takes an optimiser of torch\.optim"):
        TrainingCurveView(lambda i: 0.0, optimizer=given)


@pytest.mark.parametrize(
    "facts",
    [
        "text",
        [3],
        [{}],
        [{"name": "", "class": "SGD", "options": {}, "groups": [{}], "schedulers": [], "schedules": {}}],
        [{"name": "", "class": "SGD", "options": {}, "groups": [], "schedulers": [{}], "schedules": {}}],
        [{"name": "", "class": "SGD", "options": {}, "groups": [], "schedulers": [], "schedules": {"0.lr": 3}}],
        [{"name": "", "class": "SGD", "options": {}, "groups": [], "schedulers": [], "schedules": {"lr": {"x": 3}}}],
    ],
)
def test_damaged_facts_are_said(facts):
    view = Setup(sgd()).view
    capture = view.capture()
    damaged = type(capture)(capture.view, {**capture.facts, "optimizer": facts}, capture.arrays, capture.environment)
    with pytest.raises(UnreadableBaselineError, match="optimizer facts are damaged"):
        view.compare(damaged, capture, Tolerances())
