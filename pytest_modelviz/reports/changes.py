"""What has become of a tensor's values, in words."""

import functools

from pytest_modelviz.records import changes
from pytest_modelviz.text.counts import counted

_MOST_NAMED = 4  # slices


@functools.singledispatch
def change_text(change: changes.ValueChange) -> str:
    """A change in a few words, such as `all x 1.05` or `1 of 64 filters negated`."""
    raise NotImplementedError(f"nobody has worded changes of the type {type(change).__name__}")


@change_text.register
def _(change: changes.Rounded) -> str:
    return f"rounded to {change.dtype}"


@change_text.register
def _(change: changes.Affine) -> str:
    if change.factor == 1.0:
        return f"all {'+' if change.offset > 0 else '-'} {abs(change.offset):.3g}"
    scaled = "all negated" if change.factor == -1.0 else f"all x {change.factor:.4g}"
    return scaled + (f" {'+' if change.offset > 0 else '-'} {abs(change.offset):.3g}" if change.offset else "")


@change_text.register
def _(change: changes.NormalisedChannels) -> str:
    texts = [change_text(changes.Affine(*pair)) for pair in zip(change.factors, change.offsets, strict=True)]
    return f"another normalisation: {'; '.join(f'channel {at} {text[4:]}' for at, text in enumerate(texts))}"


@change_text.register
def _(change: changes.ScaledSlices) -> str:
    some = _some(change.indices, change.total, change.slices)
    if set(change.factors) == {-1.0}:
        return f"{some} negated"
    return f"{some} x {', '.join(f'{factor:.3g}' for factor in change.factors[:_MOST_NAMED])}"


@change_text.register
def _(change: changes.ExchangedSlices) -> str:
    return f"{change.slices}s {change.first} and {change.second} of {change.total} exchanged"


@change_text.register
def _(change: changes.ZeroSlices) -> str:
    return f"{_some(change.indices, change.total, change.slices)} zero now"


@change_text.register
def _(change: changes.ZeroValues) -> str:
    return f"{change.count:,} of {change.total:,} values zero now"


@change_text.register
def _(change: changes.FewValues) -> str:
    return f"{'' if change.is_exact else 'about '}{change.count} of {change.total:,} values"


@change_text.register
def _(change: changes.Mirrored) -> str:
    return f"mirrored {change.how}"


@change_text.register
def _(change: changes.PreparedOtherwise) -> str:
    return "a similar picture, perhaps resized, cropped or compressed in another way"


def _some(indices: tuple[int, ...], total: int, slices: str) -> str:
    """`2 of 64 filters (3, 60)`."""
    more = ", ..." if len(indices) > _MOST_NAMED else ""
    return f"{len(indices)} of {counted(total, slices)} ({', '.join(map(str, indices[:_MOST_NAMED]))}{more})"
