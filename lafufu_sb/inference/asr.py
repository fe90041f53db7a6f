"""Restoration in front of a recogniser.

Enhancement can hurt recognition even if it sounds good: a recogniser trained on noisy
speech knows noise, but not the artefacts of an enhancer. ``dry`` therefore mixes some
of the input in, and ``recipes/EARS/ASR`` measures which share is best.
"""

import re
from pathlib import Path

import torch

from lafufu_sb.audio.files import read_recording
from lafufu_sb.audio.resampling import resample
from lafufu_sb.audio.waveforms import as_waveforms, check_batch
from lafufu_sb.errors import MissingPackageError, UsageError

RECOGNISER_RATE = 16000  # Hz, of nearly all recognisers


class RestoredASR:
    """A SpeechBrain recogniser that hears restored speech.

    Arguments
    ---------
    enhancer : EnhanceLatent
        Or another object with ``enhance_batch(noisy, lengths, dry=...)`` and
        ``sample_rate``.
    recogniser : EncoderASR, EncoderDecoderASR, WhisperASR or FasterWhisper
        Anything with ``transcribe_batch(wavs, lengths)``.
    dry : float
        Share of the unprocessed input, 0 to 1, in what the recogniser hears: 1 leaves
        the enhancer out.
    recogniser_rate : int, optional
        Hz that the recogniser wants; by default its own ``sample_rate``, or that of
        its ``hparams``, else 16 kHz.

    Raises
    ------
    UsageError
        If ``dry`` is not between 0 and 1.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> enhancer = SimpleNamespace(
    ...     sample_rate=48000, enhance_batch=lambda wavs, lengths, dry: 0.5 * wavs
    ... )
    >>> recogniser = SimpleNamespace(
    ...     transcribe_batch=lambda wavs, lengths: (["yes"] * len(wavs), wavs.shape)
    ... )
    >>> chain = RestoredASR(enhancer, recogniser)
    >>> chain.transcribe_batch(torch.ones(2, 4800), torch.ones(2))
    (['yes', 'yes'], torch.Size([2, 1600]))
    """

    def __init__(self, enhancer, recogniser, *, dry=0.0, recogniser_rate=None):
        if not 0 <= dry <= 1:
            raise UsageError(f"dry must lie between 0 and 1, got {dry}")
        self.enhancer = enhancer
        self.recogniser = recogniser
        self.dry = dry
        self.recogniser_rate = recogniser_rate or rate_of(recogniser)

    def restore_batch(self, wavs, lengths):
        """Input of the recogniser, at the enhancer's rate.

        Arguments
        ---------
        wavs : torch.Tensor
            (batch, time) at ``enhancer.sample_rate``.
        lengths : torch.Tensor
            (batch,) relative lengths.

        Returns
        -------
        torch.Tensor
            (batch, time)

        Raises
        ------
        UsageError
            For another shape or type, see ``enhance_batch``.
        """
        wavs = as_waveforms(wavs)
        check_batch(wavs)
        if self.dry == 1.0:
            return wavs.float()
        return self.enhancer.enhance_batch(wavs, lengths, dry=self.dry)

    def recognise_batch(self, wavs, lengths):
        """Recognise without restoring; arguments as ``transcribe_batch``."""
        wavs = resample(wavs, self.enhancer.sample_rate, self.recogniser_rate)
        return self.recogniser.transcribe_batch(wavs, lengths)

    def transcribe_batch(self, wavs, lengths):
        """Restore and recognise.

        Arguments
        ---------
        wavs : torch.Tensor
            (batch, time) at ``enhancer.sample_rate``.
        lengths : torch.Tensor
            (batch,) relative lengths.

        Returns
        -------
        tuple
            (words, tokens) of the recogniser.
        """
        return self.recognise_batch(self.restore_batch(wavs, lengths), lengths)

    def transcribe_file(self, path):
        """Transcribe a recording of any rate; channels are averaged.

        Arguments
        ---------
        path : str or Path
            The recording.

        Returns
        -------
        str
        """
        words, _ = self.transcribe_batch(self.load_audio(path)[None], torch.ones(1))
        return as_text(words[0])

    def load_audio(self, path):
        """Read a recording for ``transcribe_batch``, (time,) at the enhancer's rate.

        The recogniser's own ``load_audio`` gives another rate.
        """
        return read_speech(path, self.enhancer.sample_rate)


