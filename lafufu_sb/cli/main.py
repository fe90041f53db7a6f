"""The command ``lafufu``."""

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from lafufu_sb import __version__
from lafufu_sb.cli import clean, evaluate, import_sgmse


def main(arguments=None):
    """Parse, run, and turn errors of use into one line.

    Arguments
    ---------
    arguments : list of str, optional
        By default those of the command line.

    Returns
    -------
    int
        Exit status: 0, 1 if a file of several failed, 2 for an error.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):  # names of files need not be printable
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return options.run(options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"lafufu: error: {message}".replace("\n", " "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lafufu: interrupted", file=sys.stderr)
        return 130


def build_parser():
    """The parser of all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="lafufu", description="Restore 48-kHz speech: noise and reverberation."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser("demo", help="restore the embedded recordings, measured")
    demo.add_argument("-o", "--output", default="lafufu_demo", help="folder to write")
    demo.add_argument("--device", default="cpu")
    demo.set_defaults(run=demo_command)

    enhance = commands.add_parser("enhance", help="restore files or folders")
    enhance.add_argument("input", nargs="+", help="recordings, or folders of them")
    enhance.add_argument(
        "-o", "--output", required=True, help="file for one input, folder for several"
    )
    add_model_options(enhance)
    enhance.add_argument(
        "--backend",
        choices=["torch", "onnx"],
        default="torch",
        help="what runs the networks; onnx (ONNX Runtime, CPU) needs a model folder "
        "of `lafufu export --format onnx`",
    )
    enhance.add_argument(
        "--keep-sample-rate",
        action="store_true",
        help="write at the input's rate instead of the model's",
    )
    enhance.add_argument(
        "--progress", action="store_true", help="show a bar on the error stream"
    )
    enhance.set_defaults(run=enhance_command)

    clean.add_parser(commands, add_model_options)

    export = commands.add_parser("export", help="run folder to model folder")
    export.add_argument(
        "source",
        help="output_folder of a training; for --format onnx a model folder, wham or "
        "reverb too",
    )
    export.add_argument("-o", "--output", required=True, help="model folder to write")
    export.add_argument("--half", action="store_true", help="half-precision weights")
    export.add_argument(
        "--format",
        choices=["torch", "onnx"],
        default="torch",
        help="onnx writes graphs beside the weights, for `lafufu enhance --backend "
        "onnx` and other programs",
    )
    export.add_argument(
        "--quantize", choices=["int8"], help="weights of the ONNX graphs (docs/onnx.md)"
    )
    export.set_defaults(run=export_command)
    for command in (evaluate, import_sgmse):
        command.add_parser(commands)
    return parser


def add_model_options(parser):
    """Options that say what restores, which ``load_model`` reads."""
    parser.add_argument(
        "-m",
        "--model",
        default="wham",
        help="wham (noise), reverb (reverberation), a model folder or a Hub id",
    )
    parser.add_argument(
        "--preset", help="sampler settings of the model: fast, balanced, paper"
    )
    parser.add_argument("--sampler", help="another sampler that fits the model")
    parser.add_argument("--num-steps", type=int, help="steps of the sampler")
    parser.add_argument(
        "--phase-averages",
        type=int,
        help="1 to 4: average over phase_averages of the phase, which errs less and takes "
        "as many times as long",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sampler's noise")
    parser.add_argument(
        "--dry",
        type=float,
        default=0.0,
        help="share of the input in the result, 0 (none) to 1",
    )
    parser.add_argument(
        "--window",
        type=float,
        help="seconds that the networks see at once, the nearest they can use",
    )
    parser.add_argument(
        "--overlap", type=float, help="seconds that neighbouring windows share"
    )
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"])
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the networks first, which takes minutes; meant for CUDA",
    )
    parser.add_argument(
        "--no-fallback",
        dest="fallback",
        action="store_false",
        default=None,
        help="an error, not a warning, if the machine lacks the device or precision "
        "or cannot compile",
    )
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, help="CPU threads, by default all")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let the model's YAML build whatever it names (docs/security.md)",
    )


