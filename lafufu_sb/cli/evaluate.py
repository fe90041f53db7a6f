"""``lafufu evaluate`` and ``lafufu report``: measure systems, put them side by side."""

from functools import partial
from pathlib import Path

RESTORED_RATE = 48000  # Hz, of the benchmark; other recordings are resampled
DEFAULT_METRICS = ("si_sdr", "pesq", "estoi", "dnsmos", "lsd")


def add_parser(commands):
    """Add the two sub-commands to ``argparse``'s sub-parsers."""
    _add_evaluate(commands)
    report = commands.add_parser(
        "report",
        help="tables and plots of several evaluations",
        description="Results of the same system on the same corpus are its runs. "
        "Takes output folders of `lafufu evaluate` and of trainings.",
    )
    report.add_argument("results", nargs="+", help="result folders")
    report.add_argument("-o", "--output", required=True, help="folder to write")
    report.set_defaults(run=run_report)


def _add_evaluate(commands):
    parser = commands.add_parser(
        "evaluate",
        help="measure models, or restored recordings, on a test set",
        description="Either --model and --data, or --restored and --clean.",
    )
    parser.add_argument(
        "-m",
        "--model",
        nargs="+",
        help="wham, reverb, a model folder or a Hub id; several are trainings of one "
        "system, with other seeds",
    )
    parser.add_argument(
        "-d",
        "--data",
        help="corpus, its test folder (noisy or reverberant, and clean) or a manifest",
    )
    parser.add_argument("--restored", help="folder of what another system restored")
    parser.add_argument("--clean", help="clean recordings with the same ids")
    parser.add_argument("--distorted", help="their distorted versions, optional")
    parser.add_argument(
        "-o", "--output", required=True, help="result folder, for `lafufu report`"
    )
    parser.add_argument("--name", help="of the system, by default the model's")
    parser.add_argument(
        "--seeds", type=int, default=1, help="runs of each model with other noise"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=list(DEFAULT_METRICS),
        help=f"by default {' '.join(DEFAULT_METRICS)}",
    )
    parser.add_argument("--clips", type=int, help="only so many, spread over all")
    parser.add_argument(
        "--keep-audio", action="store_true", help="keep what it restores"
    )
    parser.add_argument("--jobs", type=int, help="measuring processes, by default all")
    parser.add_argument("--preset", help="sampler settings of the model")
    parser.add_argument("--sampler", help="another sampler that fits the model")
    parser.add_argument("--num-steps", type=int, help="steps of the sampler")
    parser.add_argument(
        "--phase-averages", type=int, help="1 to 4: of the phase, to average over"
    )
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, help="CPU threads, by default all")
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options):
    """Measure, and say the means and what failed."""
    from lafufu_sb.evaluation.metrics import check_metrics
    from lafufu_sb.evaluation.runs import evaluate_models, find_pairs, match_restored

    _check(options)
    check_metrics(options.metrics)
    if options.model:
        runs = evaluate_models(
            {model: partial(_load, options, model) for model in options.model},
            find_pairs(options.data, options.clips),
            options.output,
            system=options.name or system_name(options.model[0]),
            metrics=options.metrics,
            seeds=options.seeds,
            workers=options.jobs,
            keep_audio=options.keep_audio,
        )
    else:
        clips = match_restored(options.restored, options.clean, options.distorted)
        runs = [_evaluate_restored(options, clips[: options.clips])]
    for line in _summary_lines(runs, options.metrics):
        print(line)
    print(f"results: {Path(options.output).resolve()}")
    return 0


def _check(options):
    given = [bool(options.model), bool(options.data)]
    given += [bool(options.restored), bool(options.clean)]
    if given not in ([True, True, False, False], [False, False, True, True]):
        raise ValueError("give either --model and --data, or --restored and --clean")
    for name in ("seeds", "clips", "jobs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")


def _load(options, model):
    from lafufu_sb.inference.interface import EnhanceLatent
    from lafufu_sb.inference.shipped import model_folder

    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    return EnhanceLatent.from_hparams(
        source=model_folder(model),
        run_opts={"device": options.device} if options.device else {},
        preset=options.preset,
        sampler=options.sampler,
        num_steps=options.num_steps,
        phase_averages=options.phase_averages,
        precision=options.precision,
    )


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


def _evaluate_restored(options, clips):
    """Rows of recordings that something else has restored."""
    import os

    from lafufu_sb.evaluation.clips import measure_all, write_rows
    from lafufu_sb.evaluation.runs import describe_pairs, write_result

    workers = options.jobs or os.cpu_count()
    rows = measure_all(clips, RESTORED_RATE, options.metrics, workers)
    write_rows(options.output, rows)
    name = options.name or Path(options.restored).name
    described = [(c.name, c.distorted or c.clean, c.clean) for c in clips]
    facts = describe_pairs(described)
    write_result(options.output, name, [{"folder": "."}], **facts)
    return rows


def _summary_lines(runs, metrics):
    """Means over the runs, and the clips that no metric or not all could judge."""
    from lafufu_sb.evaluation.clips import summarise_rows
    from lafufu_sb.evaluation.results import over_runs
    from lafufu_sb.evaluation.tables import number_text

    numbers = over_runs([summarise_rows(rows) for rows in runs])
    for column in [*metrics, "rtf", "rtf_encoder", "rtf_sampler", "rtf_decoder"]:
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

    for path in write_report(options.results, options.output):
        print(path)
    return 0
