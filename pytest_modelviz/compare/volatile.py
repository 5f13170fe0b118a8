"""What may differ between two processes that build the same model, and is therefore no configuration.

Only texts are handled here: the probe normalises what it records, and a baseline is normalised as it is read, so that
recordings of earlier versions are compared by the same rules. A normalised text stays as it is.

| kind | becomes |
|---|---|
| absolute paths, and those that leave the current folder | `<path>` |
| addresses, hash values, UUIDs, hexadecimal digests | `<address>`, `<number>`, `<uuid>`, `<digest>` |
| times, devices | `<time>`, `<device>` |
| the order of a set or a dictionary | sorted |
| attributes, entries and arguments with one of the names in `NAMES`, and clocks named as such | left out |
| objects that run or watch a training | left out |

A list of texts may be configuration, or may have been a set: it stays as it is, and is compared `in_one_order`.
"""

import functools
import re
from collections.abc import Mapping

from pytest_modelviz.compare import devices
from pytest_modelviz.compare.bracketed import NamePredicate, arranged
from pytest_modelviz.compare.shared_objects import object_class
from pytest_modelviz.records.structure import MARKS
from pytest_modelviz.text.dotted import holders

# Names that libraries and users give to what belongs to a process, a machine or a checkout.
NAMES = frozenset(
    {
        # where a model was loaded from, and by which version: transformers, diffusers, peft
        *("_name_or_path", "name_or_path", "base_model_name_or_path", "_commit_hash", "commit_hash"),
        *("_original_object_hash", "_use_default_values", "_is_hf_initialized", "_attn_implementation_autoset"),
        *("_transformers_version", "transformers_version", "_diffusers_version", "peft_version"),
        # what runs a model, and what that leaves behind: lightning, accelerate
        *("_trainer", "trainer", "_fabric", "_fabric_optimizers", "_logger", "logger", "_hf_hook", "_compiler_ctx"),
        *("_current_fx_name", "_metric_attributes", "_param_requires_grad_state"),
        *("device", "_device", "devices", "_devices", "device_map", "hf_device_map", "_device_mesh", "device_mesh"),
        # processes, machines and times
        *("pid", "_pid", "ppid", "process_id", "thread_id", "native_id", "local_rank", "_local_rank"),
        *("hostname", "_hostname", "username", "cwd", "_cwd"),
        *("timestamp", "_timestamp", "created_at", "_created_at", "started_at", "_started_at"),
    }
)
_CLOCKS = frozenset({"start", "start_time", "end_time", "last_time", "time", "t0", "started", "created", "elapsed"})
_CLOCK = re.compile(r"\d+\.\d{5,}|\d{9,}|<time>|<number>")  # as many digits as a clock has
_MACHINERY_CLASSES = (
    "Trainer",
    "Logger",
    "LoggerAdapter",
    "Profiler",
    "Accelerator",
    "Fabric",
    "SummaryWriter",
    "ProgressBar",
)
_MACHINERY_PACKAGES = (
    "asyncio",
    "concurrent",
    "logging",
    "multiprocessing",
    "queue",
    "random",
    "subprocess",
    "tempfile",
    "threading",
)
_CODE = ("forward", "defaults")  # the signature of forward, which is compared elsewhere

