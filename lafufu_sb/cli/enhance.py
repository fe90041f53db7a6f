"""``lafufu enhance``: restore files or folders."""

import os
import time
from collections import Counter
from pathlib import Path

from lafufu_sb.cli.options import add_model_options, add_subtype, model_choice
from lafufu_sb.cli.output import complain, say
from lafufu_sb.errors import UsageError
from lafufu_sb.files import checked_path, refuse_nested, refuse_sources_inside


def add_parser(commands):
    """Add the sub-command to ``argparse``'s sub-parsers."""
    parser = commands.add_parser("enhance", help="restore files or folders")
    parser.add_argument("input", nargs="+", help="recordings, or folders of them")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        help="file for one input, whose suffix chooses the format; folder for several",
    )
    add_subtype(parser)
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
    from lafufu_sb.audio.recordings import read_header
    from lafufu_sb.audio.writer import check_subtype

    jobs = plan_outputs(options.input, options.output)
    for _, target in jobs if options.subtype else ():
        check_subtype(target, options.subtype)
    model = model_choice(options).load()
    failed = 0
    for source, target in jobs:
        start = time.perf_counter()
        try:
            model.enhance_file(
                source,
                target,
                keep_sample_rate=options.keep_sample_rate,
                subtype=options.subtype,
            )
        except (UsageError, OSError) as error:
            if len(jobs) == 1:
                raise
            complain(f"error: {error}")
            failed += 1
            continue
        took = time.perf_counter() - start
        seconds = read_header(target).seconds
        say(
            f"{source} -> {target}  {seconds:.2f} s in {took:.2f} s, RTF "
            f"{took / seconds:.2f}, {model.restorer.describe()}"
        )
    if failed:
        complain(f"{failed} of {len(jobs)} files failed")
    return 1 if failed else 0


def plan_outputs(inputs, output):
    """Pairs of input and output path, checked before anything is loaded.

    Arguments
    ---------
    inputs : list of str
        Recordings and folders; a folder keeps its structure.
    output : str
        A file if the input is one recording, and the suffix is one of
        ``WRITTEN_SUFFIXES``. A folder for several, or if it exists, has no suffix or
        ends with a slash.

    Returns
    -------
    list of tuple of Path

    Raises
    ------
    FileNotFoundError, UsageError
        For inputs that do not exist, outputs that have unknown suffixes, coincide or
        overwrite their input, and folders that have the output inside them, or are
        inside it.
    """
    from lafufu_sb.audio.finding import find_recordings

    single = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    is_file, output = _is_file(output, single), Path(output)
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
        elif is_file:
            jobs.append((source, output))
        else:
            jobs.append((source, output / source.with_suffix(".wav").name))
    _check_targets(jobs)
    return jobs


def _is_file(output, single):
    """Whether the output is a file; UsageError if its suffix does not go with that."""
    from lafufu_sb.audio.formats import WRITTEN_SUFFIXES

    suffix = Path(output).suffix.lower()
    separators = tuple(filter(None, (os.sep, os.altsep)))
    if output.endswith(separators) or Path(output).is_dir():
        return False
    if suffix in WRITTEN_SUFFIXES:
        if single:
            return True
        raise UsageError(
            f"{output} names one file, but the input may be several: give a folder, or "
            "add a slash"
        )
    if Path(output).exists():
        raise UsageError(f"{output} is a file: choose another folder")
    if single and suffix:
        raise UsageError(
            f"{output}: cannot write {suffix}, use .wav, .flac, .mp3, .opus, .m4a or "
            ".mp4; for a folder of this name, add a slash"
        )
    return False


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
