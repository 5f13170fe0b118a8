"""The configuration of modules as texts: attributes, `extra_repr`, and the parameters of their forward.

It is what sets one module of a class apart from another, as far as two processes that build the same model share it.
"""

import enum
import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from pytest_modelviz.compare.arguments import OPTIONAL
from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.ignored import lasting_config
from pytest_modelviz.compare.shared_objects import object_text, settings_by_attribute
from pytest_modelviz.compare.volatile import is_machinery, is_volatile, lasting, normalised
from pytest_modelviz.probe.modules import OWN_OF_MODULE, class_name, holding, observed_modules, own_attributes
from pytest_modelviz.probe.nested_values import plain_text
from pytest_modelviz.records.structure import ModuleRecord
from pytest_modelviz.text.side_by_side import split_path

_TENSOR = re.compile(r"tensor\((?:[^()]|\([^()]*\))*\)")
_LISTED, _MOST_ITEMS = 64, 100_000  # items that are written out, items that are examined
_PLAIN = (bool, int, float, complex, str, type(None), torch.dtype, torch.device, torch.Size, enum.Enum)
_MOST_KNOWN, _LONGEST_KNOWN = 4096, 2000  # configurations that are remembered, letters of each
_known: dict[tuple[object, ...], dict[str, str]] = {}  # of modules that have plain attributes only
_NO_CONFIGURATION = OWN_OF_MODULE | {"forward"}  # a replaced forward is code


def configuration(module: torch.nn.Module) -> dict[str, str]:
    """A module's configuration as texts: `extra_repr`, an overridden `repr`, and attributes with plain values.

    Texts that would differ between two processes that build the same model are left out (see `compare.volatile`).

    Example:
        >>> configuration(torch.nn.Dropout(0.5))["p"]
        '0.5'

    """
    return _configuration(module, own_attributes(module))


def _configuration(module: torch.nn.Module, attributes: Mapping[str, object]) -> dict[str, str]:
    config: dict[str, str] = {}
    try:
        config["extra_repr"] = _mask_tensors(plain_text(module.extra_repr()))
        if type(module).__repr__ is not torch.nn.Module.__repr__ and not any(module.children()):
            config["repr"] = _mask_tensors(plain_text(repr(module)))
    except Exception as error:  # from a user's code: it must not end the check
        config.setdefault("extra_repr", f"<raised {type(error).__name__}>")
    if holding(attributes):
        return lasting_config(_with_attributes(config, attributes))
    # modules of equal attributes have equal texts; what is written alike is of the same type
    key = (tuple(config.items()), tuple(attributes), repr([*attributes.values()]))
    known = _known.get(key)
    if known is None:
        known = lasting_config(_with_attributes(config, attributes))
        if len(key[-1]) + sum(map(len, config.values())) < _LONGEST_KNOWN:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = known
    return dict(known)


def _with_attributes(config: dict[str, str], attributes: Mapping[str, object]) -> dict[str, str]:
    for name in sorted(attributes):
        text = None if name == "forward" or is_volatile(name) else _plain(attributes[name])
        if text is not None:
            config[name] = text
    return config


def _mask_tensors(text: str) -> str:
    """A text without tensors' values, which are weights and whose last digits depend on the processor."""
    return _TENSOR.sub("tensor(...)", text) if "tensor(" in text else text


def _plain(value: object, depth: int = 0) -> str | None:
    """A text for a value that is configuration, or None for state and machinery."""
    if type(value) in (bool, int, float, type(None)):
        return repr(value)
    if isinstance(value, _PLAIN):
        return plain_text(repr(value))
    if isinstance(value, (np.bool_, np.number)):
        return repr(value.item())
    if isinstance(value, (list, tuple)) and depth < 3:
        texts = [_plain(item, depth + 1) for item in value[:_MOST_ITEMS]]
        if None in texts:
            return None
        text = f"({', '.join(map(str, texts))})"
        if len(value) <= _LISTED:
            return text
        if all(isinstance(item, str) for item in value):  # it may have been made from a set, in any order
            text = in_one_order(normalised(text))
        return f"({len(value)} items, {digest(text)})"
    if isinstance(value, dict) and depth < 3 and len(value) <= _MOST_ITEMS:
        pairs = [(plain_text(repr(key)), _plain(item, depth + 1)) for key, item in value.items()]
        if any(text is None for _, text in pairs):
            return None
        text = f"{{{', '.join(f'{key}: {item}' for key, item in pairs)}}}"
        return text if len(value) <= _LISTED else f"{{{len(value)} items, {digest(text)}}}"
    if isinstance(value, functools.partial):
        return f"partial({_plain(value.func)}, {_plain(value.args)}, {_plain(value.keywords)})"
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"<{getattr(value, '__qualname__', type(value).__name__)}>"
    return None