def demo_command(options):
    """``lafufu demo``."""
    from lafufu_sb.cli.demo import run_demo

    run_demo(options.output, options.device)
    return 0


def export_command(options):
    """``lafufu export``."""
    from lafufu_sb.inference.shipped import model_folder
    from lafufu_sb.training.export import export_onnx, export_run

    if options.format == "onnx":
        source = model_folder(options.source)
        export_onnx(source, options.output, options.half, options.quantize)
    elif options.quantize:
        raise ValueError("--quantize is for --format onnx")
    else:
        export_run(options.source, options.output, options.half)
    print(f"model folder: {Path(options.output).resolve()}")
    return 0


def enhance_command(options):
    """``lafufu enhance``."""
    import soundfile

    jobs = plan_outputs(options.input, Path(options.output))
    model = load_model(options)
    failed = 0
    for source, target in jobs:
        start = time.perf_counter()
        try:
            model.enhance_file(
                source, target, keep_sample_rate=options.keep_sample_rate
            )
        except (OSError, ValueError, RuntimeError) as error:
            if len(jobs) == 1:
                raise
            print(f"lafufu: error: {error}", file=sys.stderr)
            failed += 1
            continue
        took = time.perf_counter() - start
        seconds = soundfile.info(os.fsencode(target)).duration
        print(
            f"{source} -> {target}  {seconds:.2f} s in {took:.2f} s, RTF "
            f"{took / seconds:.2f}, {model.restorer.describe_sampling()}"
        )
    if failed:
        print(f"lafufu: {failed} of {len(jobs)} files failed", file=sys.stderr)
    return 1 if failed else 0


def plan_outputs(inputs, output):
    """Pairs of input and output path, checked before anything is loaded.

    Arguments
    ---------
    inputs : list of str
        Recordings and folders; a folder keeps its structure.
    output : Path
        A file if the input is one recording, else a folder.

    Returns
    -------
    list of tuple of Path

    Raises
    ------
    FileNotFoundError, ValueError
        For inputs that do not exist, outputs that coincide or overwrite their input.
    """
    from lafufu_sb.audio.files import AUDIO_SUFFIXES, find_recordings

    jobs = []
    for source in map(Path, inputs):
        if source.is_dir():
            found = find_recordings(source)
            jobs += [
                (p, output / p.relative_to(source).with_suffix(".wav")) for p in found
            ]
        elif not source.exists():
            raise FileNotFoundError(f"{source} does not exist")
        elif len(inputs) == 1 and output.suffix.lower() in AUDIO_SUFFIXES:
            jobs.append((source, output))
        else:
            jobs.append((source, output / source.with_suffix(".wav").name))
    targets = [os.path.realpath(target) for _, target in jobs]
    counts = Counter(targets)
    for (source, target), real in zip(jobs, targets, strict=True):
        if real == os.path.realpath(source):
            raise ValueError(
                f"{target} would overwrite its input: choose another output"
            )
        if counts[real] > 1:
            raise ValueError(
                f"several inputs would be written to {target}: rename them"
            )
    return jobs


def load_model(options):
    """The model that options ask for, see ``add_model_options``."""
    import torch

    from lafufu_sb.inference.interface import EnhanceLatent
    from lafufu_sb.inference.shipped import model_folder

    if options.threads is not None:
        if options.threads < 1:
            raise ValueError(f"--threads must be at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    run_opts = {"device": options.device} if options.device else {}
    return EnhanceLatent.from_hparams(
        source=model_folder(options.model),
        run_opts=run_opts,
        preset=options.preset,
        sampler=options.sampler,
        num_steps=options.num_steps,
        phase_averages=options.phase_averages,
        window=options.window,
        overlap=options.overlap,
        seed=options.seed,
        dry=options.dry,
        progress=options.progress,
        trust=options.trust,
        backend=options.backend,
        precision=options.precision,
        compile=options.compile or None,
        fallback=options.fallback,
    )


if __name__ == "__main__":
    sys.exit(main())
