"""Errors whose messages tell the user what to do."""

import numbers


class UsageError(ValueError):
    """A request that cannot be met. The message says what can be done instead."""


class MissingPackageError(UsageError, ImportError):
    """An optional package is needed and not installed. The message names the extra."""


class NotFiniteError(UsageError):
    """The networks produced NaN or infinity. The message says what may help."""


def check_range(name, value, least, most, whole=False):
    """Refuse a number outside a range, NaN included.

    Arguments
    ---------
    name : str
        What the message calls it, such as "--threads".
    value : int or float
        The number.
    least, most : int or float
        The range, both ends included.
    whole : bool
        Whether it must be a whole number.

    Raises
    ------
    UsageError
        If it is no such number; the message has the range.

    Example
    -------
    >>> check_range("jobs", 9, 1, 8, whole=True)
    Traceback (most recent call last):
    ...
    lafufu_sb.errors.UsageError: jobs must be a whole number from 1 to 8, got 9
    """
    kind = numbers.Integral if whole else numbers.Real
    number = isinstance(value, kind) and not isinstance(value, bool)
    if not (number and least <= value <= most):
        what = "a whole number" if whole else "a number"
        raise UsageError(f"{name} must be {what} from {least} to {most}, got {value!r}")
