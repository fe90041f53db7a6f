"""Speech in recordings: where it is, and the recording without its pauses.

Silero VAD finds it. Its network comes with the package silero-vad and runs on ONNX
Runtime. The package itself is not imported: that would set PyTorch to one thread.
"""

import functools
import importlib.util
import weakref
from pathlib import Path

import numpy as np
import torch

from lafufu_sb.audio.resampling import resample_blocks
from lafufu_sb.errors import MissingPackageError

_RATE = 16000  # Hz
_FRAME, _CONTEXT = 512, 64  # samples; each frame is heard with the end of the last one
_THRESHOLD = 0.5  # probability, the default of the package
_LEAD = 64  # frames heard twice: at first the network misses speech for up to 0.5 s
_MARGIN = 3  # frames on either side that count as speech: quiet beginnings and ends
_READ_SECONDS = 30.0
_FOUND = weakref.WeakKeyDictionary()  # sound to its speech: several judges ask for it
# The network misses speech far below this RMS level, so quieter channels are raised.
_LEVEL, _LEVEL_SECONDS, _LEVEL_PERCENTILE = 0.05, 0.1, 95


def vad_hint():
    """What to install so that speech can be found; empty if nothing is missing."""
    if importlib.util.find_spec("onnxruntime") and _path():
        return ""
    return 'speech detection needs silero-vad: pip install "lafufu_sb[vad]"'


def find_speech(sound):
    """Find the speech of each channel.

    Speech is every frame of 32 ms whose probability is at least 0.5, and 0.1 s on
    either side. Quiet recordings are amplified first.

    Arguments
    ---------
    sound : MemorySound or FileSound
        Is read in pieces, so that memory does not depend on its length.

    Returns
    -------
    list of list of tuple of float
        For each channel (start, end) of its stretches, in seconds and in order.

    Raises
    ------
    MissingPackageError
        If silero-vad is not installed.

    Example
    -------
    >>> from lafufu_sb.cleaning.sound import MemorySound
    >>> find_speech(MemorySound(torch.zeros(2, 16000), 16000))
    [[], []]
    """
    if sound not in _FOUND:
        _FOUND[sound] = _find_speech(sound)
    return _FOUND[sound]


def _find_speech(sound):
    if hint := vad_hint():
        raise MissingPackageError(hint)
    gains = _gains(sound)
    detectors = [_Detector() for _ in range(sound.channels)]
    for block in resample_blocks(pieces_of(sound), sound.rate, _RATE):
        for detector, wav in zip(detectors, gains * block, strict=True):
            detector.hear(wav.numpy())
    return [detector.stretches(sound.seconds) for detector in detectors]


def pieces_of(sound):
    """Iterate over a sound in pieces of 30 s, (channels, time)."""
    start = 0.0
    while start < sound.seconds:
        yield sound.read(start, _READ_SECONDS)
        start += _READ_SECONDS


def _gains(sound):
    """Gain of each channel, (channels, 1), at least 1."""
    size, levels = max(1, round(_LEVEL_SECONDS * sound.rate)), []
    for block in pieces_of(sound):
        parts = block.split(size, dim=1)
        levels += [part.square().mean(dim=1).sqrt() for part in parts]
    level = np.percentile(torch.stack(levels).numpy(), _LEVEL_PERCENTILE, axis=0)
    gain = np.maximum(1.0, _LEVEL / np.maximum(level, 1e-7))
    return torch.from_numpy(gain).float()[:, None]


class _Detector:
    """Probabilities of speech in one channel at 16 kHz, which arrives in blocks."""

    def __init__(self):
        self._rest = np.zeros(0, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._state = [np.zeros((1, 1, 128), np.float32) for _ in range(2)]
        self._found = []

    def hear(self, wav):
        wav = np.concatenate([self._rest, wav])
        count = len(wav) // _FRAME
        if not self._found and count < _LEAD:
            count = 0  # wait for more
        self._rest = wav[count * _FRAME :]
        if count:
            self._hear_frames(wav[: count * _FRAME].reshape(count, _FRAME))

    def _hear_frames(self, frames):
        if not self._found:
            self._run(frames[:_LEAD])
        self._found.append(self._run(frames))

    def _run(self, frames):
        ends = np.concatenate([self._context[None], frames[:, -_CONTEXT:]])
        self._context = ends[-1]
        heard = np.concatenate([ends[:-1], frames], axis=1)
        inputs = dict(zip("hc", self._state, strict=True)) | {"input": heard}
        names = ["speech_probs", "hn", "cn"]
        found, *self._state = _network().run(names, inputs)
        return found.reshape(-1)

    def stretches(self, seconds):
        if len(self._rest):
            padded = np.pad(self._rest, (0, -len(self._rest) % _FRAME))
            self._hear_frames(padded.reshape(-1, _FRAME))
        if not self._found:
            return []
        speech = np.concatenate(self._found) >= _THRESHOLD
        speech = np.convolve(speech, np.ones(2 * _MARGIN + 1))[_MARGIN:-_MARGIN] > 0.5
        edges = np.flatnonzero(np.diff(speech, prepend=False, append=False))
        times = np.minimum(edges * _FRAME / _RATE, seconds).tolist()
        return list(zip(times[::2], times[1::2], strict=True))


@functools.lru_cache(maxsize=1)
def _network():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(_path()), options)


def _path():
    """The network's file, or None."""
    package = importlib.util.find_spec("silero_vad")
    for folder in package.submodule_search_locations if package else ():
        path = Path(folder) / "data" / "silero_vad_16k_sequence.onnx"
        if path.is_file():
            return path
    return None


class SpeechSound:
    """One channel of a sound without its pauses; see ``MemorySound``.

    Arguments
    ---------
    sound : MemorySound or FileSound
        The recording.
    channel : int
        Number of the channel.
    stretches : sequence of tuple of float
        (start, end) in seconds, in order.

    Example
    -------
    >>> from lafufu_sb.cleaning.sound import MemorySound
    >>> sound = MemorySound(torch.arange(10.0)[None], 1)
    >>> speech = SpeechSound(sound, 0, [(1.0, 4.0), (6.0, 9.0)])
    >>> speech.seconds, speech.read(2.0, 2.0)
    (6.0, tensor([[3., 6.]]))
    """

    def __init__(self, sound, channel, stretches):
        self._sound, self._channel, self._stretches = sound, channel, stretches
        self.rate, self.channels = sound.rate, 1
        self.seconds = sum(end - start for start, end in stretches)

    def read(self, start, seconds):
        """See ``MemorySound.read``; time counts speech alone."""
        parts, passed = [torch.zeros(1, 0)], 0.0
        for begin, end in self._stretches:
            first = max(start - passed, 0.0)
            last = min(start + seconds - passed, end - begin)
            if last > first:
                wavs = self._sound.read(begin + first, last - first)
                parts.append(wavs[self._channel : self._channel + 1])
            passed += end - begin
        return torch.cat(parts, dim=1)


def heard_speech(sound, stretches=None):
    """The speech of each channel as a sound of its own.

    Arguments
    ---------
    sound : MemorySound or FileSound
        The recording.
    stretches : list of list of tuple of float, optional
        See ``find_speech``; by default all of the recording counts as speech.

    Returns
    -------
    list of (SpeechSound or None)
        One per channel; None where there is no speech.
    """
    if stretches is None:
        stretches = [[(0.0, sound.seconds)]] * sound.channels
    return [
        SpeechSound(sound, channel, found) if found else None
        for channel, found in enumerate(stretches)
    ]
