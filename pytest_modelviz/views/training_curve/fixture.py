"""The fixture `training_curve`, as a test calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument

if TYPE_CHECKING:
    from torch import nn

    from pytest_modelviz.views.training_curve.optimizer_recorder import Optimizers
    from pytest_modelviz.views.training_curve.recorder import Step
    from pytest_modelviz.views.training_curve.records import TrainingCurve


class TrainingCurveFixture(CheckFixture):
    """Compare a short seeded run of `step(i)`, which trains and returns a loss or a dict of scalars."""

    view = "training_curve"

    def __call__(
        self,
        step: Step,
        *,
        steps: int = 20,
        model: nn.Module | None = None,
        optimizer: Optimizers | None = None,
        seed: int = 0,
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> TrainingCurve:
        """Train for some steps and compare every step with the baseline.

        Args:
            step: Does training step `i` and returns the loss, or a mapping of names to scalars: numbers, or tensors of
                one element.
            steps: The number of steps.
            model: The model that is trained; its gradients and updates are then compared as well. It stays trained.
            optimizer: An optimiser, a scheduler, or a list or mapping of them, whose options are then compared as
                well.
            seed: The seed of the training's random numbers.
            name: Distinguishes several checks of one test; by default the fixture's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            Scalars by name, and norms of gradients and updates by parameter, each float64 (steps,).

        Raises:
            ModelvizError: `step` is not a function, or returns something other than scalars.

        Example:
            >>> curve = training_curve(step, steps=10, model=model, optimizer=optimizer)
            >>> assert curve.scalars["loss"][-1] < curve.scalars["loss"][0]

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.training_curve.capture import TrainingCurveView

        return self._check(
            lambda: TrainingCurveView(step, steps=steps, model=model, optimizer=optimizer, seed=seed), name, rtol, atol
        )