def digest(text: str) -> str:
    """A text's SHA-256, abbreviated to eight hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _settings_of(value: object, prefix: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield (path, text) for the plain attributes of a configuration object, two levels deep."""
    attributes = getattr(value, "__dict__", None)
    if not isinstance(attributes, dict) or isinstance(value, (torch.nn.Module, torch.Tensor)) or callable(value):
        return
    if is_machinery(type(value)):
        return
    for name, item in sorted(attributes.items(), key=lambda pair: str(pair[0])):
        if is_volatile(str(name)):
            continue
        text = _plain(item)
        if text is None and depth < 1:
            yield from _settings_of(item, f"{prefix}.{name}", depth + 1)
        elif text is not None and "version" not in str(name):
            yield f"{prefix}.{name}", text


def attribute_names(model: torch.nn.Module) -> Iterator[tuple[str, str]]:
    """Yield (layer, attribute) for all that `ignore=` can name, also in objects and dictionaries that modules hold."""
    for layer, module in observed_modules(model):
        config = configuration(module)
        arguments = re.findall(r"(\w+)=", f"{config.get('extra_repr', '')} {config.get('repr', '')}")
        own = [name for name in vars(module) if name not in _NO_CONFIGURATION]
        inner = [f"{name}.{path}" for name in own for path in _inner_names(vars(module)[name], 2)]
        yield from ((layer, name) for name in ("extra_repr", "repr", *arguments, *own, *inner))


def _inner_names(value: object, depth: int) -> Iterator[str]:
    entries = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    if depth and isinstance(entries, dict) and not isinstance(value, (torch.nn.Module, torch.Tensor, type)):
        for name, item in entries.items():
            yield str(name)
            yield from (f"{name}.{inner}" for inner in _inner_names(item, depth - 1))


class Describer:
    """Describes modules in turn; an object that several of them share is written out for the first alone."""

    def __init__(self) -> None:
        self._object_texts: dict[int, str] = {}
        self._signatures: dict[type[torch.nn.Module], dict[str, str]] = {}

    def describe(self, module: torch.nn.Module, weights: Mapping[str, str]) -> ModuleRecord:
        """Describe a module.

        Args:
            module: the module.
            weights: its own parameters and buffers: local name -> the name that they are recorded under.

        """
        attributes = own_attributes(module)
        config = _configuration(module, attributes)
        for name, value in holding(attributes):
            if name not in config and name != "forward" and not is_volatile(name):
                self._add_object(config, name, value)
        kind = type(module)
        if kind not in self._signatures:
            self._signatures[kind] = _signature(parameters_of(module))
        config.update(self._signatures[kind])
        return ModuleRecord(class_name(module), config, dict(weights))

    def _add_object(self, config: dict[str, str], name: str, value: object) -> None:
        if id(value) not in self._object_texts:
            settings = lasting(dict(_settings_of(value, name)))
            if not settings:
                return
            self._object_texts[id(value)] = object_text(
                type(value).__name__, settings_by_attribute(settings, [name])[name]
            )
            config.update(settings)
        config[name] = self._object_texts[id(value)]


