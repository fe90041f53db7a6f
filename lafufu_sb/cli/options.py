"""Options that sub-commands share: of models and their settings, of manifests."""

import argparse
from dataclasses import fields

from lafufu_sb.audio.formats import SUBTYPES
from lafufu_sb.cleaning.manifests import KINDS
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.restoration.settings import RestoreSettings

_TYPES = {"str": str, "int": int, "float": float}


def add_model_options(parser, several=False):
    """Add the options that ``model_choice`` reads.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Of a sub-command.
    several : bool
        Whether ``--model`` takes several models. Then it has no default.
    """
    group = parser.add_argument_group("model")
    what = "denoise, denoise_small, dereverb, a model folder or a Hub id"
    if several:
        group.add_argument("-m", "--model", nargs="+", help=f"{what}; or several")
    else:
        group.add_argument("-m", "--model", action=_Once, default="denoise", help=what)
    group.add_argument("--preset", help="preset of the model: fast, balanced, paper")
    group.add_argument("--device", help="cpu, cuda, cuda:1, ...")
    group.add_argument("--threads", type=int, help="CPU threads, by default all")
    group.add_argument(
        "--backend",
        choices=["torch", "onnx"],
        default="torch",
        help="what runs the networks; onnx (ONNX Runtime, CPU) needs a model folder "
        "of `lafufu export --format onnx`",
    )
    group.add_argument(
        "--no-fallback",
        dest="fallback",
        action="store_false",
        default=None,
        help="an error instead of a warning if the machine lacks the device or "
        "precision or cannot compile",
    )
    group.add_argument(
        "--pre-enhancer",
        metavar="NAME",
        help="in place of the model's: deepfilternet3, nsnet2, rnnoise, wpe or a "
        "model folder",
    )
    group.add_argument(
        "--trust",
        action="store_true",
        help="let the model's YAML build any object (docs/security.md)",
    )
    settings = parser.add_argument_group("settings", "by default those of the preset")
    for field in fields(RestoreSettings):
        _add_setting(settings, field)


def add_subtype(parser):
    """Add ``--subtype``, the sample format of results."""
    parser.add_argument(
        "--subtype",
        type=str.upper,
        choices=SUBTYPES,
        help="sample format of the results, by default that of the input (of MP3 and "
        "the like 16 bits)",
    )


def add_manifest_options(group):
    """Add the options that ``open_manifest`` takes: kind, columns, placeholders."""
    group.add_argument(
        "--kind",
        choices=KINDS,
        help="format of the input, by default chosen by its name",
    )
    group.add_argument(
        "--column",
        dest="columns",
        action="append",
        default=[],
        help="column or field that holds audio, may be repeated; by default wav, or "
        "the only one that has nothing but names of audio files",
    )
    group.add_argument(
        "--placeholder",
        dest="placeholders",
        type=_placeholder,
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="value of a placeholder in paths, such as {data_root}; may be repeated",
    )


def add_share_options(group):
    """Add the options of interrupted and shared work: ``--restart``, ``--shard``."""
    group.add_argument(
        "--restart", action="store_true", help="discard what earlier runs have done"
    )
    group.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="I/N",
        help="work on this share of the files only, for job arrays: 1/8 to 8/8",
    )


def corpus_options(options):
    """Arguments of ``CorpusOptions`` from a parsed command line, a dict."""
    return {
        "input": options.input,
        "output": options.output,
        "kind": options.kind,
        "columns": tuple(options.columns),
        "placeholders": dict(options.placeholders),
        "restart": options.restart,
        "shard": options.shard,
    }


class _Once(argparse.Action):
    """An option that may be given once: a second one would silently win."""

    def __call__(self, parser, namespace, value, option_string=None):
        seen = getattr(namespace, "_seen", set())
        if self.dest in seen:
            parser.error(
                f"{option_string} is given twice: one command restores with one model"
            )
        namespace._seen = seen | {self.dest}
        setattr(namespace, self.dest, value)


def _add_setting(group, field):
    name, text = f"--{field.name.replace('_', '-')}", field.metadata.get("help")
    if field.name == "options":
        group.add_argument(
            "--option",
            dest="options",
            type=_option,
            action="append",
            metavar="NAME=VALUE",
            help="further option of the sampler, may be repeated",
        )
    elif field.type == "bool":
        group.add_argument(name, action="store_true", default=None, help=text)
    else:
        kind = _TYPES[field.type.split()[0]]
        choices = field.metadata.get("choices")
        group.add_argument(name, type=kind, choices=choices, help=text)


def _option(text):
    import yaml

    name, found, value = text.partition("=")
    if not (name and found):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, yaml.safe_load(value)


def model_choice(options, model=None):
    """The model that parsed options ask for.

    Arguments
    ---------
    options : argparse.Namespace
        See ``add_model_options``.
    model : str, optional
        One of several models.

    Returns
    -------
    ModelChoice

    Raises
    ------
    UsageError
        See ``ModelChoice``.
    """
    settings = {f.name: getattr(options, f.name) for f in fields(RestoreSettings)}
    settings["options"] = dict(settings["options"] or {}) or None
    return ModelChoice(
        model=options.model if model is None else model,
        preset=options.preset,
        settings={n: value for n, value in settings.items() if value is not None},
        device=options.device,
        backend=options.backend,
        threads=options.threads,
        fallback=options.fallback,
        pre_enhancer=options.pre_enhancer,
        trust=options.trust,
        progress=getattr(options, "progress", False),
    )


def _placeholder(text):
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=FOLDER, got {text!r}")
    return name, folder


def _shard(text):
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit()):
        raise argparse.ArgumentTypeError(f"must be I/N such as 1/8, got {text!r}")
    return int(number), int(count)
