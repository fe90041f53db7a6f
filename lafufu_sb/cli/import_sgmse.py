"""``lafufu import-sgmse``: a public SGMSE+ checkpoint as a model folder."""

from pathlib import Path

from lafufu_sb.cli.output import say
from lafufu_sb.errors import real_number, whole_number


def add_parser(commands):
    """Add the sub-command to ``argparse``'s sub-parsers."""
    parser = commands.add_parser(
        "import-sgmse",
        help="public 48-kHz SGMSE+ checkpoint to model folder",
        description="Write a model folder with the averaged weights of a public "
        "48-kHz SGMSE+ checkpoint and the sampler settings it names. The weights keep "
        "the licence under which they were published.",
    )
    parser.add_argument("checkpoint", help="Lightning checkpoint (.ckpt)")
    parser.add_argument("-o", "--output", required=True, help="model folder to write")
    parser.add_argument("--num-steps", type=int, help="instead of the checkpoint's N")
    parser.add_argument("--corrector", choices=["ald", "none"])
    parser.add_argument("--snr", type=float, help="step size of the corrector")
    parser.add_argument(
        "--fp16-weights", action="store_true", help="store half-precision weights"
    )
    parser.set_defaults(run=run)


def run(options):
    """Import, and print which settings come from where."""
    from lafufu_sb.inference.sgmse_import import import_sgmse

    if options.num_steps is not None:
        whole_number("--num-steps", options.num_steps, 1, 10_000)
    if options.snr is not None:
        real_number("--snr", options.snr, 0, 100)
    changes = {
        "N": options.num_steps,
        "corrector": options.corrector,
        "snr": options.snr,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    settings = import_sgmse(
        options.checkpoint, options.output, options.fp16_weights, **changes
    )
    say(f"taken over: {', '.join(f'{k} {v}' for k, v in settings.known.items())}")
    if settings.assumed:
        assumed = ", ".join(f"{k} {v}" for k, v in settings.assumed.items())
        say(f"not in the checkpoint, hence the published value: {assumed}")
    say(f"model folder: {Path(options.output).resolve()}")
    return 0
