"""What can differ between two processes that build the same model, and so is no configuration.

Works on texts alone: the probe rewrites what it writes down, and a baseline is rewritten as it is read, so that what an
earlier version recorded is compared by the same rules. A rewritten text is rewritten into itself.

| kind | what becomes of it |
|---|---|
| absolute paths, and those that leave the current folder | `<path>` |
| addresses, hash values, UUIDs, digests in hexadecimal | `<address>`, `<number>`, `<uuid>`, `<digest>` |
| moments, devices | `<time>`, `<device>` |
| the order of a set and of a dictionary | sorted |
| attributes, entries and arguments with a name out of `NAMES`, clocks that are named as such | left out |
| objects that run or watch a training | left out |

A list of texts may have been a set, or be configuration: it is kept as it is, and compared `in_one_order`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from pytest_modelviz.compare import devices
from pytest_modelviz.text.dotted import holders

# Names that libraries, and people, give to what belongs to a process, a machine or a checkout.
NAMES = frozenset(
    {
        # where and by what a model was loaded: transformers, diffusers, peft
        *("_name_or_path", "name_or_path", "base_model_name_or_path", "_commit_hash", "commit_hash"),
        *("_original_object_hash", "_use_default_values", "_is_hf_initialized", "_attn_implementation_autoset"),
        *("_transformers_version", "transformers_version", "_diffusers_version", "peft_version"),
        # what runs a model, and what it leaves behind: lightning, accelerate
        *("_trainer", "trainer", "_fabric", "_fabric_optimizers", "_logger", "logger", "_hf_hook", "_compiler_ctx"),
        *("_current_fx_name", "_metric_attributes", "_param_requires_grad_state"),
        *("device", "_device", "devices", "_devices", "device_map", "hf_device_map", "_device_mesh", "device_mesh"),
        # processes, machines and moments
        *("pid", "_pid", "ppid", "process_id", "thread_id", "native_id", "local_rank", "_local_rank"),
        *("hostname", "_hostname", "username", "cwd", "_cwd"),
        *("timestamp", "_timestamp", "created_at", "_created_at", "started_at", "_started_at"),
    }
)
_CLOCKS = frozenset({"start", "start_time", "end_time", "last_time", "time", "t0", "started", "created", "elapsed"})
_CLOCK = re.compile(r"\d+\.\d{5,}|\d{9,}|<time>|<number>")  # no rounder than a clock is
_KINDS = ("Trainer", "Logger", "LoggerAdapter", "Profiler", "Accelerator", "Fabric", "SummaryWriter", "ProgressBar")
_HOMES = (
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
_OBJECT = re.compile(r"<(\w+) [0-9a-f]{8}>")  # an object that several modules share, by its class and what it says
_CODE = ("forward", "defaults")  # how forward may be called is read, and compared, elsewhere

_COMPUTING = "|".join(kind for kind in devices.TYPES if kind != "meta")  # "meta" by itself is another word
_DEVICE = rf"(?:(?:{_COMPUTING})(?::\d+)?|meta:\d+)"
_START = r"(?:file:/+\w|~[/\\]|/[\w.~+-]+/|[A-Za-z]:[/\\]|\\\\|\.\.[/\\])"  # of a path
_STEP = r"[^\s/\\'\",;()\[\]{}<>]"
_INSIDE = rf"(?<![\w:/.<~)\]])(?:[A-Za-z]:[/\\]|~?/)(?:{_STEP}+[/\\]+)+{_STEP}*"
_REWRITTEN = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"\bdevice\(type='\w+'(?:, index=\d+)?\)", "<device>"),
        (rf"'{_DEVICE}'|\"{_DEVICE}\"", "<device>"),
        (rf"'{_START}[^'\n]*'|\"{_START}[^\"\n]*\"", "'<path>'"),
        # as long as the text, since folders have blanks; a text that does not end is not searched for one
        (rf"(?<=')(?=[^'\n]*')([^'\n]*?){_INSIDE}[^'\n]*(?=')", r"\1<path>"),
        (_INSIDE, "<path>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{32,}\b", "<digest>"),
        (r"\b0x[0-9a-fA-F]{5,}\b", "<address>"),
        (r"\b\d{4}-\d\d-\d\d[T _]\d\d[:-]\d\d(?:[:-]\d\d(?:\.\d+)?)?(?:Z\b|[+-]\d\d:?\d\d\b)?", "<time>"),
        (r"(?<!\d)20\d\d[01]\d[0-3]\d[-_T]?[0-2]\d[0-5]\d[0-5]\d(?!\d)", "<time>"),
        (r"\b(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} ?[ \d]?\d[ _-]\d\d[:-]\d\d[:-]\d\d(?: \d{4})?(?!\d)", "<time>"),
        (r"\bdatetime\.(?:datetime|date|time)\([^()]*(?:\([^()]*\)[^()]*)*\)", "<time>"),
    )
)
_LARGE = re.compile(r"(?<![\w.])-?\d{10,20}(?:\.\d+)?(?![\w.])")
_FROM, _TO = 1_500_000_000, 2_100_000_000  # seconds since 1970: from 2017 to 2036
_LARGEST = 2**32  # beyond what counts, sizes and seeds come to

_QUOTED = {"'": r"'(?:[^'\\]|\\.)*'", '"': r'"(?:[^"\\]|\\.)*"'}
_DEEPEST = 100  # brackets within brackets
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ENTRY = re.compile(r"""\s*(?:'(?P<quoted>[\w.]+)'|"(?P<json>[\w.]+)")\s*:|\s*(?P<argument>\w+)=""")

_LONGEST_KEPT, _LONGEST_NAME_KEPT = 2000, 200  # letters of a text whose outcome is remembered

Names = Callable[[str], bool]
Entries = Callable[[list[str]], bool]


def lasting(config: Mapping[str, str], ignored: Names | None = None) -> dict[str, str]:
    """What of a module's configuration two processes share; `ignored` says which attributes are left out as well."""
    gone = {key for key, text in config.items() if _stands_for_machinery(text)}
    lengths = {len(key) for key in gone}
    kept = {}
    for key, text in config.items():
        if key in _CODE:
            kept[key] = text
        elif not (is_volatile(key) or _is_clock(key, text) or any(holders(key, gone, lengths))):
            if ignored is None:
                kept[key] = rewritten(text)
            elif not ignored(key):
                kept[key] = _arranged(rewritten(text), functools.partial(_is_entry_of, key, ignored))
    return kept


