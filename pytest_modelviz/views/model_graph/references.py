"""Names in an operator graph: of operators, their results, parameters, buffers and inputs. Knows no torch.

An operator's name is given by the module whose code runs it and by the operators of that kind before it in that module
(`layer1.0/relu#1`), so that what happens in one module renames nothing in another.
"""

from __future__ import annotations

INPUT = "input."  # begins the names of the model's inputs
_ESCAPED = {"%": "%25", "=": "%3D"}  # of names in references: an argument's name and "=" may stand before them


def escaped(name: str) -> str:
    """The name of a module or tensor as references have it: without what means something else there."""
    if "=" in name or name.startswith(INPUT) or unescaped(name) != name:
        name = "".join(_ESCAPED.get(character, character) for character in name)
        name = name.replace(".", "%2E", 1) if name.startswith(INPUT) else name
    return name


def unescaped(name: str) -> str:
    """The name of a module or tensor, as a reference has it."""
    return name.replace("%3D", "=").replace("%2E", ".").replace("%25", "%") if "%" in name else name


def module_of(operator: str) -> str:
    """The module whose code runs an operator, by the operator's name."""
    return unescaped(operator.rpartition("/")[0])


def split_result(reference: str, brackets: tuple[str, ...] = ("[]",)) -> tuple[str, str]:
    """`layer1.0/chunk[0]` as `layer1.0/chunk` and `[0]`: what a reference is to, and which of its results."""
    end, closing = len(reference), {pair[1]: pair[0] for pair in brackets}
    while end and reference[end - 1] in closing:
        start = reference.rfind(closing[reference[end - 1]], 0, end - 1)
        if start < 0 or not reference[start + 1 : end - 1].isdecimal():
            break
        end = start
    return reference[:end], reference[end:]


def producer_of(reference: str) -> str:
    """What a reference is to, without which argument it is given as and which of several results it is."""
    return split_result(reference.rpartition("=")[2], ("[]", "<>"))[0]
