"""Restoration in front of a recogniser: 48 kHz in, restored, words out.

Enhancement can hurt recognition, however good it sounds: a recogniser trained on noisy
speech knows noise, but not the traces of an enhancer. So the chain has a share of the
unprocessed input, ``dry``, and ``recipes/EARS/ASR`` measures which one is best.
"""

import re

import torch

from .audio import read_recording, resample

RECOGNISER_RATE = 16000  # Hz, of nearly all recognisers


class RestoredASR:
    """A SpeechBrain recogniser that hears restored speech.

    Arguments
    ---------
    enhancer : EnhanceLatent
        Or another object with ``enhance_batch(noisy, lengths)``, ``sample_rate`` and
        ``device``.
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
    ValueError
        If ``dry`` is not between 0 and 1.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> enhancer = SimpleNamespace(
    ...     sample_rate=48000, enhance_batch=lambda wavs, lengths: 0.5 * wavs
    ... )
    >>> recogniser = SimpleNamespace(
    ...     transcribe_batch=lambda wavs, lengths: (["yes"] * len(wavs), wavs.shape)
    ... )
    >>> chain = RestoredASR(enhancer, recogniser)
    >>> chain.transcribe_batch(torch.ones(2, 4800), torch.ones(2))
    (['yes', 'yes'], torch.Size([2, 1600]))
    """

    def __init__(self, enhancer, recogniser, *, dry=0.0, recogniser_rate=None):
        if not 0.0 <= dry <= 1.0:
            raise ValueError(f"dry must lie between 0 and 1, got {dry}")
        self.enhancer = enhancer
        self.recogniser = recogniser
        self.dry = dry
        self.recogniser_rate = recogniser_rate or _rate_of(recogniser)

    def restore_batch(self, wavs, lengths):
        """What the recogniser is to hear, at the enhancer's rate.

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
        """
        if self.dry == 1.0:
            return wavs
        restored = self.enhancer.enhance_batch(wavs, lengths)
        return torch.lerp(restored, wavs.to(restored), self.dry)

    def recognise_batch(self, wavs, lengths):
        """Words of speech as it is, at the enhancer's rate; see ``transcribe_batch``.

        Relative lengths hold at any rate, so they go on as they came.
        """
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
            (words, tokens), as the recogniser gives them.
        """
        return self.recognise_batch(self.restore_batch(wavs, lengths), lengths)

    def transcribe_file(self, path):
        """Words of a recording of any rate; channels are averaged.

        Arguments
        ---------
        path : str or Path
            The recording.

        Returns
        -------
        str
        """
        wav = read_speech(path, self.enhancer.sample_rate)
        words, _ = self.transcribe_batch(wav[None], torch.ones(1))
        return as_text(words[0])


class FasterWhisper:
    """Whisper on CTranslate2 (package faster-whisper), called as SpeechBrain's are.

    Arguments
    ---------
    source : str
        A size such as "base", which is downloaded, or a folder of a converted model.
    language : str, optional
        Code such as "en"; by default Whisper guesses for each recording.
    device : str
        "cpu" or "cuda".
    compute_type : str
        Of CTranslate2, such as "int8" or "float16".

    Raises
    ------
    ImportError
        Without faster-whisper.
    """

    sample_rate = RECOGNISER_RATE

    def __init__(self, source, language=None, device="cpu", compute_type="int8"):
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise ImportError(
                'needs faster-whisper: pip install "lafufu_sb[asr]"'
            ) from error
        self.language = language
        self.model = WhisperModel(str(source), device=device, compute_type=compute_type)

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
            Of Whisper.
        """
        words, tokens = [], []
        samples = (lengths * wavs.shape[1]).round().long().tolist()
        for wav, length in zip(wavs.float().cpu().numpy(), samples, strict=True):
            segments, _ = self.model.transcribe(
                wav[:length],
                language=self.language,
                condition_on_previous_text=False,  # each file by itself
            )
            segments = list(segments)
            words.append("".join(segment.text for segment in segments).strip())
            tokens.append([token for segment in segments for token in segment.tokens])
        return words, tokens


def read_speech(path, sample_rate):
    """Read a recording as one channel, the mean of all, at a rate.

    Arguments
    ---------
    path : str or Path
        See ``lafufu_sb.audio.read_recording``.
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
    """A transcript as one string, whether it came as a string or as words."""
    return words if isinstance(words, str) else " ".join(words)


def normalise_text(text):
    """Words for scoring: lower case, letters, digits and apostrophes only.

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
    return re.findall(r"\w+(?:['’]\w+)*", text.lower().replace("’", "'"))


def _rate_of(recogniser):
    hparams = getattr(recogniser, "hparams", None)
    own = getattr(recogniser, "sample_rate", None)
    return own or getattr(hparams, "sample_rate", None) or RECOGNISER_RATE