def _is_entry_of(key: str, ignored: Names, entry: str) -> bool:
    return ignored(entry if key in ("extra_repr", "repr") else f"{key}.{entry}")


def is_volatile(name: str) -> bool:
    """Whether an attribute belongs to a process, a machine or a checkout, or lies in something that does."""
    return (_is_volatile if len(name) <= _LONGEST_NAME_KEPT else _is_volatile.__wrapped__)(name)


@functools.lru_cache(maxsize=8192)
def _is_volatile(name: str) -> bool:
    return any(part in NAMES for part in name.split("."))


def _is_clock(name: str, text: str) -> bool:
    return name.rpartition(".")[2].lstrip("_") in _CLOCKS and _CLOCK.fullmatch(text) is not None


def is_machinery(kind: type) -> bool:
    """Whether objects of a class run or watch a model, and say nothing about how it is built."""
    return kind.__module__.partition(".")[0] in _HOMES or any(base.__name__.endswith(_KINDS) for base in kind.__mro__)


def _stands_for_machinery(text: str) -> bool:
    return object_class(text).endswith(_KINDS)


def rewritten(text: str) -> str:
    """A text of configuration without what differs between two processes."""
    if len(text) < 10 and text.isalnum():
        return text
    return (_rewritten if len(text) <= _LONGEST_KEPT else _rewritten.__wrapped__)(text)


@functools.lru_cache(maxsize=8192)
def _rewritten(text: str) -> str:
    for pattern, instead in _REWRITTEN:
        text = pattern.sub(instead, text)
    return _arranged(_LARGE.sub(_number, text), is_volatile)


def in_one_order(text: str) -> str:
    """A rewritten text with lists of texts sorted, as which two processes may write one set."""
    if "'" not in text and '"' not in text:
        return text
    return (_in_one_order if len(text) <= _LONGEST_KEPT else _in_one_order.__wrapped__)(text)


@functools.lru_cache(maxsize=8192)
def _in_one_order(text: str) -> str:
    return _arranged(text, lambda name: False, are_sorted=_are_texts)


def _number(found: re.Match[str]) -> str:
    """Hash values, addresses and moments are large and not round."""
    value = float(found[0])
    if _FROM < value < _TO and (value != int(value) or value % 10**6):
        return "<time>"
    if "." in found[0] or abs(value) < _LARGEST:
        return found[0]
    number = abs(int(found[0]))
    is_round = number % 10**6 == 0 or not number & (number - 1) or not number & (number + 1)
    return found[0] if is_round else "<number>"


