"""``lafufu score``: measure a corpus without references and without restoring it."""

import os

from lafufu_sb.cli.options import (
    add_manifest_options,
    add_share_options,
    corpus_options,
)


def add_parser(commands):
    """Add the sub-command to ``argparse``'s sub-parsers."""
    parser = commands.add_parser(
        "score",
        help="score a corpus without references, to filter it",
        description="Writes a table with a row per recording, and the manifest with "
        "the scores as columns. Resumes after a kill.",
    )
    parser.add_argument("input", help="folder or manifest, see --kind")
    parser.add_argument("-o", "--output", required=True, help="table to write, .csv")
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help="dnsmos, dnsmos_sig, dnsmos_bak, dnsmos_p808, distillmos, speech, snr, "
        "bandwidth, clipping, loudness; by default all that are installed",
    )
    parser.add_argument(
        "--pieces",
        type=int,
        default=3,
        help="pieces of 9 s of a file's speech that opinions hear, 0 for all of it "
        "(default %(default)s)",
    )
    add_manifest_options(parser)
    add_share_options(parser)
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        help="files that are scored at once, by default one per core",
    )
    parser.set_defaults(run=score_command)


def score_command(options):
    """Run ``lafufu score``; the exit status is 1 if a file could not be scored."""
    from lafufu_sb.cleaning.scoring import ScoringOptions, score

    rows = score(
        ScoringOptions(
            **corpus_options(options),
            metrics=options.metrics and tuple(options.metrics),
            pieces=options.pieces,
            threads=options.threads,
        )
    )
    return 1 if any(row["decision"] == "failed" for row in rows) else 0
