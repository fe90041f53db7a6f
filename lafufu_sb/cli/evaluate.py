"""``lafufu evaluate`` and ``lafufu report``: measure systems and compare them."""

import argparse
import os
from pathlib import Path

from lafufu_sb.cli.options import add_model_options, model_choice
from lafufu_sb.cli.output import say
from lafufu_sb.errors import UsageError, whole_number

RESTORED_RATE = 48000  # Hz, of the benchmark; other recordings are resampled
# Measured by default, as far as their packages are installed.
DEFAULT_METRICS = ("si_sdr", "pesq", "estoi", "dnsmos", "dnsmos_p808", "distillmos")
DEFAULT_METRICS += ("lsd",)


def add_parser(commands):
    """Add the two sub-commands to ``argparse``'s sub-parsers."""
    _add_evaluate(commands)
    report = commands.add_parser(
        "report",
        help="tables and plots of several evaluations",
        description="Results that differ in the seed alone are runs of one system. "
        "Takes output folders of `lafufu evaluate` and of trainings.",
    )
    report.add_argument("results", nargs="+", help="result folders")
    report.add_argument("-o", "--output", required=True, help="folder to write")
    report.add_argument(
        "--systems",
        nargs="+",
        default=(),
        metavar="YAML",
        help="titles and families of further systems, in the form of "
        "lafufu_sb/evaluation/systems.yaml",
    )
    add_comparison_options(report)
    report.set_defaults(run=run_report)


def add_comparison_options(parser):
    """Add the options of ``write_report`` that compare clip by clip."""
    parser.add_argument(
        "--reference",
        metavar="SYSTEM",
        help="compare the others with this one clip by clip, and count the clips that "
        "are made worse",
    )
    parser.add_argument(
        "--groups",
        nargs="+",
        type=_group,
        default=(),
        metavar="NAME=GLOB",
        help="tables for groups of clips by their ids, the first that matches; such as "
        "'acted=ravdess*' 'others=*'",
    )


def _group(text):
    name, equals, glob = text.partition("=")
    if not (name and equals and glob):
        raise argparse.ArgumentTypeError(f"must be NAME=GLOB, got {text!r}")
    return name, glob


def _add_evaluate(commands):
    parser = commands.add_parser(
        "evaluate",
        help="measure models, or restored recordings, on a test set",
        description="Either --model and --data, or --restored and --clean. Several "
        "models are trainings of one recipe with different seeds.",
    )
    add_model_options(parser, several=True)
    parser.add_argument(
        "-d",
        "--data",
        help="corpus, its test folder (noisy or reverberant, and clean) or a manifest",
    )
    parser.add_argument("--restored", help="folder of recordings restored elsewhere")
    parser.add_argument("--clean", help="clean recordings with the same ids")
    parser.add_argument("--distorted", help="their distorted versions, optional")
    parser.add_argument(
        "-o", "--output", required=True, help="result folder, for `lafufu report`"
    )
    parser.add_argument("--name", help="name of the system, by default the model's")
    parser.add_argument(
        "--seeds", type=int, default=1, help="runs of each model with other noise"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        help=f"by default those installed of {', '.join(DEFAULT_METRICS)}",
    )
    parser.add_argument("--clips", type=int, help="number of clips, spread over all")
    parser.add_argument(
        "--keep-audio", action="store_true", help="keep the restored recordings"
    )
    parser.add_argument("--jobs", type=int, help="measuring processes, by default all")
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options):
    """Measure, and print the means and the failures."""
    from lafufu_sb.evaluation.metrics import available, check_metrics, missing_hints

    _check(options)
    hints = missing_hints(DEFAULT_METRICS) if options.metrics is None else []
    metrics = options.metrics or [m for m in DEFAULT_METRICS if m in available()]
    check_metrics(metrics)
    evaluate = _evaluate_models if options.model else _evaluate_restored
    runs = evaluate(options, metrics)
    for line in _summary_lines(runs, metrics):
        say(line)
    for hint in hints:
        say(f"not measured: {hint}")
    say(f"results: {Path(options.output).resolve()}")
    return 0


def _check(options):
    given = [bool(options.model), bool(options.data)]
    given += [bool(options.restored), bool(options.clean)]
    if given not in ([True, True, False, False], [False, False, True, True]):
        raise UsageError("give either --model and --data, or --restored and --clean")
    for name, most in (("seeds", 1000), ("clips", 1_000_000), ("jobs", 1024)):
        value = getattr(options, name)
        if value is not None:
            whole_number(f"--{name}", value, 1, most)


def find_pairs(source, limit=None):
    """Clips of a test set.

    Arguments
    ---------
    source : str or Path
        Folder with a distorted and a clean side (see ``pair_recordings``), one with
        such a folder named test, or a manifest that ``ears_prepare`` wrote.
    limit : int, optional
        Number of clips, evenly spread over all.

    Returns
    -------
    list of tuple
        (name, distorted path, clean path).
    """
    from lafufu_sb.corpora.manifests import pair_recordings
    from lafufu_sb.evaluation.runs import read_manifest, spread

    source = Path(source)
    if source.suffix == ".json":
        return read_manifest(source, limit)
    inner = source / "test"
    return spread(pair_recordings(inner if inner.is_dir() else source), limit)


