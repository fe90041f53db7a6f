"""``lafufu clean``: restore a corpus."""

from dataclasses import fields

from lafufu_sb.cleaning.options import CleaningOptions, GateOptions
from lafufu_sb.cli.options import (
    add_manifest_options,
    add_model_options,
    add_share_options,
    add_subtype,
    corpus_options,
    model_choice,
)

_DATA, _GATE = CleaningOptions, GateOptions  # whose defaults the options have


def add_parser(commands):
    """Add the sub-command.

    Arguments
    ---------
    commands : argparse._SubParsersAction
        Sub-commands of ``lafufu``.
    """
    parser = commands.add_parser(
        "clean",
        help="restore a corpus; resumes after a kill, keeps files it would harm",
    )
    parser.add_argument("input", help="folder or manifest, see --kind")
    parser.add_argument("-o", "--output", required=True, help="folder to write")
    add_model_options(parser)
    _add_data_options(parser)
    _add_gate_options(parser)
    _add_engine_options(parser)
    parser.set_defaults(run=clean_command)


def _add_data_options(parser):
    group = parser.add_argument_group("data")
    add_manifest_options(group)
    group.add_argument(
        "--sample-rate",
        choices=["keep", "model"],
        default=_DATA.sample_rate,
        help="of the results: that of each file (default) or of the model",
    )
    group.add_argument(
        "--format",
        choices=["same", "wav", "flac"],
        default=_DATA.format,
        help="same (default) keeps .wav and .flac and writes others as .wav",
    )
    add_subtype(group)


def _add_gate_options(parser):
    group = parser.add_argument_group("do-no-harm gate")
    group.add_argument(
        "--gate",
        default=_GATE.gate,
        metavar="JUDGES",
        help="all that are installed (default), some of dnsmos,dnsmos_p808,distillmos,"
        "speech_loss with commas between them, or none; a recogniser or speaker model "
        "judges in any case",
    )
    for name, opinion in (
        ("dnsmos", "DNSMOS"),
        ("p808", "DNSMOS P.808"),
        ("distillmos", "DistillMOS"),
    ):
        group.add_argument(
            f"--max-{name}-drop",
            type=float,
            default=getattr(_GATE, f"max_{name}_drop"),
            help=f"points by which {opinion} of the speech may fall (default "
            "%(default)s)",
        )
    group.add_argument(
        "--max-speech-loss",
        type=float,
        default=_GATE.max_speech_loss,
        help="share of the bands of speech that may be attenuated by 6 dB where noise "
        "is light (default %(default)s)",
    )
    group.add_argument(
        "--recogniser",
        help="folder of a recogniser: SpeechBrain's EncoderASR or EncoderDecoderASR, "
        "or faster-whisper",
    )
    group.add_argument(
        "--max-cer",
        type=float,
        default=_GATE.max_cer,
        help="share of characters that the recogniser may hear differently (default "
        "%(default)s)",
    )
    group.add_argument(
        "--speaker-model", help="folder of a SpeechBrain EncoderClassifier"
    )
    group.add_argument(
        "--min-cosine",
        type=float,
        default=_GATE.min_cosine,
        help="smallest cosine of the speaker embeddings before and after (default "
        "%(default)s)",
    )
    group.add_argument(
        "--judge-pieces",
        type=int,
        default=_GATE.judge_pieces,
        help="pieces of a long file that judges hear, 0 for the whole file (default "
        "%(default)s)",
    )


def _add_engine_options(parser):
    group = parser.add_argument_group("running")
    add_share_options(group)
    group.add_argument(
        "--io-threads",
        type=int,
        default=_DATA.io_threads,
        help="threads that read ahead, and as many that judge and write (default "
        "%(default)s)",
    )
    group.add_argument("--engine", choices=["local", "ray"], default=_DATA.engine)
    group.add_argument(
        "--workers",
        type=int,
        help="number of Ray workers, by default one per GPU, or two",
    )
    group.add_argument(
        "--ray-address",
        help="address of a Ray cluster, such as auto; by default Ray starts here",
    )


def clean_command(options):
    """Run ``lafufu clean``; the exit status is 1 if a file could not be read."""
    from lafufu_sb.cleaning.job import clean

    rows = clean(cleaning_options(options))
    return 1 if any(row["decision"] == "failed" for row in rows) else 0


def cleaning_options(options):
    """The ``CleaningOptions`` of a parsed command line.

    Arguments
    ---------
    options : argparse.Namespace
        Of ``add_parser``.

    Returns
    -------
    CleaningOptions
    """
    gate = GateOptions(**{f.name: getattr(options, f.name) for f in fields(_GATE)})
    values = corpus_options(options)
    own = {f.name for f in fields(_DATA)} - {"model", "gate"} - values.keys()
    values |= {name: getattr(options, name) for name in own}
    return CleaningOptions(**values, model=model_choice(options), gate=gate)
