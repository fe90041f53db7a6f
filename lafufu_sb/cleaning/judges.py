"""The gate that options ask for: recognisers and speaker models from their folders."""

import contextlib
import hashlib
import json
from pathlib import Path

import torch

from ..errors import WrongUse
from ..resampling import resample
from .gate import DNSMOSJudge, Gate, RecogniserJudge, SpeakerJudge


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
    FileNotFoundError, WrongUse
        If a folder is none of a model.
    """
    pieces, device = options["judge_pieces"], options["device"]
    judges = []
    if options["gate"] == "dnsmos":
        judges.append(DNSMOSJudge(options["max_dnsmos_drop"], pieces))
    if options["recogniser"]:
        recogniser = load_recogniser(options["recogniser"], device)
        judges.append(RecogniserJudge(recogniser, options["max_cer"], pieces))
    if options["speaker_model"]:
        embed = load_speaker_model(options["speaker_model"], device)
        judges.append(SpeakerJudge(embed, options["min_cosine"], pieces))
    return Gate(judges)


def load_recogniser(folder, device="cpu"):
    """A recogniser from the folder of its model.

    Arguments
    ---------
    folder : str or Path
        Of SpeechBrain (EncoderASR or EncoderDecoderASR: hyperparams.yaml), or of
        faster-whisper (model.bin).
    device : str
        That computes.

    Returns
    -------
    callable
        From (time,), float32 at 16 kHz, to text.
    """
    folder = _existing(folder)
    if (folder / "model.bin").is_file():
        return _whisper(folder, device)
    settings = folder / "hyperparams.yaml"
    if not settings.is_file():
        raise WrongUse(
            f"{folder} is no recogniser: it has neither hyperparams.yaml (SpeechBrain) "
            "nor model.bin (faster-whisper)"
        )
    from speechbrain.inference import ASR

    # The same rule that SpeechBrain's classes have: one needs it, the other does not.
    attention = "decoding_function:" not in settings.read_text()
    kind = ASR.EncoderDecoderASR if attention else ASR.EncoderASR
    model = kind.from_hparams(source=str(folder), run_opts={"device": device})
    rate = _rate(folder, model)

    def recognise(wav):
        with _repeatable():
            wavs = _at_rate(wav, rate)[None]
            texts, _ = model.transcribe_batch(wavs, torch.ones(1))
        return texts[0] if isinstance(texts[0], str) else " ".join(texts[0])

    return recognise


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

    folder = _existing(folder)
    if not (folder / "hyperparams.yaml").is_file():
        raise WrongUse(f"{folder} is no speaker model: it has no hyperparams.yaml")
    model = EncoderClassifier.from_hparams(
        source=str(folder), run_opts={"device": device}
    )
    rate = _rate(folder, model)

    def embed(wav):
        with _repeatable():
            return model.encode_batch(_at_rate(wav, rate)[None]).reshape(-1)

    return embed


def folder_hash(folder):
    """Hash of all files below a folder, hidden ones left out; None for no folder."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    folder = _existing(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            digest.update(json.dumps([str(name), path.stat().st_size]).encode())
            with open(path, "rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def _whisper(folder, device):
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise ImportError(
            f"{folder} needs faster-whisper: pip install faster-whisper"
        ) from error
    kind, _, index = str(device).partition(":")
    computed = "float16" if kind == "cuda" else "int8"
    model = WhisperModel(
        str(folder),
        device=kind,
        device_index=int(index or 0),
        compute_type=computed,
        local_files_only=True,
    )

    def recognise(wav):
        # Temperature 0: the same recording must have the same text in every run.
        segments, _ = model.transcribe(
            wav.numpy(), beam_size=1, temperature=0.0, condition_on_previous_text=False
        )
        return " ".join(segment.text for segment in segments)

    return recognise


@contextlib.contextmanager
def _repeatable():
    """The same random numbers at every call, such as SpeechBrain's pooling adds."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        yield


def _existing(folder):
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"model folder {folder} does not exist")
    return Path(folder)


def _rate(folder, model):
    rate = getattr(model.hparams, "sample_rate", None)
    return int(rate) if rate else 16000


def _at_rate(wav, rate):
    return resample(wav, 16000, rate) if rate != 16000 else wav
