"""Runs over a test set: restore, measure, keep.

A run is a system with one seed. Its clips are restored first, timed and one after the
other, then measured by several processes, which would disturb the timing. ``train.py
--stage test``, ``lafufu evaluate`` and ``benchmarks/quality.py`` all come here.
"""

import json
import os
import shutil
from pathlib import Path

import torch
from tqdm import tqdm

from lafufu_sb import __version__
from lafufu_sb.audio.files import write_recording
from lafufu_sb.corpora.manifests import (
    CLEAN_FOLDERS,
    DISTORTED_FOLDERS,
    pair_recordings,
    recordings_by_id,
)
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.evaluation.clips import BEFORE, ClipFiles, measure_all, write_rows
from lafufu_sb.evaluation.timing import PartTimes
from lafufu_sb.files import written_whole
from lafufu_sb.restoration.devices import device_name

RESULT = "evaluation.json"
RESTORED = "restored"  # sub-folder of the restored recordings
WARM_UP = 2.0  # seconds of noise that are restored before the first clip
TASKS = dict.fromkeys(DISTORTED_FOLDERS, "dereverberation") | {"noisy": "denoising"}
_CLEAN = dict.fromkeys(CLEAN_FOLDERS)


class ModelSystem:
    """A model as a system to evaluate, its parts timed.

    Arguments
    ---------
    model : EnhanceLatent
        To restore with.
    seed : int
        Of the sampler's noise.
    """

    def __init__(self, model, seed=0):
        self.model = model
        self.seed = seed
        noise = torch.randn(1, round(WARM_UP * model.sample_rate))
        model.enhance_batch(noise)  # the first clip must not pay for the start

    def __call__(self, distorted, clean_path=None):
        """(time,) to the restored (time,) on the CPU, and the real-time factors."""
        with PartTimes(self.model.restorer) as times:
            restored = self.model.enhance_batch(distorted[None], seed=self.seed)[0]
            restored = restored.cpu()
        return restored, times.factors(len(distorted) / self.model.sample_rate)


