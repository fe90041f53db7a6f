"""Runs over a test set: restore, measure, keep.

A run is a system with one seed. Its clips are first restored one after the other and
timed, then measured by several processes, which would disturb the timing.
``train.py --stage test``, ``lafufu evaluate`` and ``benchmarks/quality.py`` use it.
"""

import contextlib
import json
import os
import time
from pathlib import Path

import torch
from tqdm import tqdm

from lafufu_sb import __version__
from lafufu_sb.audio.writer import write_recording
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import (
    BEFORE,
    ClipFiles,
    measure_all,
    read_signal,
    write_rows,
)
from lafufu_sb.evaluation.systems import recipe_facts
from lafufu_sb.files import inside, temporary_folder, written_whole
from lafufu_sb.restoration.devices import device_name

RESULT = "evaluation.json"
RESTORED = "restored"  # sub-folder of the restored recordings
WARM_UP = 2.0  # seconds of noise that are restored before the first clip
DENOISING, DEREVERBERATION = "denoising", "dereverberation"
TASKS = {"noisy": DENOISING, "reverberant": DEREVERBERATION, "reverb": DEREVERBERATION}
SUBSETS = ("train", "valid", "test")


class ModelSystem:
    """A model as a system to evaluate, with timed parts; ``seed`` is the sampler's."""

    def __init__(self, model, seed=0):
        self.model = model
        self.seed = seed
        # Otherwise the first clip pays for loading kernels.
        model.enhance_batch(torch.randn(1, round(WARM_UP * model.sample_rate)))

    def __call__(self, distorted, clean_path=None):
        """Restore (time,); returns the restored (time,) and real-time factors."""
        start = time.perf_counter()
        with self.model.restorer.timed() as timer:
            restored = self.model.enhance_batch(distorted[None], seed=self.seed)[0]
            restored = restored.cpu()
        taken = {"rtf": time.perf_counter() - start}
        taken |= {f"rtf_{part}": seconds for part, seconds in timer.seconds.items()}
        seconds = len(distorted) / self.model.sample_rate
        return restored, {name: value / seconds for name, value in taken.items()}


def read_manifest(path, limit=None):
    """Clips of a JSON manifest, ``{id: {"noisy_wav": path, "clean_wav": path}}``.

    Returns a list of (id, distorted path, clean path), at most ``limit`` as by
    ``spread``. OSError or UsageError if the file is no such manifest.
    """
    try:
        entries = json.loads(Path(path).read_text()).items()
        pairs = [(k, Path(e["noisy_wav"]), Path(e["clean_wav"])) for k, e in entries]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no manifest of pairs ({error}): each entry needs noisy_wav and "
            "clean_wav, as recipes/EARS/ears_prepare.py writes them"
        ) from error
    if not pairs:
        raise UsageError(f"{path} lists no clips: prepare the data again")
    return spread(pairs, limit)


