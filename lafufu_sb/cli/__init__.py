"""Command line `lafufu`: one module for each sub-command."""
