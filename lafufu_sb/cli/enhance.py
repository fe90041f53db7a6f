"""``lafufu enhance``: restore files or folders."""

import os
import sys
import time
from collections import Counter
from pathlib import Path

from lafufu_sb.cli.options import add_model_options, model_choice
from lafufu_sb.errors import UsageError
from lafufu_sb.files import checked_path, refuse_nested, refuse_sources_inside


def add_parser(commands):
    """Add the sub-command to ``argparse``'s sub-parsers."""
    parser = commands.add_parser("enhance", help="restore files or folders")
    parser.add_argument("input", nargs="+", help="recordings, or folders of them")
    parser.add_argument(
        "-o", "--output", required=True, help="file for one input, folder for several"
    )
    parser.add_argument(
        "--keep-sample-rate",
        action="store_true",
        help="write at the input's rate instead of the model's",
    )
    parser.add_argument(
        "--progress", action="store_true", help="show a bar on the error stream"
    )
    add_model_options(parser)
    parser.set_defaults(run=enhance_command)


def enhance_command(options):
    """Restore; a failing file of several is reported, and the rest goes on."""
    import soundfile

    jobs = plan_outputs(options.input, Path(options.output))
    model = model_choice(options).load()
    failed = 0
    for source, target in jobs:
        start = time.perf_counter()
        try:
            model.enhance_file(
                source, target, keep_sample_rate=options.keep_sample_rate
            )
        except (UsageError, OSError) as error:
            if len(jobs) == 1:
                raise
            print(f"lafufu: error: {error}", file=sys.stderr)
            failed += 1
            continue
        took = time.perf_counter() - start
        seconds = soundfile.info(os.fsencode(target)).duration
        print(
            f"{source} -> {target}  {seconds:.2f} s in {took:.2f} s, RTF "
            f"{took / seconds:.2f}, {model.restorer.describe()}"
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
    FileNotFoundError, UsageError
        For inputs that do not exist, outputs that coincide or overwrite their input,
        and folders that have the output inside them, or are inside it.
    """
    from lafufu_sb.audio.files import AUDIO_SUFFIXES, find_recordings

    jobs = []
    for source in map(Path, inputs):
        if source.is_dir():
            refuse_nested(source, output)
            found = find_recordings(source)
            refuse_sources_inside(found, output)
            jobs += [
                (p, output / p.relative_to(source).with_suffix(".wav")) for p in found
            ]
        elif not source.exists():
            raise FileNotFoundError(f"{source} does not exist")
        elif len(inputs) == 1 and output.suffix.lower() in AUDIO_SUFFIXES:
            jobs.append((source, output))
        else:
            jobs.append((source, output / source.with_suffix(".wav").name))
    _check_targets(jobs)
    return jobs


def _check_targets(jobs):
    targets = [os.path.realpath(checked_path(target)) for _, target in jobs]
    counts = Counter(targets)
    for (source, target), real in zip(jobs, targets, strict=True):
        if real == os.path.realpath(source):
            raise UsageError(
                f"{target} would overwrite its input: choose another output"
            )
        if counts[real] > 1:
            raise UsageError(
                f"several inputs would be written to {target}: rename them"
            )
