"""What has become of a tensor's values, in words."""

from pytest_modelviz.records import changes
from pytest_modelviz.text.counts import counted

_MOST_NAMED = 4  # slices


def change_text(change: changes.ValueChange) -> str:
    """A change in a few words, such as `all x 1.05` or `1 of 64 filters negated`."""
    match change:
        case changes.Rounded():
            return f"rounded to {change.dtype}"
        case changes.Affine():
            return f"all {_affine(change.factor, change.offset)}"
        case changes.NormalisedChannels():
            texts = map(_affine, change.factors, change.offsets)
            return f"another normalisation: {'; '.join(f'channel {at} {text}' for at, text in enumerate(texts))}"
        case changes.ScaledSlices():
            factors = ", ".join(f"{factor:.3g}" for factor in change.factors[:_MOST_NAMED])
            return f"{_some(change)} {'negated' if set(change.factors) == {-1.0} else f'x {factors}'}"
        case changes.ExchangedSlices():
            return f"{change.slices}s {change.first} and {change.second} of {change.total} exchanged"
        case changes.ZeroSlices():
            return f"{_some(change)} {'is' if len(change.indices) == 1 else 'are'} zero"
        case changes.ZeroValues():
            return f"{change.count:,} of {change.total:,} values {'is' if change.count == 1 else 'are'} zero"
        case changes.FewValues():
            return f"{'' if change.is_exact else 'about '}{change.count} of {change.total:,} values"
        case changes.Mirrored():
            return f"mirrored {change.how}"
        case changes.PreparedOtherwise():
            return "a similar picture, perhaps resized, cropped or compressed in another way"
    raise NotImplementedError(f"nobody has worded changes of the type {type(change).__name__}")


def _affine(factor: float, offset: float) -> str:
    shift = f"{'+' if offset > 0 else '-'} {abs(offset):.3g}"
    if factor == 1.0:
        return shift
    return f"{'negated' if factor == -1.0 else f'x {factor:.4g}'}{f' {shift}' if offset else ''}"


def _some(change: changes.ScaledSlices | changes.ZeroSlices) -> str:
    """`2 of 64 filters (3, 60)`."""
    named = ", ".join(map(str, change.indices[:_MOST_NAMED]))
    more = ", ..." if len(change.indices) > _MOST_NAMED else ""
    return f"{len(change.indices)} of {counted(change.total, change.slices)} ({named}{more})"
