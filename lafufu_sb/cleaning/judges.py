"""The gate that options ask for: recognisers and speaker models from their folders."""

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


def load_gate(options):
    """Make the gate of a ``lafufu clean``.

    Arguments
    ---------
    options : dict
        ``gate`` ("dnsmos" or "none"), ``max_dnsmos_drop``, ``recogniser`` and
        ``speaker_model`` (folders or None), ``max_cer``, ``min_cosine``,
        ``judge_pieces``, ``device``.

    Returns
    -------
    Gate

    Raises
    ------
    ImportError
        If a judge lacks its package.
    FileNotFoundError, UsageError
        If a folder is none of a model.
    """
    pieces, device = options["judge_pieces"], options["device"]
    judges = []
    if options["gate"] == "dnsmos":
        judges.append(DNSMOSJudge(options["max_dnsmos_drop"], pieces))
    if options["recogniser"]:
        transcribe = load_transcriber(options["recogniser"], device)
        judges.append(RecogniserJudge(transcribe, options["max_cer"], pieces))
    if options["speaker_model"]:
        embed = load_speaker_model(options["speaker_model"], device)
        judges.append(SpeakerJudge(embed, options["min_cosine"], pieces))
    return Gate(judges)


def load_transcriber(folder, device="cpu"):
    """A function from speech to text, always the same for the same speech.

    Arguments
    ---------
    folder : str or Path
        See ``lafufu_sb.inference.asr.load_recogniser``.
    device : str
        That computes.

    Returns
    -------
    callable
        From (time,), float32 at 16 kHz, to text.
    """
    model = load_recogniser(folder, device, beam_size=1)  # quick: it hears everything
    rate = rate_of(model)

    def transcribe(wav):
        with _repeatable():
            words, _ = model.transcribe_batch(_at_rate(wav, rate)[None], torch.ones(1))
        return as_text(words[0])

    return transcribe


def load_speaker_model(folder, device="cpu"):
    """A speaker embedding from the folder of SpeechBrain's EncoderClassifier.

    Arguments
    ---------
    folder : str or Path
        With hyperparams.yaml.
    device : str
        That computes.

    Returns
    -------
    callable
        From (time,), float32 at 16 kHz, to (size,).
    """
    from speechbrain.inference.classifiers import EncoderClassifier

    folder = existing_folder(folder)
    if not (folder / "hyperparams.yaml").is_file():
        raise UsageError(f"{folder} is no speaker model: it has no hyperparams.yaml")
    model = EncoderClassifier.from_hparams(
        source=str(folder), run_opts={"device": device}
    )
    rate = rate_of(model)

    def embed(wav):
        with _repeatable():
            return model.encode_batch(_at_rate(wav, rate)[None]).reshape(-1)

    return embed


def folder_hash(folder):
    """Hash of all files below a folder, hidden ones left out; None for no folder."""
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
    """The same random numbers at every call, such as SpeechBrain's pooling adds."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        yield


def _at_rate(wav, rate):
    return resample(wav, RECOGNISER_RATE, rate) if rate != RECOGNISER_RATE else wav
