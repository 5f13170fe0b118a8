"""The command `modelviz`: review the results of a run, accept or reject them, without running a test again."""

from typing import Any

import click

from pytest_modelviz import __version__
from pytest_modelviz.cli.baselines import accept, mv, orphans, prune, reject
from pytest_modelviz.cli.diff import diff
from pytest_modelviz.cli.interactive import review
from pytest_modelviz.cli.results import list_, report, show
from pytest_modelviz.cli.tensorboard import tensorboard
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.run.options import InvalidSettingError
from pytest_modelviz.text.printable import printable


class _Group(click.Group):
    """Errors that users can mend are one line, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ModelvizError, InvalidSettingError) as error:
            raise click.ClickException(printable(str(error))) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="modelviz")
def main() -> None:
    """Review, accept or reject what pytest --modelviz found.

    Commands work on the results of the last run, or with --from on a results folder from elsewhere; diff and mv work on
    the baselines alone. None of them runs a test. A PATTERN is a shell glob for test ids ('tests/test_net.py::*'); a
    whole test id always matches itself.
    """


for _command in (list_, show, review, accept, reject, diff, orphans, prune, mv, tensorboard, report):
    main.add_command(_command)