class FasterWhisper:
    """Whisper on CTranslate2 (package faster-whisper) with SpeechBrain's interface.

    Arguments
    ---------
    source : str or Path
        A size such as "base", which is downloaded, or a folder of a converted model.
    language : str, optional
        Code such as "en"; by default Whisper guesses for each recording.
    run_opts : dict, optional
        As SpeechBrain's: "device" is "cpu" (by default), "cuda" or "cuda:1".
    beam_size : int
        Number of hypotheses.
    temperature : float or sequence of float
        0 is deterministic. Of several, the next one is tried where Whisper repeats
        itself or is unsure. Above 0 tokens are drawn at random.
    no_repeat_ngram_size : int
        No sequence of so many tokens occurs twice in a window of 30 s, which prevents
        endless repetition. 0 disables it.
    seed : int, optional
        Seed of the draws. CTranslate2 seeds a recogniser once: the same recordings in
        the same order give the same texts.

    Raises
    ------
    MissingPackageError
        Without faster-whisper.
    """

    sample_rate = RECOGNISER_RATE

    def __init__(
        self,
        source,
        language=None,
        run_opts=None,
        beam_size=5,
        temperature=0.0,
        no_repeat_ngram_size=0,
        seed=None,
    ):
        try:
            import ctranslate2
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MissingPackageError(
                f'{source} needs faster-whisper: pip install "lafufu_sb[asr]"'
            ) from error
        if seed is not None:
            ctranslate2.set_random_seed(seed)
        kind, _, index = str((run_opts or {}).get("device") or "cpu").partition(":")
        self.model = WhisperModel(
            str(source),
            device=kind,
            device_index=int(index or 0),
            compute_type="float16" if kind == "cuda" else "int8",
            local_files_only=Path(source).is_dir(),
        )
        self.language, self.beam_size = language, beam_size
        self.temperature = temperature
        self.no_repeat_ngram_size = no_repeat_ngram_size

    def transcribe_batch(self, wavs, lengths):
        """Recognise a batch, one item after the other.

        Arguments
        ---------
        wavs : torch.Tensor
            (batch, time) at 16 kHz.
        lengths : torch.Tensor
            (batch,) relative lengths.

        Returns
        -------
        words : list of str
            Transcripts with case and punctuation.
        tokens : list of list of int
            Whisper's tokens.
        """
        words, tokens = [], []
        samples = (lengths * wavs.shape[1]).round().long().tolist()
        for wav, length in zip(wavs.float().cpu().numpy(), samples, strict=True):
            segments, _ = self.model.transcribe(
                wav[:length],
                language=self.language,
                beam_size=self.beam_size,
                temperature=self.temperature,
                no_repeat_ngram_size=self.no_repeat_ngram_size,
                condition_on_previous_text=False,
            )
            segments = list(segments)
            words.append("".join(segment.text for segment in segments).strip())
            tokens.append([token for segment in segments for token in segment.tokens])
        return words, tokens


def load_recogniser(folder, device="cpu", beam_size=5):
    """Load a recogniser from its model folder.

    Arguments
    ---------
    folder : str or Path
        Model of SpeechBrain (EncoderASR or EncoderDecoderASR: hyperparams.yaml), or of
        faster-whisper (model.bin).
    device : str
        Device of the computation.
    beam_size : int
        For faster-whisper; SpeechBrain's YAML has its own.

    Returns
    -------
    EncoderASR, EncoderDecoderASR or FasterWhisper

    Raises
    ------
    FileNotFoundError, UsageError
        If the folder does not exist or holds no recogniser.
    """
    folder, options = existing_folder(folder), {"device": device}
    if (folder / "model.bin").is_file():
        return FasterWhisper(folder, run_opts=options, beam_size=beam_size)
    settings = folder / "hyperparams.yaml"
    if not settings.is_file():
        raise UsageError(
            f"{folder} is no recogniser: it has neither hyperparams.yaml (SpeechBrain) "
            "nor model.bin (faster-whisper)"
        )
    from speechbrain.inference import ASR

    # EncoderASR needs this key in its YAML, EncoderDecoderASR does not.
    attention = "decoding_function:" not in settings.read_text()
    kind = ASR.EncoderDecoderASR if attention else ASR.EncoderASR
    return kind.from_hparams(source=str(folder), run_opts=options)


def existing_folder(folder):
    """The folder as a Path; FileNotFoundError if it does not exist."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"model folder {folder} does not exist")
    return Path(folder)


def read_speech(path, sample_rate):
    """Read a recording, average its channels, resample.

    Arguments
    ---------
    path : str or Path
        See ``lafufu_sb.audio.files.read_recording``.
    sample_rate : int
        Hz of the result.

    Returns
    -------
    torch.Tensor
        (time,)
    """
    wavs, rate = read_recording(path)
    return resample(wavs.mean(dim=0), rate, sample_rate)


def as_text(words):
    """Join the words of a transcript, unless it is a string already."""
    return words if isinstance(words, str) else " ".join(words)


def normalise_text(text):
    """Words to compare: case folded; letters, digits and apostrophes only.

    Arguments
    ---------
    text : str
        A transcript.

    Returns
    -------
    list of str

    Example
    -------
    >>> normalise_text("Kids aren't talking, by the door!")
    ['kids', "aren't", 'talking', 'by', 'the', 'door']
    """
    return re.findall(r"\w+(?:['’]\w+)*", text.casefold().replace("’", "'"))


def rate_of(recogniser):
    """Sample rate in Hz of a recogniser or SpeechBrain model; 16 kHz by default."""
    own = getattr(recogniser, "sample_rate", None)
    hparams = getattr(recogniser, "hparams", None)
    return int(own or getattr(hparams, "sample_rate", None) or RECOGNISER_RATE)
