"""What settings take, as values of options, of ini files, of markers and of calls."""

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

from pytest_modelviz.compare.tolerance import LayerTolerance
from pytest_modelviz.records.colormap import Colormap
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.run.options import InvalidSettingError

ORPHANS = ("ignore", "warn", "fail")
GITHUB = ("auto", "off")
Choice = TypeVar("Choice", bound=Enum)


def parse_tolerance(name: str, text: Any) -> float:
    """A tolerance: a finite number, not negative."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(text, bool) or not 0.0 <= value < math.inf:
        raise InvalidSettingError(f"{name} takes a number that is not negative, such as 1e-4, not {text!r}")
    return value


def parse_folder(name: str, text: str) -> str:
    """A folder's path, absolute or relative to rootdir."""
    if not text.strip() or "\0" in text:
        raise InvalidSettingError(f"{name} takes a folder, not {text!r}")
    if "://" in text:
        raise InvalidSettingError(f"{name} takes a folder of this machine, not {text!r}")
    return text


def parse_location(name: str, text: str) -> str:
    """A folder, or a URL that fsspec knows."""
    if "://" not in text:
        return parse_folder(name, text)
    import fsspec

    protocol, _, path = text.partition("://")
    if protocol not in fsspec.available_protocols():
        raise InvalidSettingError(f"{name} takes a folder or a URL such as s3://bucket/baselines; {text!r} is neither")
    if not path.strip("/"):
        raise InvalidSettingError(
            f"{name} takes a URL of a folder, such as {protocol}://bucket/baselines, not {text!r}"
        )
    if protocol in ("file", "local"):
        from fsspec.implementations.local import LocalFileSystem

        return str(LocalFileSystem._strip_protocol(text))
    return text


def parse_variant(name: str, text: Any) -> str:
    """The name of a platform."""
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise InvalidSettingError(f"{name} takes a name such as cuda or macos-arm64, not {text!r}")
    return text


def parse_orphans(name: str, text: str) -> str:
    """What becomes of a run that finds baselines whose test is gone."""
    if text not in ORPHANS:
        raise InvalidSettingError(f"{name} takes {', '.join(ORPHANS[:-1])} or {ORPHANS[-1]}, not {text!r}")
    return text


def parse_github(name: str, text: str) -> str:
    """Whether a run on GitHub Actions writes a summary and annotations."""
    if text not in GITHUB:
        raise InvalidSettingError(f"{name} takes {' or '.join(GITHUB)}, not {text!r}")
    return text


def parse_attribute_globs(name: str, value: Any) -> tuple[str, ...]:
    """Globs of attributes: texts such as `*._trainer`, alone or several in a list."""
    given = [value] if isinstance(value, str) else value
    are_texts = isinstance(given, (list, tuple, set, frozenset)) and all(isinstance(text, str) for text in given)
    globs = [glob for text in given for glob in text.split()] if are_texts else []
    if not are_texts or not all(glob.isprintable() for glob in globs) or (not globs and value):
        raise InvalidSettingError(f"{name} takes globs of attributes such as '*._trainer', not {value!r}")
    return tuple(globs)


def parse_layer_tolerances(name: str, mapping: Any, key: str | None = None) -> tuple[LayerTolerance, ...]:
    """A mapping of layer globs to tolerances: numbers for `key`, or mappings with `rtol` and `atol`.

    Without a `key` a number is an rtol.
    """
    if not isinstance(mapping, Mapping):
        raise InvalidSettingError(f"{name} takes a mapping of layer globs to tolerances, not {mapping!r}")
    made = []
    for pattern, value in mapping.items():
        if not isinstance(pattern, str):
            raise InvalidSettingError(f"{name} takes globs of layer names such as 'layer4.*', not {pattern!r}")
        given = value if isinstance(value, Mapping) and key is None else {key or "rtol": value}
        if not given or not set(given) <= {"rtol", "atol"}:
            raise InvalidSettingError(f"{name} takes rtol and atol for {pattern!r}, not {value!r}")
        label = f"{name} for {pattern!r}"
        made.append(LayerTolerance(pattern, **{k: parse_tolerance(f"{label}, {k},", v) for k, v in given.items()}))
    return tuple(made)


def parse_shadow(name: str, text: Any) -> Shadow:
    """When a pass in lower precision is repeated in float32."""
    return _choice(Shadow, name, text)


def parse_colormap(name: str, text: Any) -> Colormap:
    """The colour map of heatmaps."""
    return _choice(Colormap, name, text)


def _choice(kind: type[Choice], name: str, text: Any) -> Choice:
    try:
        return kind(text)
    except ValueError:
        *others, last = [choice.value for choice in kind]
        raise InvalidSettingError(f"{name} takes {', '.join(others)} or {last}, not {text!r}") from None


PARSERS: Mapping[str, Callable[[str, str], Any]] = {  # of the options that are no flags
    "--modelviz-baseline-dir": parse_location,
    "--modelviz-results-dir": parse_folder,
    "--modelviz-rtol": parse_tolerance,
    "--modelviz-atol": parse_tolerance,
    "--modelviz-variant": parse_variant,
    "--modelviz-orphans": parse_orphans,
    "--modelviz-shadow": parse_shadow,
    "--modelviz-colormap": parse_colormap,
    "--modelviz-github": parse_github,
}