def _evaluate_models(options, metrics):
    from lafufu_sb.evaluation.runs import evaluate_models

    choices = {
        model: model_choice(argparse.Namespace(**vars(options) | {"model": model}))
        for model in options.model
    }
    return evaluate_models(
        choices,
        find_pairs(options.data, options.clips),
        options.output,
        system=options.name or system_name(options.model[0]),
        metrics=metrics,
        seeds=options.seeds,
        recipe=common_recipe(options.model),
        workers=options.jobs,
        keep_audio=options.keep_audio,
    )


def common_recipe(models):
    """Text of the recipe that trained the models; None if a model has none.

    Raises
    ------
    UsageError
        If the recipes differ in more than the seed.
    """
    from lafufu_sb.evaluation.systems import differences, recipe_facts
    from lafufu_sb.inference.folder import RECIPE_NAME

    paths = [Path(model).absolute().parent / RECIPE_NAME for model in models]
    if not all(path.is_file() for path in paths):
        return None
    texts = [path.read_text() for path in paths]
    differing = differences([{"recipe": recipe_facts(text)} for text in texts])
    if differing:
        raise UsageError(
            f"the recipes of {', '.join(models)} differ in {', '.join(differing)}: "
            "evaluate them one by one, into several result folders"
        )
    return texts[0]


def system_name(model):
    """Name of a system by the folder of its model.

    Example
    -------
    >>> system_name("results/lafufu_192_wham/1234/model"), system_name("my/lafufu")
    ('lafufu_192_wham', 'lafufu')
    """
    from lafufu_sb.inference.shipped import model_folder

    folder = Path(model_folder(model))
    if folder.name == "model" and folder.parent.name:  # of a training
        recipe, seed = folder.parent.parent.name, folder.parent.name
        return recipe if recipe and seed.isdigit() else seed
    return folder.name


def match_restored(restored, clean, distorted=None):
    """Clips of recordings that another program has restored.

    Arguments
    ---------
    restored, clean, distorted : str or Path
        Folders whose recordings share ids, see ``recording_id``: ``00001_0.53.wav``
        belongs to ``00001.wav``.

    Returns
    -------
    list of ClipFiles
        One for each clean recording, including those without a restored one.

    Raises
    ------
    FileNotFoundError
        If a folder is missing or holds no recording.
    UsageError
        If ids are not unique, or no restored recording has that of a clean one.
    """
    from lafufu_sb.corpora.manifests import recordings_by_id
    from lafufu_sb.evaluation.clips import ClipFiles

    sides = {"restored": restored, "clean": clean, "distorted": distorted}
    problems = []
    files = {
        side: recordings_by_id(Path(folder), problems)
        for side, folder in sides.items()
        if folder is not None
    }
    if problems:
        raise UsageError("; ".join(problems))
    if not files["clean"].keys() & files["restored"].keys():
        raise UsageError(
            f"no recording in {restored} has the id of one in {clean}: they need the "
            "same five-digit id, or the same name, in the same sub-folders"
        )
    heard, given = files["restored"], files.get("distorted", {})
    return [
        ClipFiles(name, given.get(name), heard.get(name), path, {})
        for name, path in files["clean"].items()
    ]


def _evaluate_restored(options, metrics):
    """Rows of recordings that another program has restored."""
    from lafufu_sb.evaluation.clips import measure_all, write_rows
    from lafufu_sb.evaluation.runs import describe_pairs, spread, write_result

    clips = match_restored(options.restored, options.clean, options.distorted)
    clips = spread(clips, options.clips)
    rows = measure_all(clips, RESTORED_RATE, metrics, options.jobs or os.cpu_count())
    write_rows(options.output, rows)
    name = options.name or Path(options.restored).name
    facts = describe_pairs([(c.name, c.distorted or c.clean, c.clean) for c in clips])
    write_result(options.output, name, [{"folder": "."}], **facts)
    return [rows]


def _summary_lines(runs, metrics):
    """Means over the runs, and the clips with notes."""
    from lafufu_sb.evaluation.clips import summarise_rows
    from lafufu_sb.evaluation.results import over_runs
    from lafufu_sb.evaluation.tables import number_text

    numbers = over_runs([summarise_rows(rows) for rows in runs])
    for column in [*metrics, *(c for c in numbers if c.startswith("rtf"))]:
        if column in numbers:
            yield f"{column:<12} {number_text(numbers[column], 3)}"
    noted = {row["name"]: row["note"] for rows in runs for row in rows if row["note"]}
    if noted:
        yield f"{len(noted)} of {len(runs[0])} clips have a note:"
    for name, note in noted.items():
        yield f"  {name}: {note}"


def run_report(options):
    """Write tables and plots."""
    from lafufu_sb.evaluation.report import write_report

    written = write_report(
        options.results,
        options.output,
        options.systems,
        options.reference,
        dict(options.groups),
    )
    for path in written:
        say(path)
    return 0
