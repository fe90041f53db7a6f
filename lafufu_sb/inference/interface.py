"""``EnhanceLatent``: restore speech with a model folder or a model of the Hub."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from lafufu_sb.audio.blocks import side_by_side
from lafufu_sb.audio.files import at_file_rate, write_blocks
from lafufu_sb.audio.recordings import Recording
from lafufu_sb.audio.resampling import resample
from lafufu_sb.audio.waveforms import as_rate, as_waveforms
from lafufu_sb.errors import NotFiniteError, UsageError
from lafufu_sb.files import refuse_same_file
from lafufu_sb.inference.asr import read_speech
from lafufu_sb.inference.backends import usable_run_opts, use_onnx
from lafufu_sb.inference.opening import OPEN_OPTIONS, open_model
from lafufu_sb.inference.pre_enhancers import behind
from lafufu_sb.inference.pretrained import AudioNormalizer, Pretrained
from lafufu_sb.inference.progress import with_progress
from lafufu_sb.inference.sources import FETCH_OPTIONS, check_source, explained
from lafufu_sb.inference.weights import check_fingerprint
from lafufu_sb.restoration.devices import to_device
from lafufu_sb.restoration.restorer import Restorer
from lafufu_sb.restoration.settings import FIELDS, RestoreSettings
from lafufu_sb.restoration.streaming import TensorSignal, batch_signals, gather


class EnhanceLatent(Pretrained):
    """Restores 48-kHz speech: SpeechBrain's Pretrained interface around ``Restorer``.

    ``EnhanceLatent.from_hparams(source=...)`` takes a model folder (``lafufu export``
    writes one, ``shipped_model("denoise")`` finds one) or an id of the Hub.

    Attributes
    ----------
    sample_rate : int
        Hz of everything that ``enhance_batch`` takes and gives.
    restorer : Restorer
        The networks and their settings.
    progress : bool
        Whether restorations show a progress bar by default.

    Example
    -------
    >>> from lafufu_sb import EnhanceLatent, shipped_model
    >>> model = EnhanceLatent.from_hparams(source=shipped_model("denoise"))
    >>> model.enhance_batch(torch.randn(1, 4800)).shape
    torch.Size([1, 4800])
    """

    HPARAMS_NEEDED = ["sample_rate", "modules"]
    MODULES_NEEDED = ["restorer"]
    progress = False

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        hparams_file: str = "hyperparams.yaml",
        *,
        run_opts: dict | None = None,
        preset: str | None = None,
        backend: str = "torch",
        backend_options: dict | None = None,
        fallback: bool | None = None,
        pre_enhancer: str | Path | None = None,
        progress: bool = False,
        trust: bool = False,
        **kwargs: Any,
    ) -> EnhanceLatent | None:
        """Load a model.

        Arguments
        ---------
        source, hparams_file, preset : str or Path, str, str
            Folder or id of the Hub, name of the YAML in it, and of a preset.
        run_opts : dict, optional
            ``{"device": "cuda"}``.
        backend, backend_options : str, dict
            "torch", or "onnx" for the graphs of ``lafufu export --format onnx``, on the
            CPU; options see ``use_graphs``.
        fallback : bool, optional
            Whether CPU, fp32 or none replace a missing device, precision or compiler.
        pre_enhancer, progress : str or Path, bool
            See ``behind``; whether to show a progress bar.
        trust : bool
            Whether the YAML may build any Python object (docs/security.md).
        **kwargs
            Fields of ``RestoreSettings`` that differ from the preset; ``savedir``,
            ``overrides``, ``fetch_config`` and others of SpeechBrain.

        Raises
        ------
        FileNotFoundError, UsageError
            Says what is missing, does not fit or needs ``trust``.
        """
        settings = {n: kwargs.pop(n) for n in FIELDS if n in kwargs}
        run_opts = usable_run_opts(backend, backend_options, run_opts, fallback)
        source = check_source(source, hparams_file, kwargs.get("savedir"))
        fetched_with = {n: kwargs[n] for n in FETCH_OPTIONS if n in kwargs}
        opening = {n: kwargs.pop(n) for n in OPEN_OPTIONS if n in kwargs}
        hparams = open_model(source, hparams_file, trust=trust, **opening)
        if hparams is None:
            return None
        with explained(source, hparams_file):
            model = cls(hparams["modules"], hparams, run_opts=run_opts, **kwargs)
        if fallback is not None:
            model.restorer.fallback = fallback
        if backend == "onnx":
            settings = {"precision": "fp32", **settings}
            use_onnx(model.restorer, source, fetched_with, backend_options or {}, trust)
        restorer = behind(model.restorer, pre_enhancer, cls.from_hparams, trust)
        model.restorer = restorer.with_settings(preset=preset, **settings)
        model.progress = progress
        return model

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        missing = [name for name in self.MODULES_NEEDED if name not in self.mods]
        if missing:
            raise UsageError(
                f"hyperparams.yaml has no {', '.join(missing)} under modules: it is no "
                "model folder of lafufu_sb"
            )
        self.restorer: Restorer = self.mods.restorer
        self.sample_rate: int = self.restorer.sample_rate
        if self.hparams.sample_rate != self.sample_rate:
            raise UsageError(
                f"hyperparams.yaml says sample_rate {self.hparams.sample_rate}, its "
                f"restorer {self.sample_rate}: they must agree"
            )
        self.audio_normalizer = AudioNormalizer(self.sample_rate)
        mark = getattr(self.hparams, "representation_fingerprint", None)
        check_fingerprint(self.restorer.representation, mark)

    @property
    def settings(self) -> RestoreSettings:
        """What restorations use unless a call says otherwise."""
        return self.restorer.settings

    def with_settings(
        self, *, preset: str | None = None, **changes: Any
    ) -> EnhanceLatent:
        """A model that shares the networks and has other settings.

        Arguments
        ---------
        preset : str, optional
            Name of a preset to start from, such as "fast".
        **changes
            Fields of ``RestoreSettings``.

        Raises
        ------
        UsageError
            For a preset, field or value that does not exist or fit.
        """
        model = copy.copy(self)
        model._modules = dict(self._modules)
        model.restorer = self.restorer.with_settings(preset=preset, **changes)
        return model

    def enhance_batch(
        self,
        noisy: Any,
        lengths: Any = None,
        *,
        sample_rate: int | None = None,
        progress: bool | None = None,
        **settings: Any,
    ) -> torch.Tensor:
        """Restore a batch.

        An item's result does not depend on the other items, their order or padding.

        Arguments
        ---------
        noisy : torch.Tensor or array
            (batch, time), or (time,) for one signal. Channels of a recording are items
            too. Floating-point or signed integers, at any level, which is kept.
        lengths : torch.Tensor or array, optional
            (batch,) relative lengths.
        sample_rate : int, optional
            Hz of ``noisy``, by default the model's. Another rate is resampled to the
            model's, at which the result comes.
        progress : bool, optional
            Whether to show a bar on the standard error stream.
        **settings
            ``preset`` and fields of ``RestoreSettings``, for this call alone.

        Returns
        -------
        torch.Tensor
            (batch, time) or (time,), like ``noisy``, on the model's device.

        Raises
        ------
        UsageError
            For shapes that ``check_batch`` refuses, such as (time, channels), values
            that are not finite, or settings that do not exist or fit.
        NotFiniteError
            If the networks give values that are not finite.
        """
        batch = as_waveforms(noisy)
        if lengths is not None:
            lengths = torch.as_tensor(lengths)
        wavs = to_device(batch[None] if batch.dim() == 1 else batch, self.device)
        signals, like = batch_signals(wavs, lengths), wavs
        rate = self.sample_rate if sample_rate is None else as_rate(sample_rate)
        if rate != self.sample_rate:
            signals = [
                TensorSignal(resample(s.wav, rate, self.sample_rate), s.key)
                for s in signals
            ]
            time = -(-wavs.shape[1] * self.sample_rate // rate)
            like = wavs.new_empty(len(wavs), time)
        total = sum(signal.samples for signal in signals)
        stream = self._stream(signals, total, like.device, progress, settings)
        restored = gather(stream, like)
        self._check_finite(restored)
        return restored[0] if batch.dim() == 1 else restored

    def _stream(self, signals, total, out, progress, settings, fill=False):
        """Blocks of ``Restorer.stream``, with a bar."""
        restorer = self.restorer.with_settings(**settings)
        restorer.timer = self.restorer.timer
        stream = restorer.stream(signals, out, fill)
        show = self.progress if progress is None else progress
        return with_progress(stream, total, self.sample_rate, show)

    def _check_finite(self, restored):
        if not torch.isfinite(restored).all():
            raise NotFiniteError(
                "the networks gave values that are not finite: try precision 'fp32', "
                "or look at the model's weights"
            )

    def forward(self, noisy, lengths=None, **options):
        """See ``enhance_batch``."""
        return self.enhance_batch(noisy, lengths, **options)

    def load_audio(self, path: str | Path, savedir: Any = None) -> torch.Tensor:
        """Read a recording for ``enhance_batch``, its channels averaged.

        Nothing is fetched or linked, so SpeechBrain's ``savedir`` is not used.

        Returns
        -------
        torch.Tensor
            (time,), float32, at the model's rate and on its device.
        """
        return read_speech(path, self.sample_rate).to(self.device)

    def enhance_file(
        self,
        filename: str | Path,
        output_filename: str | Path | None = None,
        *,
        keep_sample_rate: bool = False,
        subtype: str | None = None,
        progress: bool | None = None,
        **settings: Any,
    ) -> torch.Tensor | Path:
        """Restore a recording, each of its channels by itself.

        From file to file it is read, restored and written piece by piece: memory does
        not grow with its length.

        Arguments
        ---------
        filename : str or Path
            Any rate and number of channels.
        output_filename : str or Path, optional
            Where to write the result, in the format of its suffix. WAV becomes float if
            the result exceeds full scale; FLAC cannot, and is attenuated with a
            warning. Pictures of a film are copied into .mp4, .mov, .mkv and .webm.
            Missing folders are made. An existing file is replaced once the result is
            whole.
        keep_sample_rate : bool
            Give the result at the recording's rate instead of the model's.
        subtype : str, optional
            Sample format of the file ("PCM_16", "PCM_24", "PCM_32" or "FLOAT"), by
            default the recording's.
        progress, **settings
            See ``enhance_batch``.

        Returns
        -------
        torch.Tensor or Path
            Without ``output_filename`` the result: (time,) for one channel, (channels,
            time) for several, on the CPU. With it, the file that holds it.

        Raises
        ------
        UsageError, OSError
            See ``Recording`` and ``recording_writer``.
        NotFiniteError
            If the networks give values that are not finite.
        """
        if output_filename is not None:
            refuse_same_file(filename, output_filename)
        with Recording(filename, self.sample_rate) as recording:
            blocks = self.restored_blocks(recording, progress=progress, **settings)
            if output_filename is not None:
                output = Path(output_filename)
                write_blocks(recording, blocks, output, keep_sample_rate, subtype)
                return output
            if keep_sample_rate:
                blocks = at_file_rate(recording, blocks)
            restored = torch.cat(list(blocks), dim=1)
            return restored[0] if len(restored) == 1 else restored

    def restored_blocks(
        self,
        recording: Recording,
        *,
        begin: int = 0,
        fill: bool = False,
        progress: bool | None = None,
        **settings: Any,
    ):
        """Restore a recording piece by piece, a block for each window.

        Arguments
        ---------
        recording : Recording
            At the model's rate.
        begin : int
            Window to start with.
        fill : bool
            See ``Restorer.stream``: the same bits whatever ``begin`` is.

        Yields
        ------
        torch.Tensor
            (channels, samples) on the CPU.
        """
        signals = [recording.signals(begin=begin)]
        total = recording.samples * recording.channels
        stream = self._stream(signals, total, "cpu", progress, settings, fill)
        for block in side_by_side(stream, recording.channels):
            self._check_finite(block)
            yield block