def spread(items, limit=None):
    """At most ``limit`` of the items, evenly spread over all.

    Example
    -------
    >>> spread("abcdef", 2), spread("ab", 9)
    (['a', 'd'], ['a', 'b'])
    """
    count = min(limit or len(items), len(items))
    return [items[i * len(items) // count] for i in range(count)]


def describe_pairs(pairs):
    """Task and corpus of a test set, by the names of its folders.

    Example
    -------
    >>> path = Path("EARS-Reverb/test/reverberant/p102/00001_0.5.wav")
    >>> describe_pairs([("p102/00001", path, None)])
    {'task': 'dereverberation', 'corpus': 'EARS-Reverb', 'clips': 1}
    """
    folders = pairs[0][1].parent.parts
    sides = [i for i, n in enumerate(folders) if n in (*TASKS, "clean", "anechoic")]
    above = folders[: sides[-1]] if sides else folders
    named = [name for name in above if name not in SUBSETS]
    corpus = named[-1] if named else "clips"
    task = TASKS.get(folders[sides[-1]]) if sides else None
    if task is None:
        known = {"wham": DENOISING, "reverb": DEREVERBERATION}
        found = (t for word, t in known.items() if word in corpus.lower())
        task = next(found, "restoration")
    return {"task": task, "corpus": corpus, "clips": len(pairs)}


def restore_pairs(system, pairs, folder, sample_rate):
    """Restore the distorted recordings into ``folder``, timed; see ``run_system``.

    Returns ``ClipFiles``, with a note and no restored file where the system failed.
    """
    clips = []
    for name, distorted_path, clean_path in tqdm(
        pairs, desc="restored", unit="clip", disable=None
    ):
        try:
            target = inside(folder, f"{name}.wav")
            distorted = read_signal(distorted_path, sample_rate)
            restored, more = system(distorted, clean_path)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_recording(target, restored, sample_rate)
        except (OSError, ValueError, RuntimeError) as error:
            target, more = None, {"note": f"{type(error).__name__}: {error}"}
        clips.append(ClipFiles(name, distorted_path, target, clean_path, more))
    return clips


def run_system(
    system,
    pairs,
    folder,
    *,
    sample_rate,
    metrics,
    workers=None,
    keep_audio=False,
    known=(),
):
    """Restore and measure a test set, write ``clips.csv`` and ``summary.json``.

    Arguments
    ---------
    system : callable
        ``system(distorted, clean_path)`` returns the restored (time,) and a dict of
        further columns; only the autoencoder bound reads the clean recording.
    pairs : list of tuple
        (id, distorted path, clean path).
    folder : str or Path
        The folder of this run.
    sample_rate : int
        Hz of the system's input and output.
    metrics : sequence of str
        Names for ``lafufu_sb.evaluation.metrics.evaluate``.
    workers : int, optional
        Processes that measure, by default one per CPU.
    keep_audio : bool
        Whether the restored recordings stay, in the sub-folder ``restored``.
    known : list of dict
        Rows of another run on the clips, whose distorted side is not measured again.

    Returns
    -------
    list of dict
        See ``measure_clip``.
    """
    restored = Path(folder) / RESTORED
    kept = contextlib.nullcontext(restored)  # else a folder of its own
    with kept if keep_audio else temporary_folder(restored) as place:
        clips = restore_pairs(system, pairs, place, sample_rate)
        more = {clip.name: clip.more for clip in clips}
        for row in known:
            more[row["name"]] |= {k: v for k, v in row.items() if k.startswith(BEFORE)}
        rows = measure_all(clips, sample_rate, metrics, workers or os.cpu_count())
    write_rows(folder, rows)
    return rows


def evaluate_models(
    models, pairs, folder, *, system, metrics, seeds=1, recipe=None, **options
):
    """Measure the trainings of one system, each with several seeds.

    Arguments
    ---------
    models : dict of str to ModelChoice
        By label.
    pairs, metrics
        See ``run_system``.
    folder : str or Path
        The result folder; with several runs each has a sub-folder.
    system : str
        Name.
    seeds : int
        Runs of each model, with sampler seeds from the model's own on.
    recipe : str, optional
        Text of the training recipe. ``lafufu report`` joins results of one system only
        if their recipes agree, see ``recipe_facts``.
    **options
        ``workers`` and ``keep_audio``, see ``run_system``.

    Returns
    -------
    list of list of dict
        Rows of each run.
    """
    folder = Path(folder)
    several = len(models) * seeds > 1
    runs, rows = [], []
    for label, choice in models.items():
        model = choice.load()
        first = model.restorer.settings.seed
        for seed in range(first, first + seeds):
            place = f"run{len(runs) + 1}" if several else "."
            own = {"sample_rate": model.sample_rate, "metrics": metrics} | options
            own["known"] = rows[0] if rows else ()
            model_system = ModelSystem(model, seed)
            rows.append(run_system(model_system, pairs, folder / place, **own))
            runs.append({"folder": place, "model": label, "seed": seed})
    facts = describe_pairs(pairs) | describe_model(model)
    if recipe is not None:
        facts["recipe"] = recipe_facts(recipe)
    write_result(folder, system, runs, **facts)
    return rows


def describe_model(model):
    """Facts about a model and the machine, for ``evaluation.json``."""
    restorer, settings = model.restorer, model.restorer.settings
    parameters = sum(p.numel() for p in restorer.parameters())
    return {
        "sampling": restorer.describe(),
        "calls": restorer.sampler.calls,
        "phase_averages": settings.phase_averages,
        "dry": settings.dry,
        "window": restorer.plan.window / model.sample_rate,
        "overlap": restorer.plan.overlap / model.sample_rate,
        "precision": settings.precision,
        "parameters": parameters,
        "device": device_name(torch.device(model.device)),
        "threads": torch.get_num_threads(),
    }


def write_result(folder, system, runs, **facts):
    """Write ``evaluation.json``, which marks a result folder for ``lafufu report``.

    ``runs`` are dicts with ``folder``, relative to the result folder, and the seed or
    the like; facts are ``task``, ``corpus``, ``device``, ``recipe`` and more.
    """
    versions = {"lafufu_sb": __version__, "torch": torch.__version__}
    content = {"system": system} | facts | versions | {"runs": runs}
    with written_whole(Path(folder) / RESULT) as temporary:
        temporary.write_text(json.dumps(content, indent=1))
