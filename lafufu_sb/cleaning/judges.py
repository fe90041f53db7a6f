"""Loading the judges of a gate: recognisers and speaker models from their folders."""

import contextlib
import hashlib
import json

import torch

from lafufu_sb.audio.resampling import resample
from lafufu_sb.cleaning.gate import DNSMOSJudge, Gate, RecogniserJudge, SpeakerJudge
from lafufu_sb.errors import UsageError
from lafufu_sb.inference.asr import (
    RECOGNISER_RATE,
    as_text,
    existing_folder,
    load_recogniser,
    rate_of,
)


def load_gate(options, device="cpu"):
    """Load the gate of a cleaning.

    Arguments
    ---------
    options : GateOptions
        Judges and limits.
    device : str
        Of recogniser and speaker model.

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
    if options.gate == "dnsmos":
        judges.append(DNSMOSJudge(options.max_dnsmos_drop, pieces))
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
