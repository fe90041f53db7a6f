"""``EnhanceLatent``: restore speech with a model folder or a model of the Hub."""

import logging
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.fetching import fetch

from lafufu_sb.audio.blocks import side_by_side
from lafufu_sb.audio.files import at_file_rate, write_blocks
from lafufu_sb.audio.recordings import Recording
from lafufu_sb.audio.resampling import resample
from lafufu_sb.audio.waveforms import as_rate, as_waveforms
from lafufu_sb.errors import NotFiniteError
from lafufu_sb.files import refuse_same_file
from lafufu_sb.inference.sources import check_source
from lafufu_sb.inference.weights import check_fingerprint
from lafufu_sb.restoration.devices import to_device, usable_device
from lafufu_sb.restoration.restorer import check_dry
from lafufu_sb.restoration.streaming import TensorSignal, batch_signals, counted, gather

logger = logging.getLogger(__name__)


class EnhanceLatent(Pretrained):
    """Restores 48-kHz speech: SpeechBrain's Pretrained interface around ``Restorer``.

    Made with ``EnhanceLatent.from_hparams(source=...)``, where ``source`` is a model
    folder (``lafufu export`` writes one; ``shipped_model("wham")`` finds those that
    come with the package) or an id of the Hugging Face Hub.

    Attributes
    ----------
    sample_rate : int
        Hz of everything that ``enhance_batch`` takes and gives.
    restorer : Restorer
        The way of the data.
    seed, dry, progress : int, float, bool
        What ``enhance_batch`` and ``enhance_file`` do unless they are told otherwise.

    Example
    -------
    >>> from lafufu_sb import EnhanceLatent, shipped_model
    >>> model = EnhanceLatent.from_hparams(source=shipped_model("wham"))
    >>> model.enhance_batch(torch.randn(1, 4800)).shape
    torch.Size([1, 4800])
    """

    HPARAMS_NEEDED = ["sample_rate", "modules"]
    MODULES_NEEDED = ["restorer"]
    seed, dry, progress = 0, 0.0, False

    @classmethod
    def from_hparams(
        cls,
        source,
        hparams_file="hyperparams.yaml",
        *,
        run_opts=None,
        preset=None,
        sampler=None,
        num_steps=None,
        phase_averages=None,
        window=None,
        overlap=None,
        seed=0,
        dry=0.0,
        progress=False,
        backend="torch",
        backend_options=None,
        precision=None,
        compile=None,
        fallback=None,
        trust=False,
        **kwargs,
    ):
        """Load a model; see ``Pretrained.from_hparams`` for all arguments.

        Arguments
        ---------
        source : str or Path
            Folder, or id of the Hub.
        hparams_file : str
            Name of the YAML in it.
        run_opts : dict, optional
            ``{"device": "cuda"}`` (a ``torch.device`` will do too).
        preset : str, optional
            Sampler settings by name, see ``set_preset``; by default the model's own.
        sampler : str, optional
            Another sampler than that of the settings, with its own defaults.
        num_steps : int, optional
            Another number of steps.
        phase_averages : int, optional
            1 to 4: over how many phase_averages of its phase the result is averaged, which
            errs less, for as many times the work; by default as the preset says.
        window, overlap : float, optional
            Seconds of the windows that a recording is cut into, and of what neighbours
            share: the nearest ones that the networks can use.
        seed, dry, progress : int, float, bool
            Defaults of ``enhance_batch`` and ``enhance_file``.
        backend : str
            What runs the networks: "torch", or "onnx" for the graphs that ``lafufu
            export --format onnx`` writes, with ONNX Runtime on the CPU.
        backend_options : dict, optional
            For "onnx": ``threads`` and ``optimization``, see ``use_graphs``.
        precision : str, optional
            "fp32", "bf16" or "fp16": the networks' arithmetic; by default the model's
            own.
        compile : bool, optional
            Whether to compile the networks at the first restoration, which then takes
            minutes; by default as the model says, which mostly is no.
        fallback : bool, optional
            Whether a device, a precision or compilation that this machine cannot offer
            gives way to the CPU, to fp32 or to none, with one warning; by default yes.
        trust : bool
            Whether the YAML may name any Python object, which then is built, instead of
            networks and arithmetic alone (docs/security.md).
        **kwargs
            For SpeechBrain: ``savedir``, ``overrides``, ``fetch_config`` (revision,
            token, offline mode), ``local_strategy``, ``download_only``.

        Returns
        -------
        EnhanceLatent
            None with ``download_only``.

        Raises
        ------
        FileNotFoundError
            If ``source`` looks like a path and does not exist (nothing is asked of the
            Hub then), or has no graphs for backend "onnx".
        ImportError
            If the package for the backend is missing.
        ValueError
            If weights, graphs and YAML do not fit each other, or the model does not
            have the preset or the sampler. Without ``trust`` if the YAML asks for more
            than models need, without ``fallback`` if the machine lacks the device; what
            else it lacks shows at the first restoration.
        """
        if backend not in ("torch", "onnx"):
            raise ValueError(f"backend must be 'torch' or 'onnx', got {backend!r}")
        if backend == "onnx":
            from lafufu_sb.restoration.onnx_runtime import cpu_options

            run_opts = cpu_options(run_opts)
        elif backend_options:
            raise ValueError("backend_options are for backend 'onnx'")
        check_dry(dry)
        names = ("savedir", "local_strategy", "fetch_config")
        fetched_with = {name: kwargs[name] for name in names if name in kwargs}
        source = check_source(source, hparams_file, trust, **fetched_with)
        if isinstance(run_opts, dict) and "device" in run_opts:
            device = usable_device(run_opts["device"], fallback is not False)
            run_opts = run_opts | {"device": device}
        model = super().from_hparams(source, hparams_file, run_opts=run_opts, **kwargs)
        if model is None:  # downloaded only
            return None
        if preset is not None:
            model.set_preset(preset)
        if backend == "onnx":
            model._use_onnx(source, fetched_with, backend_options or {})
        model.restorer.adjust(
            sampler=sampler,
            num_steps=num_steps,
            phase_averages=phase_averages,
            window=window,
            overlap=overlap,
        )
        model.restorer.set_computation(precision, compile, fallback)
        model.seed, model.dry, model.progress = seed, dry, progress
        return model

    def _use_onnx(self, source, fetched_with, options):
        from lafufu_sb.restoration.onnx_runtime import use_graphs

        def find(name):
            return fetch(name, source, **fetched_with)

        networks = self.restorer.autoencoder, self.restorer.score_model
        use_graphs(self.restorer, find, **options)
        for network in networks:
            if network not in self.restorer.children():
                network.to("meta")  # self.hparams has it still: let the weights go

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        missing = [name for name in self.MODULES_NEEDED if name not in self.mods]
        if missing:
            raise ValueError(f"hyperparams.yaml has no module {', '.join(missing)}")
        self.restorer = self.mods.restorer
        self.sample_rate = self.restorer.sample_rate
        if self.hparams.sample_rate != self.sample_rate:
            raise ValueError(
                f"hyperparams.yaml says sample_rate {self.hparams.sample_rate}, its "
                f"restorer {self.sample_rate}: they must agree"
            )
        mark = getattr(self.hparams, "autoencoder_fingerprint", None)
        check_fingerprint(self.restorer.autoencoder, mark)

    def set_preset(self, preset, **changes):
        """Choose sampler settings by name, such as "fast", "balanced" or "paper".

        Arguments
        ---------
        preset : str
            One of ``restorer.presets``, which come with the model.
        **changes
            Options that differ from the preset's, such as ``num_steps``.

        Raises
        ------
        ValueError
            For a preset or an option that there is not; names those there are.
        """
        self.restorer.set_preset(preset, **changes)

    def enhance_batch(
        self,
        noisy,
        lengths=None,
        *,
        sample_rate=None,
        seed=None,
        dry=None,
        progress=None,
        **settings,
    ):
        """Restore a batch.

        An item's result does not depend on the other items, their order or padding.

        Arguments
        ---------
        noisy : torch.Tensor or array
            (batch, time), or (time,) for one signal; channels of a recording are items
            too. Floating-point or signed integers, at any level, which is kept.
        lengths : torch.Tensor or array, optional
            (batch,) relative lengths.
        sample_rate : int, optional
            Hz of ``noisy``, by default the model's. Another rate is resampled to the
            model's, at which the result comes.
        seed : int, optional
            Of the sampler's noise; by default the model's ``seed``.
        dry : float, optional
            Share of the input in the result, which is ``dry * input + (1 - dry) *
            restored``; by default the model's ``dry``.
        progress : bool, optional
            Whether to show a bar on the standard error stream.
        **settings
            ``sampler``, ``num_steps``, ``phase_averages``, ``precision``, ``window``,
            ``overlap``, for this call alone: see ``Restorer.adjust``.

        Returns
        -------
        torch.Tensor
            (batch, time) or (time,), like ``noisy``, on the model's device.

        Raises
        ------
        ValueError
            For another shape, values that are not finite or no samples of audio,
            options that do not exist or fit.
        RuntimeError
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
        options = seed, dry, progress, settings
        restored = gather(self._stream(signals, total, like.device, *options), like)
        self._check_finite(restored)
        return restored[0] if batch.dim() == 1 else restored

    def _stream(self, signals, total, out, seed, dry, progress, settings, fill=False):
        """Blocks of ``Restorer.stream``, with the model's defaults, counted."""
        seed = self.seed if seed is None else seed
        dry = self.dry if dry is None else dry
        restorer = self.restorer.adjusted(**settings) if settings else self.restorer
        stream = restorer.stream(signals, seed, out, dry, fill)
        show = self.progress if progress is None else progress
        return counted(stream, total, self.sample_rate, show)

    def _check_finite(self, restored):
        if not torch.isfinite(restored).all():
            raise NotFiniteError(
                "the networks gave values that are not finite: try precision 'fp32', "
                "or look at the model's weights"
            )

    def forward(self, noisy, lengths=None):
        """See ``enhance_batch``."""
        return self.enhance_batch(noisy, lengths)

    def enhance_file(
        self,
        filename,
        output_filename=None,
        *,
        keep_sample_rate=False,
        seed=None,
        dry=None,
        progress=None,
        **settings,
    ):
        """Restore a recording, each of its channels by itself.

        From file to file it is read, restored and written piece by piece: memory does
        not grow with its length.

        Arguments
        ---------
        filename : str or Path
            Any rate and number of channels.
        output_filename : str or Path, optional
            Where to write the result, 24 bits, or float if it passes full scale (FLAC
            cannot, and is turned down with a warning); WAV of more than 4 GB is RF64.
            Missing folders are made. An existing file is replaced once the result is
            whole.
        keep_sample_rate : bool
            Give the result at the recording's rate instead of the model's.
        seed, dry, progress, **settings
            See ``enhance_batch``.

        Returns
        -------
        torch.Tensor or Path
            Without ``output_filename`` the result: (time,) for one channel, (channels,
            time) for several, on the CPU. With it, the file that holds it.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, PermissionError, ValueError, OSError
            See ``Recording`` and ``recording_writer``.
        RuntimeError
            If the networks give values that are not finite.
        """
        if output_filename is not None:
            output_filename = Path(output_filename)
            refuse_same_file(filename, output_filename)
        with Recording(filename, self.sample_rate) as recording:
            options = {"seed": seed, "dry": dry, "progress": progress} | settings
            blocks = self.restored_blocks(recording, **options)
            if output_filename is not None:
                write_blocks(recording, blocks, output_filename, keep_sample_rate)
                return output_filename
            if keep_sample_rate:
                blocks = at_file_rate(recording, blocks)
            restored = torch.cat(list(blocks), dim=1)
            return restored[0] if len(restored) == 1 else restored

    def restored_blocks(
        self,
        recording,
        *,
        begin=0,
        fill=False,
        seed=None,
        dry=None,
        progress=None,
        **settings,
    ):
        """Restore a recording piece by piece, a block for each window.

        Arguments
        ---------
        recording : Recording
            At the model's rate.
        begin : int
            Window to begin with.
        fill : bool
            See ``Restorer.stream``: for the same bits whatever ``begin`` is.
        seed, dry, progress, **settings
            See ``enhance_batch``.

        Yields
        ------
        torch.Tensor
            (channels, samples) on the CPU.

        Raises
        ------
        RuntimeError
            If the networks give values that are not finite.
        """
        signals = [recording.signals(begin=begin)]
        total = recording.samples * recording.channels
        options = seed, dry, progress, settings
        stream = self._stream(signals, total, "cpu", *options, fill)
        for block in side_by_side(stream, recording.channels):
            self._check_finite(block)
            yield block
