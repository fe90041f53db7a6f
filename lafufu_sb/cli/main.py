"""The command ``lafufu``: sub-commands, errors and exit statuses."""

import argparse
import importlib
import sys

from lafufu_sb import __version__
from lafufu_sb.cli.output import complain, escape_logs, show_traceback
from lafufu_sb.errors import UsageError

# Modules with ``add_parser(commands)``, in the order of the help.
SUBCOMMANDS = (
    "demo",
    "enhance",
    "clean",
    "score",
    "pairs",
    "evaluate",
    "export",
    "import_sgmse",
)


def main(arguments: list[str] | None = None) -> int:
    """Parse and run; refused requests and file errors become one line.

    Arguments
    ---------
    arguments : list of str, optional
        By default those of the command line.

    Returns
    -------
    int
        Exit status: 0, 1 if a file of several failed, 2 for an error, 130 after an
        interruption.
    """
    options = build_parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):  # file names need not be printable
        sys.stdout.reconfigure(errors="backslashreplace")
    escape_logs()
    try:
        _check_names(options)
        return options.run(options)
    except (UsageError, OSError) as error:
        if options.traceback:
            show_traceback()
        complain(f"error: {error}".replace("\n", " "))
        return 2
    except KeyboardInterrupt:
        complain("interrupted")
        return 130


def _check_names(options):
    """Refuse names that would mean the working folder, or a stream to others."""
    for what in ("input", "output"):
        given = getattr(options, what, None)
        for name in given if isinstance(given, list) else [given]:
            if name in ("", "-"):
                raise UsageError(
                    f"{name!r} as {what} is no file: give the name of a file or folder"
                )


def build_parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="lafufu", description="Restore 48-kHz speech: noise and reverberation."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error was raised"
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for name in SUBCOMMANDS:
        importlib.import_module(f"lafufu_sb.cli.{name}").add_parser(commands)
    for command in commands.choices.values():  # behind the sub-command too
        command.add_argument(
            "--traceback",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show where an error was raised",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
