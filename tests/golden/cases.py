"""What the recorded models are asked for. See README.md."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch

from lafufu_sb import EnhanceLatent, shipped_model
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav

HERE = Path(__file__).parent
STEP = 49  # one in so many samples is stored
TINY = {  # presets that restore the noisy and the quiet recording
    "sgmse": ("paper", "heun"),
    "lafufu_ouve": ("fast", "balanced", "narrow", "paper"),
    "bridge": ("fast", "balanced", "paper", "four", "narrow"),
    "gains": ("fast", "balanced", "paper"),
    "crp": ("fast",),
}
WEIGHTS = {"crp": "bridge"}  # the same networks, other process and objective
SHIPPED = ("denoise_small", "dereverb")
SIGNALS = ("noisy", "quiet")


def case_names():
    """``model/preset or precision/signal`` of all recorded results."""
    tiny = [
        f"{model}/{preset}/{signal}"
        for model, presets in TINY.items()
        for preset in presets
        for signal in SIGNALS
    ]
    shipped = [
        f"{model}/{precision}/{signal}"
        for model in SHIPPED
        for precision in ("bf16", "fp32")
        for signal in SIGNALS
    ]
    return [*tiny, *(f"gains/pre_enhancer/{s}" for s in SIGNALS), *shipped]


def inputs():
    """The noisy recording (1.9 s), and part of another one at a peak of 1e-3."""
    corpus = mini_corpus_folder("EARS-WHAM") / "test" / "noisy"
    first = read_wav(corpus / "S06001/00000_0.0dB.wav", 48000)
    part = read_wav(corpus / "S08520/00001_7.5dB.wav", 48000)[40000:56800].numpy()
    quiet = (part * (1e-3 / np.abs(part).max())).astype(np.float32)
    return {"noisy": first[None, :91200], "quiet": torch.from_numpy(quiet)[None]}


def tiny_folder(name, parent):
    """Copy of a recorded model folder, complete with its weights."""
    folder = Path(parent) / name
    shutil.copytree(HERE / "models" / WEIGHTS.get(name, name), folder)
    shutil.copy(HERE / "models" / name / "hyperparams.yaml", folder)
    return folder


def compute(case, folders, wavs):
    """Result of a case.

    Arguments
    ---------
    case : str
        One of ``case_names()``.
    folders : dict of str to Path
        Of ``tiny_folder`` by name.
    wavs : dict of str to torch.Tensor
        As ``inputs`` returns them.

    Returns
    -------
    numpy.ndarray
        (1, samples), float32.
    """
    name, setting, signal = case.split("/")
    own = {"preset": setting} if setting in TINY.get(name, ()) else {}
    if name in SHIPPED:
        own = {"precision": setting}
    source = shipped_model(name) if name in SHIPPED else folders[name]
    model = EnhanceLatent.from_hparams(source=source, run_opts={"device": "cpu"}, **own)
    if setting == "pre_enhancer":
        return model.restorer.pre_enhance(wavs[signal]).numpy()
    return model.enhance_batch(wavs[signal], seed=0).numpy()


def bits(array):
    """Hexadecimal hash of all samples."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
