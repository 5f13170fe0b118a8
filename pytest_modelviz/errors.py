"""What can go wrong, in two kinds: the caller asked for something impossible, or a stored baseline cannot be read.

Both carry one message that names the thing and the remedy.
"""


class ModelvizError(Exception):
    """A check cannot be made as asked: a wrong layer name, an unknown method, an unwritable folder."""


class UnreadableBaselineError(Exception):
    """A stored baseline is damaged, foreign or newer than this version. It is never overwritten silently."""


class OversizedBaselineError(UnreadableBaselineError):
    """A stored baseline would take more memory than is allowed."""


class ForeignBaselineError(UnreadableBaselineError):
    """A stored baseline is another test's, its `owner`'s; its file may have been moved when the test was renamed."""

    def __init__(self, message: str, owner: str) -> None:
        super().__init__(message)
        self.owner = owner


class ModelvizWarning(UserWarning):
    """A setting had no effect, such as a layer glob that matches no layer, or a change made by a model could not be put
    back.
    """
