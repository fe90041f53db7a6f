"""Lines for the terminal, in which names of files and texts of models are escaped."""

import logging
import sys
import traceback

from lafufu_sb.errors import printable


def say(text):
    """Print a line."""
    print(printable(text))


def complain(text):
    """Print a line on the error stream."""
    print(f"lafufu: {printable(text)}", file=sys.stderr)


def show_traceback():
    """Print the traceback of the error at hand."""
    for line in traceback.format_exc().splitlines():
        print(printable(line), file=sys.stderr)


class _Formatter(logging.Formatter):
    def formatMessage(self, record):
        return printable(super().formatMessage(record))


def escape_logs():
    """Escape messages of the log too, unless the program has handlers of its own."""
    logging.lastResort.setFormatter(_Formatter())