@dataclass
class _Group:
    """What stands between two brackets: entries, in pieces, with the blanks around them."""

    opening: str
    pieces: list[list[str]] = field(default_factory=lambda: [[]])

    def text(self, left_out: Names, are_sorted: Entries) -> str:
        """Its text without entries of such names, and in an order that says nothing.

        That of entries between braces never does, that of others does unless they `are_sorted`.
        """
        entries = ["".join(some) for some in self.pieces]
        cores = [entry.strip() for entry in entries]
        end = [""] if len(cores) > 1 and not cores[-1] else []  # after a comma at the end
        kept = [core for core in cores if core and not _is_named(core, left_out)]
        if self.opening == "{" or (self.opening and are_sorted(kept)):
            kept.sort()
        elif len(kept) + len(end) == len(cores):
            return ",".join(entries)
        around = [(entry[: len(entry) - len(entry.lstrip())], entry[len(entry.rstrip()) :]) for entry in entries]
        return ",".join(before + core + after for (before, after), core in zip(around, kept + end, strict=False))


def _is_named(entry: str, left_out: Names) -> bool:
    found = _ENTRY.match(entry)
    return found is not None and left_out(found["quoted"] or found["json"] or found["argument"])


def _are_texts(entries: list[str]) -> bool:
    """Whether these may have been a set of texts, whose order is another one in each process."""
    return len({*entries}) == len(entries) > 1 and all(entry[0] in "'\"" for entry in entries)


def _none(entries: list[str]) -> bool:
    return False


def _arranged(text: str, left_out: Names, are_sorted: Entries = _none) -> str:
    """A text without entries and arguments of such names; sets and dictionaries are sorted, and such lists."""
    groups = [_Group("")]
    for mark in _marks(text):
        if mark in _CLOSING:
            if len(groups) > _DEEPEST:
                return text  # not how values are written
            groups.append(_Group(mark))
        elif mark == ",":
            groups[-1].pieces.append([])
        elif mark in (")", "]", "}"):
            group = groups.pop()
            if _CLOSING.get(group.opening) != mark:
                return text
            groups[-1].pieces[-1].append(group.opening + group.text(left_out, are_sorted) + mark)
        else:
            groups[-1].pieces[-1].append(mark)
    return groups[0].text(left_out, are_sorted) if len(groups) == 1 else text


def _marks(text: str) -> Iterator[str]:
    """Brackets, commas, quoted texts and what stands between them.

    A quotation mark that opens a text which does not end is a mark by itself, and so are all such after it: to look
    for the end of each would take hours.
    """
    quotes, at = "'\"", 0
    while at < len(text):
        found = _mark(quotes).match(text, at)
        if found is None:
            return
        at, mark = found.end(), found[0]
        if mark in quotes:
            quotes = quotes.replace(mark, "")
        yield mark


@functools.cache
def _mark(quotes: str) -> re.Pattern[str]:
    return re.compile("|".join([*(_QUOTED[one] for one in quotes), r"""[\[\](){}]|,|[^'"\[\](){},]+|."""]), re.DOTALL)


def object_text(class_name: str, settings: Mapping[str, str]) -> str:
    """A text for an object that several modules share; `settings` is what it says, by its own names for that."""
    texts = "\n".join(f".{name}={in_one_order(text)}" for name, text in settings.items())
    return f"<{class_name} {hashlib.sha256(texts.encode()).hexdigest()[:8]}>"


def object_class(text: str) -> str:
    """The class of the object that a text stands for, empty where it stands for none."""
    found = _OBJECT.fullmatch(text)
    return found[1] if found else ""


def settings_of(config: Mapping[str, str], attribute: str) -> dict[str, str]:
    """What the object in an attribute says: it is written out at the first module that holds it."""
    start = f"{attribute}."
    return {key[len(start) :]: text for key, text in config.items() if key.startswith(start)}


def settings_by_attribute(config: Mapping[str, str], attributes: Collection[str]) -> dict[str, dict[str, str]]:
    """The same of several attributes at once, of those that say anything."""
    lengths = {len(attribute) for attribute in attributes}
    found: dict[str, dict[str, str]] = {}
    for key, text in config.items():
        for attribute in holders(key, attributes, lengths):
            if attribute != key:
                found.setdefault(attribute, {})[key[len(attribute) + 1 :]] = text
    return found
