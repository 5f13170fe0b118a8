"""What the fixtures of all views have in common, as a test calls them.

They know no pytest: what makes a check is handed to them. They import no torch before they are called, and name its
types for type checkers and editors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from pytest_modelviz.errors import ModelvizError

if TYPE_CHECKING:
    from pytest_modelviz.views.base import View

ResultT = TypeVar("ResultT")
ToleranceArgument: TypeAlias = float | Mapping[str, float] | None  # for all layers, or by their names and globs


def require_name(name: object) -> None:
    """Raises ModelvizError for what cannot name a check, or begin the names of several."""
    __tracebackhide__ = True
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ModelvizError(f"name= takes a non-empty printable string, not {name!r}")


class CheckRunner(Protocol):
    """Makes one check of a test."""

    def __call__(
        self,
        view: Callable[[], View[ResultT]],
        name: str | None,
        default: str,
        *,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> ResultT:
        """Capture and compare the view that is made; returns what it captured."""


class CheckFixture:
    """A fixture: a callable that makes checks. `pytest --fixtures` shows the first line of its docstring."""

    view: ClassVar[str]

    def __init__(self, run: CheckRunner) -> None:
        self._run = run

    def _check(
        self, view: Callable[[], View[ResultT]], name: str | None, rtol: ToleranceArgument, atol: ToleranceArgument
    ) -> ResultT:
        __tracebackhide__ = True
        return self._run(view, name, self.view, rtol=rtol, atol=atol)


class ViewFixture(Generic[ResultT]):
    """The fixture of a view that a plugin or a conftest.py registers; `ResultT` is the type of its result.

    Example:
        >>> def test_where_it_attends(attention_maps: ViewFixture[dict[str, NDArray[np.float32]]]) -> None:
        ...     maps = attention_maps(load(), {"input_ids": tokens})

    """

    def __init__(self, run: CheckRunner, view: Callable[..., View[ResultT]], name: str) -> None:
        self._run, self._view, self._name = run, view, name

    def __call__(
        self,
        *arguments: object,  # those of the view's class, which are unknown here
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
        **options: object,
    ) -> ResultT:
        """Capture the view and compare it with its baseline.

        Args:
            *arguments: The arguments of the view's class.
            name: Distinguishes several checks of one test; by default the view's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob.
            atol: The absolute tolerance, likewise.
            **options: The keyword arguments of the view's class.

        Returns:
            The `result` of the capture.

        Raises:
            ModelvizError: Two checks of the test have the same name.

        """
        __tracebackhide__ = True
        return self._run(lambda: self._view(*arguments, **options), name, self._name, rtol=rtol, atol=atol)