def find_pairs(source, limit=None):
    """Clips of a test set.

    Arguments
    ---------
    source : str or Path
        Folder with a distorted and a clean side (see ``pair_recordings``), one with
        such a folder named test, or a manifest that ``ears_prepare`` wrote.
    limit : int, optional
        Take so many, spread evenly over all.

    Returns
    -------
    list of tuple
        (name, distorted path, clean path).
    """
    source = Path(source)
    if source.suffix == ".json":
        entries = json.loads(source.read_text()).items()
        pairs = [(k, Path(e["noisy_wav"]), Path(e["clean_wav"])) for k, e in entries]
    else:
        inner = source / "test"
        pairs = pair_recordings(inner if inner.is_dir() else source)
    count = min(limit or len(pairs), len(pairs))
    return [pairs[i * len(pairs) // count] for i in range(count)]


def describe_pairs(pairs):
    """Task and corpus of a test set, by the names of its folders.

    Example
    -------
    >>> path = Path("EARS-Reverb/test/reverberant/p102/00001_0.5.wav")
    >>> describe_pairs([("p102/00001", path, None)])
    {'task': 'dereverberation', 'corpus': 'EARS-Reverb', 'clips': 1}
    """
    folders = pairs[0][1].parent.parts
    sides = [i for i, name in enumerate(folders) if name in TASKS | _CLEAN]
    above = folders[: sides[-1]] if sides else folders
    named = [name for name in above if name not in ("train", "valid", "test")]
    corpus = named[-1] if named else "clips"
    task = TASKS.get(folders[sides[-1]]) if sides else None
    if task is None:
        known = {"wham": TASKS["noisy"], "reverb": TASKS["reverb"]}
        found = (t for word, t in known.items() if word in corpus.lower())
        task = next(found, "restoration")
    return {"task": task, "corpus": corpus, "clips": len(pairs)}


def restore_pairs(system, pairs, folder, sample_rate):
    """Restore the distorted recordings of all pairs into a folder, timed.

    Arguments
    ---------
    system : callable
        ``system(distorted, clean_path)`` gives the restored (time,) and a dict of
        further columns; only an oracle reads the clean recording.
    pairs : list of tuple
        See ``find_pairs``.
    folder : Path
        Where the restored recordings go, ``name``.wav.
    sample_rate : int
        Hz of what the system takes and gives.

    Returns
    -------
    list of ClipFiles
        A clip whose restoration failed has no restored file and a note.
    """
    clips = []
    for name, distorted_path, clean_path in tqdm(
        pairs, desc="restored", unit="clip", disable=None
    ):
        target = folder / f"{name}.wav"
        try:
            restored, more = system(read_wav(distorted_path, sample_rate), clean_path)
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
    """Restore and measure a test set, and write what came of it.

    Arguments
    ---------
    system, pairs, sample_rate
        See ``restore_pairs``.
    folder : str or Path
        Gets ``clips.csv`` and ``summary.json``.
    metrics : sequence of str
        Names for ``lafufu_sb.evaluation.metrics.evaluate``.
    workers : int, optional
        Processes that measure, by default one a CPU.
    keep_audio : bool
        Whether the restored recordings stay, in the sub-folder ``restored``.
    known : list of dict
        Rows of another run on the same clips: the distorted side is not measured anew.

    Returns
    -------
    list of dict
        See ``measure_clip``.
    """
    folder = Path(folder)
    restored = folder / RESTORED
    clips = restore_pairs(system, pairs, restored, sample_rate)
    before = {
        row["name"]: {k: v for k, v in row.items() if k.startswith(BEFORE)}
        for row in known
    }
    clips = [
        clip._replace(more=clip.more | before.get(clip.name, {})) for clip in clips
    ]
    rows = measure_all(clips, sample_rate, metrics, workers or os.cpu_count())
    if not keep_audio:
        shutil.rmtree(restored, ignore_errors=True)
    write_rows(folder, rows)
    return rows


def evaluate_models(models, pairs, folder, *, system, metrics, seeds=1, **options):
    """Measure a system, its trainings and seeds one after the other.

    Arguments
    ---------
    models : dict of str to callable
        Label -> function that loads an ``EnhanceLatent``: trainings of one system.
    pairs : list of tuple
        See ``find_pairs``.
    folder : str or Path
        The result folder; with several runs each has a sub-folder.
    system : str
        Name.
    metrics : sequence of str
        See ``run_system``.
    seeds : int
        Runs of each model, with the seeds of the sampler's noise from zero.
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
    for label, load in models.items():
        model = load()
        for seed in range(seeds):
            place = f"run{len(runs) + 1}" if several else "."
            rows.append(
                run_system(
                    ModelSystem(model, seed),
                    pairs,
                    folder / place,
                    sample_rate=model.sample_rate,
                    metrics=metrics,
                    known=rows[0] if rows else (),
                    **options,
                )
            )
            runs.append({"folder": place, "model": label, "seed": seed})
    facts = describe_pairs(pairs) | describe_model(model)
    write_result(folder, system, runs, **facts)
    return rows


def match_restored(restored, clean, distorted=None):
    """Clips of recordings that something else has restored.

    Arguments
    ---------
    restored, clean, distorted : str or Path
        Folders whose recordings share ids, see ``recording_id``: ``00001_0.53.wav``
        belongs to ``00001.wav``.

    Returns
    -------
    list of ClipFiles
        One for each clean recording; those without a restored one are among them.

    Raises
    ------
    FileNotFoundError
        If a folder is missing or holds no recording.
    ValueError
        If ids are not unique, or no restored recording has that of a clean one.
    """
    sides = {"restored": restored, "clean": clean, "distorted": distorted}
    problems = []
    files = {
        side: recordings_by_id(Path(folder), problems)
        for side, folder in sides.items()
        if folder is not None
    }
    if problems:
        raise ValueError("; ".join(problems))
    if not files["clean"].keys() & files["restored"].keys():
        raise ValueError(
            f"no recording in {restored} has the id of one in {clean}: they need the "
            "same five-digit id, or the same name, in the same sub-folders"
        )
    return [
        ClipFiles(
            name=name,
            distorted=files.get("distorted", {}).get(name),
            restored=files["restored"].get(name),
            clean=path,
            more={},
        )
        for name, path in files["clean"].items()
    ]


def describe_model(model):
    """What a reader must know of a model and the machine to place its numbers."""
    restorer = model.restorer
    networks = restorer.autoencoder, restorer.score_model
    parameters = sum(p.numel() for module in networks for p in module.parameters())
    return {
        "sampling": restorer.describe_sampling(),
        "calls": restorer.sampler.calls,
        "phase_averages": restorer.phase_averages,
        "precision": restorer.precision,
        "parameters": parameters,
        "device": device_name(torch.device(model.device)),
        "threads": torch.get_num_threads(),
    }


def write_result(folder, system, runs, **facts):
    """Write ``evaluation.json``, by which ``lafufu report`` knows a result folder.

    Arguments
    ---------
    folder : str or Path
        Of the result.
    system : str
        Name; results of the same system and corpus are runs of one.
    runs : list of dict
        Each with ``folder``, relative to the result folder, and what sets it apart.
    **facts
        ``task``, ``corpus``, ``clips``, ``device`` and more.
    """
    versions = {"lafufu_sb": __version__, "torch": torch.__version__}
    content = {"system": system} | facts | versions | {"runs": runs}
    with written_whole(Path(folder) / RESULT) as temporary:
        temporary.write_text(json.dumps(content, indent=1))
