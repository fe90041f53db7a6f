"""``lafufu pairs``: folders of clean and noisy recordings to training manifests."""

from pathlib import Path

from lafufu_sb.cli.output import say
from lafufu_sb.errors import real_number, whole_number


def add_parser(commands):
    """Add the sub-command to ``argparse``'s sub-parsers."""
    parser = commands.add_parser(
        "pairs",
        help="folders of clean and noisy recordings to training data",
        description="Match the recordings of two folders, refuse pairs that would "
        "spoil a training, divide the rest into train, valid and test, and write "
        "manifests for train.py --data_folder. Recordings stay where they are.",
    )
    parser.add_argument("clean", help="folder of clean recordings")
    parser.add_argument("noisy", help="folder of noisy or reverberant recordings")
    parser.add_argument("-o", "--output", required=True, help="folder to write")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=3,
        default=[0.8, 0.1, 0.1],
        metavar=("TRAIN", "VALID", "TEST"),
        help="of the speech (default: 0.8 0.1 0.1)",
    )
    parser.add_argument(
        "--name",
        metavar="REGEX",
        help="partners agree in the groups of this expression in their path without "
        "suffix, such as 'fileid_(\\d+)' (default: the whole path)",
    )
    parser.add_argument(
        "--group",
        metavar="REGEX",
        help="what two subsets must not share, such as the speaker, '^(p\\d+)' "
        "(default: the first folder)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the division")
    parser.add_argument(
        "--min-rate",
        type=int,
        default=44100,
        help="lowest sample rate of clean recordings, Hz (default: 44100)",
    )
    parser.add_argument(
        "--min-seconds", type=float, default=1.0, help="shortest pair (default: 1)"
    )
    parser.add_argument(
        "--max-shift-ms",
        type=float,
        default=2.0,
        help="by which one side may lag the other (default: 2)",
    )
    parser.set_defaults(run=pairs_command)


def pairs_command(options):
    """Write the manifests, and print one line."""
    from lafufu_sb.corpora.pair_checks import SHIFT_SECONDS, PairLimits
    from lafufu_sb.corpora.paired_folders import REFUSED, pair_folders

    limits = PairLimits(
        whole_number("--min-rate", options.min_rate, 8000, 10**6),
        real_number("--min-seconds", options.min_seconds, 0, 3600),
        real_number("--max-shift-ms", options.max_shift_ms, 0, 1000 * SHIFT_SECONDS)
        / 1000,
    )
    report = pair_folders(
        options.clean,
        options.noisy,
        options.output,
        shares=options.shares,
        name_pattern=options.name,
        group_pattern=options.group,
        seed=options.seed,
        limits=limits,
    )
    say(f"{report.summary()}, see {Path(options.output) / REFUSED}")
    return 0
