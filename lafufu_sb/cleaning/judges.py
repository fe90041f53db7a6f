"""Choosing and loading the judges of a gate."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch

from lafufu_sb.audio.resampling import resample
from lafufu_sb.cleaning.gate import (
    Gate,
    OpinionJudge,
    RecogniserJudge,
    SpeakerJudge,
    SpeechLossJudge,
)
from lafufu_sb.cleaning.opinions import OPINIONS
from lafufu_sb.cleaning.speech import vad_hint
from lafufu_sb.errors import MissingPackageError, UsageError
from lafufu_sb.evaluation.metrics import missing_hints
from lafufu_sb.inference.asr import (
    RECOGNISER_RATE,
    as_text,
    existing_folder,
    load_recogniser,
    rate_of,
)

# Judge to the option with its limit. The shipped models have DNSMOS in their loss, so
# it must not judge them alone.
JUDGES = {
    "dnsmos": "max_dnsmos_drop",
    "dnsmos_p808": "max_p808_drop",
    "distillmos": "max_distillmos_drop",
    "speech_loss": "max_speech_loss",
}
_TITLES = OPINIONS | {"speech_loss": "lost speech"}


class JudgeChoice(NamedTuple):
    """Names of judges, whether opinions are of speech alone, and what is missing."""

    names: tuple
    speech_only: bool
    note: str  # one line for the user, or empty


def choose_judges(gate, model=""):
    """Which of ``JUDGES`` a gate has.

    Arguments
    ---------
    gate : str
        See ``GateOptions``.
    model : str
        Name of the model that restores. One with "reverb" in its name rightly
        attenuates the reverberation of speech, so "all" leaves out ``speech_loss``.

    Returns
    -------
    JudgeChoice

    Raises
    ------
    MissingPackageError
        If a named judge lacks its package, or all judges do.
    UsageError
        For an unknown name.
    """
    if gate == "none":
        return JudgeChoice((), False, "")
    names = gate.split(",")
    if gate == "all":
        reverb = "reverb" in Path(model).name.lower()
        names = [name for name in JUDGES if not (reverb and name == "speech_loss")]
    if unknown := [name for name in names if name not in JUDGES]:
        raise UsageError(
            f"--gate {unknown[0]!r} is no judge: choose all, none, or from "
            f"{', '.join(JUDGES)} with commas between them"
        )
    hints = {name: hint for name in names if (hint := _hint(name))}
    found = tuple(name for name in names if name not in hints)
    if not found or (hints and gate != "all"):
        raise MissingPackageError(
            f"the do-no-harm gate lacks judges: {'; '.join(hints.values())}, or accept "
            "restored files unchecked with --gate none"
        )
    missing = [_TITLES[name] for name in hints]
    if vad_hint():
        missing.append("speech without its pauses")
    if not missing:
        return JudgeChoice(found, True, "")
    note = (
        f"the gate judges {'whole recordings' if vad_hint() else 'speech'} by "
        f"{', '.join(_TITLES[name] for name in found)} alone; for "
        f'{", ".join(missing)}: pip install "lafufu_sb[judges]"'
    )
    return JudgeChoice(found, not vad_hint(), note)


def _hint(name):
    return "".join(missing_hints([name])) if name in OPINIONS else vad_hint()


def load_gate(options, device="cpu", model=""):
    """Load the gate of a cleaning.

    Arguments
    ---------
    options : GateOptions
        Judges and limits.
    device : str
        Of recogniser and speaker model.
    model : str
        See ``choose_judges``.

    Returns
    -------
    Gate

    Raises
    ------
    MissingPackageError
        If a judge lacks its package.
    FileNotFoundError, UsageError
        If a folder does not exist or holds no such model.
    """
    pieces, judges = options.judge_pieces, []
    chosen = choose_judges(options.gate, model)
    limits = {name: getattr(options, JUDGES[name]) for name in chosen.names}
    drops = {name: limit for name, limit in limits.items() if name in OPINIONS}
    if drops:
        judges.append(OpinionJudge(drops, pieces, chosen.speech_only))
    if "speech_loss" in limits:
        judges.append(SpeechLossJudge(limits["speech_loss"], pieces))
    if options.recogniser:
        transcribe = load_transcriber(options.recogniser, device)
        judges.append(RecogniserJudge(transcribe, options.max_cer, pieces))
    if options.speaker_model:
        embed = load_speaker_model(options.speaker_model, device)
        judges.append(SpeakerJudge(embed, options.min_cosine, pieces))
    return Gate(judges)


def load_transcriber(folder, device="cpu"):
    """Load a recogniser as a deterministic function from speech to text.

    Arguments
    ---------
    folder : str or Path
        See ``lafufu_sb.inference.asr.load_recogniser``.
    device : str
        Such as "cpu" or "cuda:1".

    Returns
    -------
    callable
        (time,), float32 at 16 kHz, to text.
    """
    model = load_recogniser(folder, device, beam_size=1)  # fast: it hears all files
    rate = rate_of(model)

    def transcribe(wav):
        with _repeatable():
            wavs = resample(wav, RECOGNISER_RATE, rate)[None]
            words, _ = model.transcribe_batch(wavs, torch.ones(1))
        return as_text(words[0])

    return transcribe


def load_speaker_model(folder, device="cpu"):
    """Load a deterministic speaker embedding.

    Arguments
    ---------
    folder : str or Path
        Model folder of SpeechBrain's EncoderClassifier.
    device : str
        Such as "cpu" or "cuda:1".

    Returns
    -------
    callable
        (time,), float32 at 16 kHz, to (size,).
    """
    from speechbrain.inference.classifiers import EncoderClassifier

    folder = existing_folder(folder)
    if not (folder / "hyperparams.yaml").is_file():
        raise UsageError(
            f"{folder} is no speaker model: it has no hyperparams.yaml (SpeechBrain's "
            "EncoderClassifier)"
        )
    model = EncoderClassifier.from_hparams(
        source=str(folder), run_opts={"device": device}
    )
    rate = rate_of(model)

    def embed(wav):
        with _repeatable():
            wavs = resample(wav, RECOGNISER_RATE, rate)[None]
            return model.encode_batch(wavs).reshape(-1)

    return embed


def folder_hash(folder):
    """Hash of all files below a folder except hidden ones; None if folder is None."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    folder = existing_folder(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            digest.update(json.dumps([str(name), path.stat().st_size]).encode())
            with open(path, "rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _repeatable():
    """Seed random numbers, such as the noise that SpeechBrain's pooling adds."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        yield
