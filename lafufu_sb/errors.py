"""Errors whose messages tell the user what to do."""


class UsageError(ValueError):
    """A request that cannot be met. The message says what can be done instead."""


class MissingPackageError(UsageError, ImportError):
    """An optional package is needed and not installed. The message names the extra."""


class NotFiniteError(UsageError):
    """The networks produced NaN or infinity. The message says what may help."""
