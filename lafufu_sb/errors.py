"""Errors that tell a user what to do."""


class WrongUse(ValueError):
    """Something that was asked for cannot be done; the message says what can."""


class NotFinite(RuntimeError):
    """Networks gave values that are not finite; the message says what may help."""
