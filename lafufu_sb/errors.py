"""Errors whose messages tell the user what to do, numbers in range, printable text."""

import math
import numbers
import unicodedata


class UsageError(ValueError):
    """A request that cannot be met. The message says what can be done instead."""


class MissingPackageError(UsageError, ImportError):
    """An optional package is needed and not installed. The message names the extra."""


class NotFiniteError(UsageError):
    """The networks produced NaN or infinity. The message says what may help."""


def whole_number(name, value, least, most):
    """The value, if it is a whole number in a range; otherwise UsageError names it.

    Example
    -------
    >>> whole_number("channels", 0, 1, 64)
    Traceback (most recent call last):
    ...
    lafufu_sb.errors.UsageError: channels must be a whole number from 1 to 64, got 0
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise UsageError(
            f"{name} must be a whole number from {least} to {most}, got {value!r}"
        )
    return value


def real_number(name, value, least, most):
    """The value, if it is a finite number in a range; otherwise UsageError names it."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or not least <= value <= most:
        raise UsageError(
            f"{name} must be a number from {least:g} to {most:g}, got {value!r}"
        )
    return value


def whole_numbers(name, values, least, most, longest):
    """A tuple of whole numbers in a range, at least one and at most ``longest``."""
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= longest:
        raise UsageError(f"{name} must be a list of 1 to {longest}, got {values!r}")
    return tuple(whole_number(name, value, least, most) for value in values)


def one_of(name, value, choices):
    """The value, if it is one of the choices; otherwise UsageError names them.

    Example
    -------
    >>> one_of("corrector", "langevin", ("ald", "none"))
    Traceback (most recent call last):
    ...
    lafufu_sb.errors.UsageError: corrector must be 'ald' or 'none', got 'langevin'
    """
    if value not in choices:
        *others, last = map(repr, choices)
        raise UsageError(f"{name} must be {', '.join(others)} or {last}, got {value!r}")
    return value


_JOINERS = "\u200c\u200d"  # invisible, and part of words in several scripts
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, bidirectional overrides, breaks


def printable(text):
    r"""Text of one line that a terminal shows as it is.

    File names, and texts of models and manifests, may hold escape sequences that
    change a terminal, or characters that reorder a line. Control and format
    characters are shown as escapes.

    Example
    -------
    >>> print(printable("a\x1b[2J\u202eb"))
    a\x1b[2J\u202eb
    """
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _HIDDEN and character not in _JOINERS
        else character
        for character in str(text)
    )
