"""What ``lafufu demo`` does: restore the embedded recordings and measure the result."""

import time
from pathlib import Path

import torch

from lafufu_sb.audio.writer import write_recording
from lafufu_sb.corpora.manifests import pair_recordings
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.errors import MissingPackageError
from lafufu_sb.evaluation import SIDES, ClipReport
from lafufu_sb.evaluation.figures import save_spectrogram_png
from lafufu_sb.evaluation.metrics import available, missing_hints
from lafufu_sb.inference.loading import ModelChoice

TASKS = {"denoise": "EARS-WHAM", "dereverb": "EARS-Reverb"}
SHOWN = {"si_sdr": "SI-SDR dB", "pesq": "PESQ", "estoi": "ESTOI", "dnsmos": "DNSMOS"}


def run_demo(output_folder, device="cpu", log=print):
    """Restore the test clips of the mini corpus with the shipped models.

    Writes the distorted, restored and clean signals of each clip as WAV files, and
    their spectrograms as one PNG file.

    Arguments
    ---------
    output_folder : str or Path
        Where to write.
    device : str
        Where the models run.
    log : callable
        Receives the lines of the table.

    Returns
    -------
    list of dict
        One row for each clip, see ``ClipReport``.
    """
    folder = Path(output_folder)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = [name for name in SHOWN if name in available()]
    rows = []
    for task, corpus in TASKS.items():
        model = _model(task, device, log)
        report = ClipReport(metrics, model.sample_rate)
        warm_up(model)
        for key, *paths in pair_recordings(mini_corpus_folder(corpus) / "test"):
            name = f"{task}_{Path(key).name}"
            signals, seconds = restored_clip(model, *paths)
            rtf = seconds * model.sample_rate / len(signals[0])
            report.add(name, *signals, rtf=rtf)
            write_clip(folder, name, signals, model.sample_rate)
        rows += report.rows
    for line in table(rows, metrics):
        log(line)
    for hint in missing_hints(SHOWN):
        log(f"not measured: {hint}")
    log(f"WAV files and spectrograms: {folder.resolve()}")
    return rows


def _model(task, device, log):
    """The shipped model of a task, or the small one if a package is missing."""
    try:
        return ModelChoice(task, device=device).load()
    except MissingPackageError as error:
        small = f"{task}_small"
        log(f"{error}. Restoring with {small}")
        return ModelChoice(small, device=device).load()


def warm_up(model):
    """Restore two seconds of noise: the first call of a network is slower."""
    model.enhance_batch(torch.randn(1, 2 * model.sample_rate))


def restored_clip(model, distorted_path, clean_path):
    """Signals of a clip in the order of ``SIDES``, and the seconds that it took."""
    distorted = read_wav(distorted_path, model.sample_rate)
    clean = read_wav(clean_path, model.sample_rate)
    start = time.perf_counter()
    restored = model.enhance_batch(distorted[None])[0].cpu()
    seconds = time.perf_counter() - start
    signals = {"distorted": distorted, "restored": restored, "clean": clean}
    return [signals[side] for side in SIDES], seconds


def write_clip(folder, name, signals, sample_rate):
    """Write the signals of a clip, and their spectrograms."""
    for side, signal in zip(SIDES, signals, strict=True):
        write_recording(folder / f"{name}_{side}.wav", signal, sample_rate)
    titles = dict(zip(("before", "after", "clean"), signals, strict=True))
    save_spectrogram_png(folder / f"{name}.png", titles, sample_rate, title=name)


def table(rows, metrics):
    """Lines of the table: every metric before and after restoration."""
    heads = [f"{SHOWN[name]:>16}" for name in metrics]
    yield f"{'clip':<16}{'seconds':>8}{''.join(heads)}{'RTF':>8}"
    for row in rows:
        cells = [
            f"{row['before_' + name]:>8.2f} →{row[name]:>6.2f}" for name in metrics
        ]
        line = f"{row['name']:<16}{row['seconds']:>8.2f}{''.join(cells)}"
        yield line + f"{row['rtf']:>8.2f}"
