"""The inference path: waveforms in, restored waveforms out.

Validation, test, ``EnhanceLatent``, the command line and the cleaner all call
``Restorer.restore`` or, block by block, ``Restorer.stream``.
"""

from __future__ import annotations

import contextlib

import torch

from lafufu_sb.lobes.pre_enhancer import SignalPreEnhancer
from lafufu_sb.restoration.devices import usable_dtype
from lafufu_sb.restoration.inference_copies import InferenceNetworks
from lafufu_sb.restoration.levels import levelled, limited
from lafufu_sb.restoration.method import Method
from lafufu_sb.restoration.signal_pre_enhancement import pre_enhanced
from lafufu_sb.restoration.streaming import batch_signals, gather, stream_windows
from lafufu_sb.restoration.timing import NoTimer, PartTimer
from lafufu_sb.restoration.window_method import WindowMethod
from lafufu_sb.restoration.windows import AnchoredNoise


class Restorer(Method):
    """A method that restores.

    Level, features, pre-enhance, encode, sample, decode, waveform, level, overlap-add.
    Arguments, attributes and settings are those of ``Method``.

    Example
    -------
    >>> from lafufu_sb import EnhanceLatent, shipped_model
    >>> restorer = EnhanceLatent.from_hparams(source=shipped_model("dereverb")).restorer
    >>> restorer.describe()
    'preset fast, 1 call'
    >>> restorer.with_settings(preset="fast").restore(torch.randn(1, 4800)).shape
    torch.Size([1, 4800])
    """

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
            If samples are not finite, or signals of a tuple differ in length.

        Example
        -------
        >>> from lafufu_sb import EnhanceLatent, shipped_model
        >>> from lafufu_sb.restoration.streaming import TensorSignal
        >>> model = EnhanceLatent.from_hparams(source=shipped_model("dereverb"))
        >>> signals = (TensorSignal(torch.zeros(n), key=n) for n in (480, 100_000))
        >>> blocks = model.restorer.stream(signals)
        >>> [(signal.key, len(block)) for signal, block in blocks]
        [(480, 480), (100000, 49152), (100000, 50848)]
        """
        method = self.window_method()

        def restore_windows(windows, places):
            seeds = [place.open.seed(self.settings.seed) for place in places]
            noise = self.noise(seeds, [place.start for place in places])
            return method.restore(windows, noise)

        yield from self._stream(restore_windows, method, signals, out, fill)

    @torch.no_grad()
    def pre_enhance(self, wavs, lengths=None):
        """Result of the pre-enhancer alone, (batch, time)."""
        method = self.window_method()
        signals = batch_signals(wavs, lengths)
        stream = self._stream(method.pre_enhance, method, signals, wavs.device)
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
        method = self.window_method()
        signals = batch_signals(distorted, lengths, [clean])
        stream = self._stream(method.bound, method, signals, distorted.device)
        return gather(stream, distorted)

    def noise(self, seeds, starts):
        """Noise of windows, anchored to their place in the signal.

        Arguments
        ---------
        seeds, starts : sequence of int
            For each window the seed and the first sample.

        Returns
        -------
        AnchoredNoise
        """
        column = self.representation.grid * self.representation.hop_length
        chunk = self.overlap_frames // self.representation.grid
        return AnchoredNoise(seeds, [start // column for start in starts], chunk)

    def window_method(self) -> WindowMethod:
        """The computation of one batch of windows with the present settings."""
        return WindowMethod(
            self._networks(),
            self.conditioning,
            self.process,
            self.objective,
            self.sampler,
            self.settings,
            self.timer,
        )

    def _stream(self, function, method, signals, out, fill=False):
        signals = levelled(signals, self.plan, self.sample_rate)
        if isinstance(self.pre_enhancer, SignalPreEnhancer):
            signals = pre_enhanced(signals, self.pre_enhancer, self.sample_rate)
        return stream_windows(
            limited(function, self.sample_rate),
            self.plan,
            signals,
            size=self.settings.windows_per_batch,
            fill=fill or method.networks.compiled,
            device=self.device,
            out=out,
        )
