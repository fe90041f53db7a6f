"""Values of ``!ref`` in the YAML of a model folder: a path, or arithmetic on paths."""

import ast
import math
import operator
import re

from lafufu_sb.errors import UsageError

LARGEST = 10**12  # of all numbers in a model's YAML
_LONGEST = 200  # characters of a formula
_LARGEST_EXPONENT = 64
_PATH = re.compile(r"<([A-Za-z_]\w*(?:\[\w+\])*)>", re.ASCII)
_ARITHMETIC = re.compile(r"[\d.eE+\-*/%()\s]*", re.ASCII)
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def whole_path(text):
    """Parts of the path if a reference is nothing but one, else None.

    Example
    -------
    >>> whole_path("<presets[fast]>"), whole_path("<a> + 1")
    (['presets', 'fast'], None)
    """
    found = _PATH.fullmatch(text.strip())
    return found and _parts(found)


def _parts(found):
    return re.findall(r"\w+", found[1])


def evaluate(text, value_of):
    """Value of a formula of numbers, paths, ``+ - * / // % **`` and parentheses.

    Nothing else is evaluated: no names, attributes, calls, strings or tuples.

    Arguments
    ---------
    text : str
        Such as ``<n_fft> // 2 + 1``.
    value_of : callable
        Gives the value of a path, a list of its parts.

    Returns
    -------
    int or float
        Finite and at most ``LARGEST``.

    Raises
    ------
    UsageError
        Says what is not allowed.

    Example
    -------
    >>> evaluate("(<a> + 1) ** 2", lambda path: 3)
    16
    """
    paths = []

    def named(found):
        paths.append(_parts(found))
        return f" r{len(paths) - 1} "

    formula = _PATH.sub(named, text)
    if len(text) > _LONGEST or not _ARITHMETIC.fullmatch(_PATH.sub("", text)):
        raise UsageError("a reference is a path such as <a>, or arithmetic on paths")
    values = {f"r{i}": number(value_of(path)) for i, path in enumerate(paths)}
    try:
        return _value(ast.parse(formula.strip(), mode="eval").body, values)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"the formula has no value ({reason})") from error


def _value(node, values):
    if isinstance(node, ast.Constant):
        return number(node.value)
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand, values))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, values), _value(node.right, values)
        if isinstance(node.op, ast.Pow) and abs(right) > _LARGEST_EXPONENT:
            raise UsageError(f"exponents go up to {_LARGEST_EXPONENT}")
        return number(_OPERATORS[type(node.op)](left, right))
    raise UsageError("a formula has numbers, paths, + - * / // % ** and parentheses")


def number(value):
    """The value, if it is a finite number of a sensible size.

    Raises
    ------
    UsageError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"arithmetic is for numbers, not for {type(value).__name__}")
    if abs(value) > LARGEST or not math.isfinite(value):
        raise UsageError(f"numbers must be finite and at most {LARGEST:.0e}")
    return value
