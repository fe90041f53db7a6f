"""``lafufu demo``: restore the embedded recordings and show what came of it."""

import time
from pathlib import Path

import torch

from lafufu_sb.audio.files import write_recording
from lafufu_sb.corpora.manifests import pair_recordings
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.evaluation import SIDES, ClipReport
from lafufu_sb.evaluation.figures import save_spectrogram_png
from lafufu_sb.evaluation.metrics import available
from lafufu_sb.inference.interface import EnhanceLatent
from lafufu_sb.inference.shipped import shipped_model

TASKS = {"wham": "EARS-WHAM", "reverb": "EARS-Reverb"}
SHOWN = {"si_sdr": "SI-SDR dB", "pesq": "PESQ", "estoi": "ESTOI", "dnsmos": "DNSMOS"}


def run_demo(output_folder, device="cpu", log=print):
    """Restore the test clips of the mini corpus with the shipped models.

    Arguments
    ---------
    output_folder : str or Path
        For the wavs and one spectrogram PNG a clip.
    device : str
        Where to compute.
    log : callable
        Takes the lines of the table.

    Returns
    -------
    list of dict
        A row a clip, as ``ClipReport`` has them.
    """
    folder = Path(output_folder)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = [name for name in SHOWN if name in available()]
    rows = []
    for task, corpus in TASKS.items():
        model = EnhanceLatent.from_hparams(
            source=shipped_model(task), run_opts={"device": device}
        )
        report = ClipReport(metrics, model.sample_rate)
        pairs = pair_recordings(mini_corpus_folder(corpus) / "test")
        warm_up(model)
        for key, distorted_path, clean_path in pairs:
            name = f"{task}_{Path(key).name}"
            clip = {
                "distorted": read_wav(distorted_path, model.sample_rate),
                "clean": read_wav(clean_path, model.sample_rate),
            }
            start = time.perf_counter()
            clip["restored"] = model.enhance_batch(clip["distorted"][None])[0].cpu()
            seconds = time.perf_counter() - start
            signals = [clip[side] for side in SIDES]
            rtf = seconds / (len(clip["clean"]) / model.sample_rate)
            report.add(name, *signals, rtf=rtf)
            for side, signal in zip(SIDES, signals, strict=True):
                write_recording(
                    folder / f"{name}_{side}.wav", signal, model.sample_rate
                )
            save_spectrogram_png(
                folder / f"{name}.png",
                dict(zip(("before", "after", "clean"), signals, strict=True)),
                model.sample_rate,
                title=name,
            )
        rows += report.rows
    for line in table(rows, metrics):
        log(line)
    skipped = [title for name, title in SHOWN.items() if name not in metrics]
    if skipped:
        log(f'not measured: {", ".join(skipped)} (pip install "lafufu_sb[metrics]")')
    log(f"wavs and spectrograms: {folder.resolve()}")
    return rows


def warm_up(model):
    """Restore two seconds, so that the first clip's time is not the library's start."""
    model.enhance_batch(torch.randn(1, 2 * model.sample_rate))


def table(rows, metrics):
    """Lines of a table of restored clips, before and after."""
    heads = [f"{SHOWN[name]:>16}" for name in metrics]
    yield f"{'file':<16}{'seconds':>8}{''.join(heads)}{'RTF':>8}"
    for row in rows:
        cells = [
            f"{row['before_' + name]:>8.2f} →{row[name]:>6.2f}" for name in metrics
        ]
        line = f"{row['name']:<16}{row['seconds']:>8.2f}{''.join(cells)}"
        yield line + f"{row['rtf']:>8.2f}"