_COMPUTING = "|".join(kind for kind in devices.TYPES if kind != "meta")  # "meta" alone may be any word
_DEVICE = rf"(?:(?:{_COMPUTING})(?::\d+)?|meta:\d+)"
_PATH_START = r"(?:file:/+\w|~[/\\]|/[\w.~+-]+/|[A-Za-z]:[/\\]|\\\\|\.\.[/\\])"
_PATH_CHARACTER = r"[^\s/\\'\",;()\[\]{}<>]"
_PATH_IN_TEXT = rf"(?<![\w:/.<~)\]])(?:[A-Za-z]:[/\\]|~?/)(?:{_PATH_CHARACTER}+[/\\]+)+{_PATH_CHARACTER}*"
_REPLACEMENTS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bParameter containing:(?:\\n|\s)*(?=tensor\()", ""),  # torch's engines pack either, and return tensors
        (r"\bdevice\(type='\w+'(?:, index=\d+)?\)", "<device>"),
        (rf"'{_DEVICE}'|\"{_DEVICE}\"", "<device>"),
        (rf"'{_PATH_START}[^'\n]*'|\"{_PATH_START}[^\"\n]*\"", "'<path>'"),
        # to the end of the text, since names of folders have blanks; only in texts that end
        (rf"(?<=')(?=[^'\n]*')([^'\n]*?){_PATH_IN_TEXT}[^'\n]*(?=')", r"\1<path>"),
        (_PATH_IN_TEXT, "<path>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{32,}\b", "<digest>"),
        (r"\b0x[0-9a-fA-F]{5,}\b", "<address>"),
        (r"\b\d{4}-\d\d-\d\d[T _]\d\d[:-]\d\d(?:[:-]\d\d(?:\.\d+)?)?(?:Z\b|[+-]\d\d:?\d\d\b)?", "<time>"),
        (r"(?<!\d)20\d\d[01]\d[0-3]\d[-_T]?[0-2]\d[0-5]\d[0-5]\d(?!\d)", "<time>"),
        (r"\b(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} ?[ \d]?\d[ _-]\d\d[:-]\d\d[:-]\d\d(?: \d{4})?(?!\d)", "<time>"),
        (r"\bdatetime\.(?:datetime|date|time)\([^()]*(?:\([^()]*\)[^()]*)*\)", "<time>"),
    )
)
_LARGE_NUMBER = re.compile(r"(?<![\w.])-?\d{10,20}(?:\.\d+)?(?![\w.])")
_EARLIEST, _LATEST = 1_500_000_000, 2_100_000_000  # seconds since 1970: from 2017 to 2036
_LARGEST_SETTING = 2**32  # counts, sizes and seeds are no larger

_LONGEST_CACHED, _LONGEST_CACHED_NAME = 2000, 200  # letters of a text whose result is remembered


def lasting(config: Mapping[str, str], ignored: NamePredicate | None = None) -> dict[str, str]:
    """A module's configuration as far as two processes share it, without the attributes that are `ignored`."""
    machinery = {key for key, text in config.items() if object_class(text).endswith(_MACHINERY_CLASSES)}
    lengths = {len(key) for key in machinery}
    result = {}
    for key, text in config.items():
        if key in _CODE or key in MARKS:
            result[key] = text
        elif not (is_volatile(key) or _is_clock(key, text) or any(holders(key, machinery, lengths))):
            if ignored is None:
                result[key] = normalised(text)
            elif not ignored(key):
                result[key] = arranged(normalised(text), functools.partial(_is_entry_of, key, ignored))
    return result


def is_volatile(name: str) -> bool:
    """Whether an attribute belongs to a process, a machine or a checkout, or lies in something that does."""
    return (_is_volatile if len(name) <= _LONGEST_CACHED_NAME else _is_volatile.__wrapped__)(name)


def is_machinery(kind: type) -> bool:
    """Whether objects of a class run or watch a model, and say nothing about how it is built."""
    package = kind.__module__.partition(".")[0]
    return package in _MACHINERY_PACKAGES or any(base.__name__.endswith(_MACHINERY_CLASSES) for base in kind.__mro__)


def normalised(text: str) -> str:
    """A text of a configuration without what differs between two processes."""
    if len(text) < 10 and text.isalnum():
        return text
    return (_normalised if len(text) <= _LONGEST_CACHED else _normalised.__wrapped__)(text)


@functools.lru_cache(maxsize=8192)
def _normalised(text: str) -> str:
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return arranged(_LARGE_NUMBER.sub(_number, text), is_volatile)


def _number(match: re.Match[str]) -> str:
    """Hash values, addresses and times are large and not round."""
    value = float(match[0])
    if _EARLIEST < value < _LATEST and (value != int(value) or value % 10**6):
        return "<time>"
    if "." in match[0] or abs(value) < _LARGEST_SETTING:
        return match[0]
    number = abs(int(match[0]))
    is_round = number % 10**6 == 0 or not number & (number - 1) or not number & (number + 1)
    return match[0] if is_round else "<number>"


@functools.lru_cache(maxsize=8192)
def _is_volatile(name: str) -> bool:
    return any(step in NAMES for step in name.split("."))


def _is_clock(name: str, text: str) -> bool:
    return name.rpartition(".")[2].lstrip("_") in _CLOCKS and _CLOCK.fullmatch(text) is not None


def _is_entry_of(key: str, ignored: NamePredicate, entry: str) -> bool:
    return ignored(entry if key in ("extra_repr", "repr") else f"{key}.{entry}")
