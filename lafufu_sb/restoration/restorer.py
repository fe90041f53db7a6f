"""The inference path: waveforms in, restored waveforms out.

Validation, test, ``EnhanceLatent``, the command line and the cleaner all call
``Restorer.restore`` or, block by block, ``Restorer.stream``.
"""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import nn

from lafufu_sb.diffusion.registry import check_objective
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.pre_enhancer import SignalPreEnhancer
from lafufu_sb.restoration.conditioning import Conditioning
from lafufu_sb.restoration.devices import usable_dtype
from lafufu_sb.restoration.inference_copies import InferenceNetworks
from lafufu_sb.restoration.settings import RestoreSettings
from lafufu_sb.restoration.signal_pre_enhancement import pre_enhanced
from lafufu_sb.restoration.streaming import batch_signals, gather, stream_windows
from lafufu_sb.restoration.timing import NoTimer, PartTimer
from lafufu_sb.restoration.windows import AnchoredNoise, WindowChoice

INDEPENDENT = ("precision", "compile", "windows_per_batch", "seed", "dry")  # of presets


class Restorer(nn.Module):
    """The five parts of a method, and the settings to restore with.

    Level, features, pre-enhance, encode, sample, decode, waveform, overlap-add, level.
    A restorer's settings never change: ``with_settings`` returns another restorer that
    shares the networks.

    Arguments
    ---------
    representation : Representation
        What the diffusion works on.
    score_model : ScoreNetwork
        ``score_model(x_t, condition, t)``.
    process : Process
        Diffusion process in the representation.
    objective : Objective
        What the score model was trained to estimate.
    pre_enhancer : PreEnhancer or SignalPreEnhancer, optional
        Gives the "enhanced" input.
    condition, mean, skips : sequence of str, str, str
        See ``Conditioning``.
    sampler : str, optional
        Name of a sampler that fits; without it, that of ``preset``.
    sampler_options : dict, optional
        Its keyword arguments, ``num_steps`` among them; or changes of the preset.
    presets : dict of str to dict, optional
        Settings by name, see ``RestoreSettings.from_preset``.
    preset : str, optional
        The default one.
    sample_rate : int
        Hz of everything that goes in and comes out.
    window_frames : int
        Feature frames of a window, by default the training crop of 256 (2.04 s at 48
        kHz). Must suit the grid of the networks.
    overlap_frames : int
        Frames that neighbouring windows share; divides ``window_frames``.
    windows_per_batch, precision, compile
        See ``RestoreSettings``.
    fallback : bool
        Whether a precision that the device lacks, or a failing compilation, is
        replaced with a warning instead of an error.

    Attributes
    ----------
    settings : RestoreSettings
    preset : str or None
        Name of the preset, as long as nothing of it was changed.
    presets : dict of str to RestoreSettings
    sampler : callable
        See ``get_sampler``.
    plan : WindowPlan
        Windows in samples.

    Raises
    ------
    UsageError
        For parts that do not go together, and settings that do not fit.
    """

    def __init__(
        self,
        *,
        representation,
        score_model,
        process,
        objective,
        pre_enhancer=None,
        condition=("distorted",),
        mean="distorted",
        skips="distorted",
        sampler=None,
        sampler_options=None,
        presets=None,
        preset=None,
        sample_rate=48000,
        window_frames=256,
        overlap_frames=128,
        windows_per_batch=4,
        precision="fp32",
        compile=False,
        fallback=True,
    ):
        super().__init__()
        check_objective(process, objective)
        self.representation = representation
        self.score_model = score_model
        self.pre_enhancer = pre_enhancer
        self.process = process
        self.objective = objective
        pre_enhances = pre_enhancer is not None
        self.conditioning = Conditioning(condition, mean, skips, pre_enhances)
        self.sample_rate = sample_rate
        self.fallback = fallback
        self.frames = window_frames, overlap_frames
        base = RestoreSettings(
            sampler=sampler or "",
            precision=precision,
            compile=compile,
            windows_per_batch=windows_per_batch,
        )
        self._preset_fields = {n: set(values) for n, values in (presets or {}).items()}
        self.presets = {
            name: RestoreSettings.from_preset(values, base)
            for name, values in (presets or {}).items()
        }
        for settings in self.presets.values():  # refuse a wrong preset at once
            self._use(settings)
        self._copies = {}
        self.timer = NoTimer()
        if preset is None and sampler is None:
            raise UsageError("a restorer needs a sampler or a preset")
        chosen = base if sampler is not None else self._preset(preset)
        self._use(chosen.changed(**(sampler_options or {})))
        # Convolutions of the representation train faster so; those of the score
        # network do not, on a CPU. Inference copies always have this layout.
        self.representation.to(memory_format=torch.channels_last)

    def with_settings(self, *, preset=None, **changes) -> Restorer:
        """A restorer with the same networks and other settings.

        Arguments
        ---------
        preset : str, optional
            Settings to start from; by default the present ones. Precision, compilation,
            batch size, seed and dry stay, unless the preset names them.
        **changes
            Fields of ``RestoreSettings`` or options of the sampler. None leaves a
            field unchanged.

        Returns
        -------
        Restorer

        Raises
        ------
        UsageError
            For a preset, field or value that does not exist or fit. The restorer
            itself never changes.
        """
        settings = self.settings
        if preset is not None:
            wanted, own = self._preset(preset), self._preset_fields[preset]
            kept = {n: getattr(settings, n) for n in INDEPENDENT if n not in own}
            settings = wanted.changed(**kept)
        other = copy.copy(self)
        other._copies = self._copies
        other._use(settings.changed(**changes))
        return other

    def _preset(self, name):
        if name not in self.presets:
            names = ", ".join(self.presets)
            raise UsageError(
                f"no preset {name!r}: this model has "
                + (names or "none, choose a sampler and its num_steps instead")
            )
        return self.presets[name]

    def _use(self, settings):
        """Check settings against the parts and adopt them."""
        fixed = self.score_model.fixed_precision
        if fixed is not None:
            self._check_graphs(settings, fixed)
        turns = self.representation.phase_turns
        if settings.phase_averages > turns:
            raise UsageError(
                f"phase_averages must be at most {turns} for this representation, got "
                f"{settings.phase_averages}"
            )
        self.sampler = get_sampler(
            settings.sampler,
            self.process,
            estimates=self.objective.estimates,
            **settings.sampler_options(),
        )
        windows = WindowChoice(
            self.representation, self.score_model.grid, self.sample_rate, *self.frames
        )
        self.window_frames, self.overlap_frames = windows.fit(
            settings.window, settings.overlap
        )
        self.plan = windows.plan(self.window_frames, self.overlap_frames)
        self.settings = settings

    def _check_graphs(self, settings, precision):
        asked = {
            "window": settings.window is not None,
            "compile": settings.compile,
            f"precision {settings.precision!r}": settings.precision != precision,
        }
        for name, refused in asked.items():
            if refused:
                raise UsageError(
                    f"{name} does not go with ONNX graphs, which have one window and "
                    f"compute in {precision}: leave it out, or use backend 'torch'"
                )

    @property
    def preset(self):
        """Name of the preset of these settings, or None if something was changed."""
        same = {name: getattr(self.settings, name) for name in INDEPENDENT}
        for name, settings in self.presets.items():
            if settings.changed(**same) == self.settings:
                return name
        return None

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.representation.latent_scale.device

    def describe(self) -> str:
        """One line: preset or sampler, the network's calls per window, averages."""
        calls, averages = self.sampler.calls, self.settings.phase_averages
        chosen = f"preset {self.preset}" if self.preset else self.settings.sampler
        averaged = f", {averages} phase averages" if averages > 1 else ""
        return f"{chosen}, {calls} call{'s' if calls > 1 else ''}{averaged}"

    @contextlib.contextmanager
    def timed(self):
        """Measure the parts of what is restored within the block, see ``PartTimer``."""
        self.timer = PartTimer(self.device)
        try:
            yield self.timer
        finally:
            self.timer = NoTimer()

    def prepare(self) -> InferenceNetworks:
        """Build the inference copies from the present weights.

        ``restore`` builds missing ones by itself. Call this after the weights have
        changed: copies do not follow them.

        Raises
        ------
        UsageError
            If the device lacks the precision or cannot compile, without ``fallback``.
        """
        self._copies.clear()
        return self._networks()

    def _networks(self):
        device = self.device
        dtype = usable_dtype(self.settings.precision, device, self.fallback)
        key = device, dtype, self.settings.compile
        if key not in self._copies:
            self._copies[key] = InferenceNetworks(
                self.representation, self.score_model, self._module_pre_enhancer, dtype
            )
        networks = self._copies[key]
        if self.settings.compile:
            with torch.inference_mode():
                windows = torch.zeros(self.settings.windows_per_batch, self.plan.window)
                features = self.representation.features(windows.to(device))
            names = len(self.conditioning.condition)
            networks.compile(features, names, self.fallback)
        return networks

    def __getstate__(self):
        # Copies are large and tied to a device: whoever reads the pickle makes its own.
        return self.__dict__ | {"_copies": {}, "sampler": None, "timer": NoTimer()}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._use(self.settings)

    @property
    def _module_pre_enhancer(self):
        """The pre-enhancer if it works on the features of windows."""
        signals = isinstance(self.pre_enhancer, SignalPreEnhancer)
        return None if signals else self.pre_enhancer

    @torch.no_grad()
    def restore(self, wavs, lengths=None):
        """Restore a batch of waveforms.

        An item's result depends on the item and the settings alone, not on its
        neighbours, its place or its padding.

        Arguments
        ---------
        wavs : torch.Tensor
            (batch, time), any level.
        lengths : torch.Tensor, optional
            (batch,) relative lengths, as in SpeechBrain. The rest is padding, and zero
            in the output.

        Returns
        -------
        torch.Tensor
            (batch, time), float32. A silent item comes back as zeros.

        Raises
        ------
        UsageError
            If ``wavs`` is not (batch, time), empty, or not finite.
        """
        signals = batch_signals(wavs, lengths)
        return gather(self.stream(signals, wavs.device), wavs)

    @torch.no_grad()
    def stream(self, signals, out="cpu", fill=False):
        """Restore signals of any length and number, block by block.

        Memory holds about ``windows_per_batch`` windows and the tail of each open
        signal, however long signals are. (A ``SignalPreEnhancer`` holds whole signals.)

        Arguments
        ---------
        signals : iterable of TensorSignal or alike
            Consumed as blocks are asked for, at most about a batch ahead. Windows are
            batched across signals. Channels of one length in a tuple advance together.
        out : str or torch.device
            Where the blocks are wanted.
        fill : bool
            Whether the last batch is filled up like those of compiled networks. Kernels
            round differently for batches of other sizes: with it, a signal's result is
            the same to the last bit whatever signals go with it.

        Yields
        ------
        signal : object
            One of ``signals``.
        block : torch.Tensor
            (samples,), float32: the signal's next restored samples. The blocks of a
            signal add up to its length. Those of a tuple take turns.

        Raises
        ------
        UsageError
            If a signal's ``peak`` is not finite.

        Example
        -------
        >>> from lafufu_sb import EnhanceLatent, shipped_model
        >>> from lafufu_sb.restoration.streaming import TensorSignal
        >>> model = EnhanceLatent.from_hparams(source=shipped_model("denoise"))
        >>> signals = (TensorSignal(torch.zeros(n), key=n) for n in (480, 100_000))
        >>> blocks = model.restorer.stream(signals)
        >>> [(signal.key, len(block)) for signal, block in blocks]
        [(480, 480), (100000, 49152), (100000, 50848)]
        """
        networks, dry = self._networks(), self.settings.dry

        def restore_windows(windows, places):
            seeds = [place.open.seed(self.settings.seed) for place in places]
            column = self.representation.grid * self.representation.hop_length
            columns = [place.start // column for place in places]
            chunk = self.overlap_frames // self.representation.grid
            noise = AnchoredNoise(seeds, columns, chunk)
            restored = self._restore_windows(networks, windows, noise)
            distorted = windows if windows.dim() == 2 else windows[:, 0]
            return torch.lerp(restored, distorted, dry) if dry else restored

        yield from self._stream(restore_windows, networks, signals, out, fill)

    @torch.no_grad()
    def pre_enhance(self, wavs, lengths=None):
        """Result of the pre-enhancer alone, (batch, time)."""
        networks = self._networks()

        @torch.inference_mode()
        def enhance_windows(windows, _):
            if windows.dim() == 3:
                return windows[:, 1]
            enhanced = networks.pre_enhance(self.representation.features(windows))
            return self.representation.waveforms(enhanced, windows.shape[-1])

        signals = batch_signals(wavs, lengths)
        stream = self._stream(enhance_windows, networks, signals, wavs.device)
        return gather(stream, wavs)

    @torch.no_grad()
    def autoencoder_bound(self, distorted, clean, lengths=None):
        """Decode the CLEAN latent with the DISTORTED input's skips.

        This is what the decoder makes of a perfect latent.

        Arguments
        ---------
        distorted, clean : torch.Tensor
            (batch, time).
        lengths : torch.Tensor, optional
            (batch,) relative lengths.

        Returns
        -------
        torch.Tensor
            (batch, time).
        """
        networks = self._networks()

        def reconstruct(clean, inputs):
            source = networks.encode(inputs[self.conditioning.skips])
            latent = networks.encode(clean).latent
            return networks.decode(latent, source.skips, source.size)

        def reconstruct_windows(windows, _):
            inputs, clean = windows[:, :-1], windows[:, -1]
            return self._average(networks, reconstruct, inputs, clean)

        signals = batch_signals(distorted, lengths, [clean])
        stream = self._stream(reconstruct_windows, networks, signals, distorted.device)
        return gather(stream, distorted)

    def _restore_windows(self, networks, windows, noise):
        """(windows, samples), or (windows, 2, samples) with what is enhanced."""

        def restore(_, inputs):
            with self.timer.part("encoder"):
                encoded = {n: networks.encode(inputs[n]) for n in inputs}
            mean, condition, source = self.conditioning.roles(encoded)
            network = networks.bind(condition, mean)

            def estimate(x_t, t):
                return self.objective.estimate(network, x_t, mean, t)

            with self.timer.part("sampler"):
                latent = self.sampler(estimate, mean, generator=noise)
            with self.timer.part("decoder"):
                return networks.decode(latent, source.skips, source.size)

        if windows.dim() == 2:
            windows = windows[:, None]
        return self._average(networks, restore, windows)

    @torch.inference_mode()
    def _average(self, networks, function, inputs, other=None):
        """Map features of windows at each turn of the phase; average the waveforms.

        Arguments
        ---------
        networks : InferenceNetworks
            Pre-enhance the features.
        function : callable
            ``function(features of other, {name: features})`` to features.
        inputs : torch.Tensor
            (windows, 1 or 2, samples): distorted, enhanced by a ``SignalPreEnhancer``.
        other : torch.Tensor, optional
            (windows, samples)
        """
        representation, samples = self.representation, inputs.shape[-1]
        features = [representation.features(wavs) for wavs in inputs.unbind(1)]
        if other is not None:
            other = representation.features(other)
        total = 0.0
        for quarters in range(self.settings.phase_averages):
            turned = [representation.turn(f, quarters) for f in features]
            if networks.pre_enhancer is not None:
                with self.timer.part("pre_enhancer"):
                    turned.append(networks.pre_enhance(turned[0]))
            named = dict(zip(("distorted", "enhanced"), turned, strict=False))
            needed = {name: named[name] for name in self.conditioning.needed}
            clean = None if other is None else representation.turn(other, quarters)
            result = representation.turn(function(clean, needed), -quarters)
            total = total + representation.waveforms(result, samples)
        return total / self.settings.phase_averages

    def _stream(self, function, networks, signals, out, fill=False):
        if isinstance(self.pre_enhancer, SignalPreEnhancer):
            signals = pre_enhanced(signals, self.pre_enhancer, self.sample_rate)
        return stream_windows(
            function,
            self.plan,
            signals,
            size=self.settings.windows_per_batch,
            fill=fill or networks.compiled,
            device=self.device,
            out=out,
        )
