"""``lafufu clean``: its options."""

import argparse

from lafufu_sb.cleaning import KINDS
from lafufu_sb.cli.options import add_model_options


def add_parser(commands):
    """Add the sub-command.

    Arguments
    ---------
    commands : argparse._SubParsersAction
        Of the command ``lafufu``.
    add_model_options : callable
        Adds to a parser the options that ``load_model`` reads.
    """
    parser = commands.add_parser(
        "clean",
        help="restore a corpus; resumes, and keeps what it would harm",
    )
    parser.add_argument(
        "input",
        help="folder, SpeechBrain CSV or JSON, Kaldi wav.scp, or Lhotse .jsonl(.gz) of "
        "cuts or recordings",
    )
    parser.add_argument("-o", "--output", required=True, help="folder to write")
    add_model_options(parser)
    _add_data_options(parser)
    _add_gate_options(parser)
    _add_engine_options(parser)
    parser.set_defaults(run=clean_command, backend="torch", progress=False)


def _add_data_options(parser):
    group = parser.add_argument_group("data")
    group.add_argument("--kind", choices=KINDS, help="if its name does not tell")
    group.add_argument(
        "--column",
        action="append",
        default=[],
        help="column or field that holds audio, may be given again; by default wav, or "
        "the only one with nothing but names of audio files",
    )
    group.add_argument(
        "--replacement",
        type=_replacement,
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="what a placeholder such as {data_root} stands for, may be given again",
    )
    group.add_argument(
        "--sample-rate",
        choices=["keep", "model"],
        default="keep",
        help="of the results: each file's own (default), or the model's",
    )
    group.add_argument(
        "--format",
        choices=["same", "wav", "flac"],
        default="same",
        help="same (default) keeps .wav and .flac and turns others into .wav",
    )


def _add_gate_options(parser):
    group = parser.add_argument_group("do-no-harm gate")
    group.add_argument(
        "--gate",
        choices=["dnsmos", "none"],
        default="dnsmos",
        help="none: without DNSMOS; what is configured below judges all the same",
    )
    group.add_argument(
        "--max-dnsmos-drop",
        type=float,
        default=0.0,
        help="points of DNSMOS ovr by which a file may become worse (default 0)",
    )
    group.add_argument(
        "--recogniser",
        help="folder of a recogniser: SpeechBrain's EncoderASR or EncoderDecoderASR, "
        "or faster-whisper",
    )
    group.add_argument(
        "--max-cer",
        type=float,
        default=0.1,
        help="share of characters that the recogniser may hear differently",
    )
    group.add_argument(
        "--speaker-model", help="folder of a SpeechBrain EncoderClassifier"
    )
    group.add_argument(
        "--min-cosine",
        type=float,
        default=0.25,
        help="between the speaker embeddings before and after",
    )
    group.add_argument(
        "--judge-pieces",
        type=_at_least(0),
        default=3,
        help="pieces of a long file that judges hear, 0 for all of it (default 3)",
    )


def _add_engine_options(parser):
    group = parser.add_argument_group("running")
    group.add_argument(
        "--restart", action="store_true", help="forget what earlier runs have done"
    )
    group.add_argument(
        "--readers",
        type=_at_least(1),
        default=2,
        help="threads that read ahead, and as many that judge and write (default 2)",
    )
    group.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="I/N",
        help="do only this share of the files, for job arrays: 1/8 to 8/8",
    )
    group.add_argument("--engine", choices=["local", "ray"], default="local")
    group.add_argument(
        "--workers", type=_at_least(1), help="of Ray; by default one per GPU, or two"
    )
    group.add_argument(
        "--ray-address", help="of a running cluster, such as auto; else starts one here"
    )


def clean_command(options):
    """``lafufu clean``; exit status 1 if a file could not be read."""
    from lafufu_sb.cleaning.job import clean

    options = {name: value for name, value in vars(options).items() if name != "run"}
    options["replacement"] = dict(options["replacement"])
    rows = clean(options)
    return 1 if any(row["decision"] == "failed" for row in rows) else 0


def _at_least(least):
    def number(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return number


def _replacement(text):
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=FOLDER, got {text!r}")
    return name, folder


def _shard(text):
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"must be I/N such as 1/8, got {text!r}")
    return int(number), int(count)