class Parameters(NamedTuple):
    """The parameters of a forward.

    Attributes:
        names: those that can be passed by position.
        rest: the name of the variadic positional parameter, `args` where there is none.
        only_by_name: those that can be passed by keyword alone.
        defaults: default values by name.
        only_by_position: those of `names` that cannot be passed by name.
        is_variadic: whether there is a variadic positional parameter.
        keywords: the name of the variadic keyword parameter, None where there is none.

    """

    names: tuple[str, ...] = ()
    rest: str = "args"
    only_by_name: tuple[str, ...] = ()
    defaults: Mapping[str, object] = MappingProxyType({})
    only_by_position: frozenset[str] = frozenset()
    is_variadic: bool = False
    keywords: str | None = None

    def named(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Arguments by the parameter's name, in the order of the signature: `f(x, y)` is `f(y=y, x=x)`.

        A keyword argument is called `**name` if another parameter, which cannot be passed by name, has its name.

        Example:
            >>> Parameters(("x",), "rest", is_variadic=True, keywords="others").named([1, 2], {"rest": [3]})
            {'x': 1, 'rest[0]': 2, '**rest': [3]}

        """
        positional = [*self.names, *(f"{self.rest}[{at}]" for at in range(len(args) - len(self.names)))]
        named = dict(zip(positional, args, strict=False))
        taken = {*named, *self.only_by_position}
        if self.is_variadic or self.keywords is None:  # a forward whose parameters are not known may be variadic
            taken.add(self.rest)
        for name, value in self.in_order(kwargs).items():
            is_taken = split_path(name)[0] in taken or name.startswith("**")
            named[f"**{name}" if is_taken else name] = value
        return named

    def in_order(self, kwargs: Mapping[str, object]) -> dict[str, object]:
        """Keyword arguments in the order of the signature, whatever order the caller gave them in."""
        known = [name for name in (*self.names, *self.only_by_name) if name in kwargs]
        return {name: kwargs[name] for name in (*known, *sorted(kwargs.keys() - known))}

    def __str__(self) -> str:
        """The parameters as traces hold them, with `*args` where there is no variadic parameter."""
        return self._listed(f"*{self.rest}")

    @property
    def signature(self) -> str:
        """The parameters as they are written; which may be left out matters only where any other name can be given."""
        marked = set() if self.keywords is None else self.defaults.keys()
        return self._listed(f"*{self.rest}" if self.is_variadic else "", marked)

    def _listed(self, rest: str, marked: Collection[str] = ()) -> str:
        keywords = "" if self.keywords is None else f"**{self.keywords}"
        texts = [f"{name}{OPTIONAL}" if name in marked else name for name in (*self.names, rest, *self.only_by_name)]
        return ", ".join(filter(None, [*texts, keywords]))


def _signature(parameters: Parameters) -> dict[str, str]:
    """What a configuration says of the parameters of a forward."""
    config = {"forward": str(parameters)}
    texts = {name: _plain(value) for name, value in parameters.defaults.items()}
    defaults = [f"{name}={text}" for name, text in texts.items() if text is not None]
    if parameters.keywords is not None:  # which parameters are required matters where any other name can be given
        defaults += [name for name, text in texts.items() if text is None]
    if defaults:
        config["defaults"] = "\n".join(defaults)
    return config


def parameters_of(module: torch.nn.Module) -> Parameters:
    """The parameters of a module's forward."""
    for base in type(module).__mro__:
        if "forward" in vars(base):  # looked up without descriptors: a scripted class's raises
            return _parameters_of(vars(base)["forward"])
    return Parameters()


@functools.lru_cache(maxsize=1024)
def _parameters_of(forward: Callable[..., object]) -> Parameters:
    try:
        parameters = list(inspect.signature(forward).parameters.values())[1:]
    except (TypeError, ValueError):
        return Parameters()

    def names(*kinds: object) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)

    variadic = names(inspect.Parameter.VAR_POSITIONAL)
    return Parameters(
        names(inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD),
        variadic[0] if variadic else "args",
        names(inspect.Parameter.KEYWORD_ONLY),
        {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty},
        frozenset(names(inspect.Parameter.POSITIONAL_ONLY)),
        bool(variadic),
        next(iter(names(inspect.Parameter.VAR_KEYWORD)), None),
    )
