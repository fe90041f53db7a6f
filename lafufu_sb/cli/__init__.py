"""Command line `lafufu`: one module for each sub-command."""

from lafufu_sb.cli.main import main

__all__ = ["main"]
