"""``lafufu demo``: the parser; ``demo_run`` does the work."""


def add_parser(commands):
    """Add the sub-command to ``argparse``'s sub-parsers."""
    parser = commands.add_parser("demo", help="restore the embedded recordings")
    parser.add_argument("-o", "--output", default="lafufu_demo", help="folder to write")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.set_defaults(run=demo_command)


def demo_command(options):
    """Restore and measure."""
    from lafufu_sb.cli.demo_run import run_demo

    run_demo(options.output, options.device)
    return 0
