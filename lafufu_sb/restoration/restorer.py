"""The way of the data: wave in, restored wave out.

The only inference path of the package: validation, test, ``EnhanceLatent`` and the
command line all call ``Restorer.restore`` or, block by block, ``Restorer.stream``.
"""

import contextlib
import copy

import torch
from torch import nn

from lafufu_sb.restoration.devices import PRECISIONS, usable_dtype
from lafufu_sb.restoration.inference_copies import Twins
from lafufu_sb.restoration.sampling import SamplerSettings, rotate
from lafufu_sb.restoration.streaming import batch_signals, gather, stream_windows
from lafufu_sb.restoration.timing import NoTimer, PartTimer
from lafufu_sb.restoration.windows import AnchoredNoise, WindowSettings


class Restorer(SamplerSettings, WindowSettings, nn.Module):
    """Level, spectrogram, encode, sample, decode, inverse, overlap-add, level back.

    With ``IdentityAutoencoder`` it is SGMSE+, with ``LatentAutoencoder`` LAFUFU.

    Arguments
    ---------
    spectrogram : CompressedSpectrogram
        Front end.
    autoencoder : LatentAutoencoder or IdentityAutoencoder
        To the latent and back.
    score_model : NCSNpp
        ``score_model(x_t, y, t)``.
    sde : OUVESDE or SchroedingerBridge
        Process in the latent.
    objective : ScoreMatching or DataPrediction
        What the score model was trained to estimate.
    sampler : str, optional
        Name of a sampler that fits the process; without it, that of ``preset``.
    sampler_options : dict, optional
        Its keyword arguments, ``num_steps`` among them; those not given are the
        sampler's defaults, or the preset's.
    presets : dict of str to dict, optional
        Settings to choose from by name, each with the name of its ``sampler`` and the
        options that differ from the sampler's defaults; with ``overlap_frames`` if
        they are not those below, with ``phase_averages`` if they are not 1.
    preset : str, optional
        The one to begin with.
    sample_rate : int
        Hz, of everything that goes in and comes out.
    window_frames : int
        Spectrogram frames of a window, by default the training crop of 256 (2.04 s
        at 48 kHz). Must suit the grid of the networks.
    overlap_frames : int
        Frames that neighbouring windows share; divides ``window_frames``.
    windows_per_batch : int
        Windows that are computed together; bounds the memory.
    precision : str
        "fp32", "bf16" or "fp16": the networks' arithmetic. Everything around stays
        float32.
    compile : bool
        Whether the networks are compiled at the first restoration, for batches of
        exactly ``windows_per_batch``, to which the last one is filled up.
    fallback : bool
        Whether a precision that the device lacks, or compilation where it does not
        work, gives way to fp32 or to none, with one warning, instead of an error.
    """

    def __init__(
        self,
        *,
        spectrogram,
        autoencoder,
        score_model,
        sde,
        objective,
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
        self.spectrogram = spectrogram
        self.autoencoder = autoencoder
        self.score_model = score_model
        self.sde = sde
        self.objective = objective
        self.sample_rate = sample_rate
        if windows_per_batch < 1:
            raise ValueError(
                f"windows_per_batch must be at least 1, got {windows_per_batch}"
            )
        self.windows_per_batch = windows_per_batch
        self.set_computation(precision, compile, fallback)
        self._begin_windows(window_frames, overlap_frames)
        self._begin_sampling(presets or {}, sampler, sampler_options or {}, preset)
        # Trains faster so; the score model does not, on a CPU. Twins always are.
        self.autoencoder.to(memory_format=torch.channels_last)
        self._twins = Twins()
        self.timer = NoTimer()

    @contextlib.contextmanager
    def timed(self):
        """Measure the parts of what is restored within the block, see ``PartTimer``."""
        self.timer = PartTimer(self.spectrogram.window.device)
        try:
            yield self.timer
        finally:
            self.timer = NoTimer()

    def set_precision(self, precision):
        """Choose "fp32", "bf16" or "fp16"; ValueError for another."""
        if precision not in PRECISIONS:
            names = ", ".join(PRECISIONS)
            raise ValueError(f"precision must be one of {names}, got {precision!r}")
        fixed = getattr(self.score_model, "precision", precision)  # of ONNX graphs
        if precision != fixed:
            raise ValueError(
                f"precision {precision!r} does not go with ONNX graphs, which compute "
                f"in {fixed}: leave it out, or use backend 'torch'"
            )
        self.precision = precision

    def set_computation(self, precision=None, compile=None, fallback=None):
        """Choose how the networks compute; None stays, see the constructor.

        ValueError for another precision, or what does not go with ONNX graphs.
        """
        if precision is not None:
            self.set_precision(precision)
        if compile and hasattr(self.score_model, "precision"):
            raise ValueError("ONNX graphs are not compiled: leave compile out")
        if compile is not None:
            self.compiled = compile  # nn.Module has a method of the other name
        if fallback is not None:
            self.fallback = fallback

    def inference_networks(self):
        """``InferenceNetworks``, up to date: what ``restore`` computes with.

        UsageError if the device cannot do what was asked for, without ``fallback``.
        """
        device = self.spectrogram.window.device
        dtype = usable_dtype(self.precision, device, self.fallback)
        networks = self._twins.networks(self.autoencoder, self.score_model, dtype)
        if self.compiled:
            with torch.inference_mode():
                windows = torch.zeros(self.windows_per_batch, self.plan.window)
                spectrograms = self.spectrogram(windows.to(device))
            self._twins.compile(networks, spectrograms, self.fallback)
        return networks

    def adjust(
        self,
        *,
        sampler=None,
        num_steps=None,
        phase_averages=None,
        precision=None,
        window=None,
        overlap=None,
    ):
        """Change any of these settings; None leaves one as it is.

        Arguments
        ---------
        sampler, num_steps : str, int
            See ``change_sampler``.
        phase_averages : int
            See ``set_phase_averages``.
        precision : str
            See ``set_precision``.
        window, overlap : float
            Seconds, see ``set_windows``.

        Raises
        ------
        ValueError
            For what does not exist or fit.
        """
        if sampler is not None or num_steps is not None:
            steps = {} if num_steps is None else {"num_steps": num_steps}
            self.change_sampler(sampler, **steps)
        if phase_averages is not None:
            self.set_phase_averages(phase_averages)
        if precision is not None:
            self.set_precision(precision)
        if window is not None or overlap is not None:
            self.set_windows(window, overlap)

    def adjusted(self, **settings):
        """A restorer with the same networks and other settings, see ``adjust``."""
        restorer = copy.copy(self)
        restorer.adjust(**settings)
        return restorer

    @torch.no_grad()
    def restore(self, wavs, lengths=None, seed=0, dry=0.0):
        """Restore a batch of waveforms.

        An item's result depends on the item and the seed alone, not on its
        neighbours, its place or its padding.

        Arguments
        ---------
        wavs : torch.Tensor
            (batch, time), any level.
        lengths : torch.Tensor, optional
            (batch,) relative lengths, as in SpeechBrain; what lies beyond is
            padding, and zero in the output.
        seed : int
            Of the sampler's noise.
        dry : float
            Share of the input in the result, which is ``dry * input + (1 - dry) *
            restored``.

        Returns
        -------
        torch.Tensor
            (batch, time), float32. A silent item comes back as zeros.

        Raises
        ------
        ValueError
            If ``wavs`` is not (batch, time), empty, or not finite, or ``dry`` is not
            between 0 and 1.
        """
        signals = batch_signals(wavs, lengths)
        return gather(self.stream(signals, seed, wavs.device, dry), wavs)

    @torch.no_grad()
    def stream(self, signals, seed=0, out="cpu", dry=0.0, fill=False):
        """Restore signals of any length and number, block by block.

        Memory holds about ``windows_per_batch`` windows and what the last window of
        each open signal leaves for the next, however long signals are.

        Arguments
        ---------
        signals : iterable of TensorSignal or alike
            Consumed as blocks are asked for, at most about a batch ahead. Windows are
            batched across signals. Channels of one length in a tuple advance together.
        seed : int
            Of the sampler's noise, for signals that have none of their own.
        out : str or torch.device
            Where the blocks are wanted.
        dry : float
            Share of the input in the result, see ``restore``.
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
            signal add up to its length; one follows the other, signal by signal (those
            of a tuple take turns).

        Raises
        ------
        ValueError
            If a signal's ``peak`` is not finite, or ``dry`` is not between 0 and 1.

        Example
        -------
        >>> from lafufu_sb import EnhanceLatent, shipped_model
        >>> from lafufu_sb.restoration.streaming import TensorSignal
        >>> restorer = EnhanceLatent.from_hparams(source=shipped_model("wham")).restorer
        >>> signals = (TensorSignal(torch.zeros(n), key=n) for n in (480, 100_000))
        >>> [(signal.key, len(block)) for signal, block in restorer.stream(signals)]
        [(480, 480), (100000, 49152), (100000, 50848)]
        """
        check_dry(dry)
        networks = self.inference_networks()

        def restore_windows(windows, places):
            seeds = [place.open.seed(seed) for place in places]
            columns = [place.start // self._samples_per_column for place in places]
            noise = AnchoredNoise(seeds, columns, self._chunk)
            restored = self._restore_windows(networks, windows, noise)
            return torch.lerp(restored, windows, dry) if dry else restored

        yield from self._stream(restore_windows, networks, signals, out, fill)

    @torch.no_grad()
    def predict(self, wavs, lengths=None):
        """What the predictor alone makes of (batch, time), and hands on."""
        networks = self.inference_networks()

        @torch.inference_mode()
        def predict_windows(windows, _):
            predicted = networks.predict(self.spectrogram(windows))
            return self.spectrogram.inverse(predicted, windows.shape[-1])

        signals = batch_signals(wavs, lengths)
        return gather(
            self._stream(predict_windows, networks, signals, wavs.device), wavs
        )

    @torch.no_grad()
    def autoencoder_bound(self, distorted, clean, lengths=None):
        """Decode the CLEAN latent with the DISTORTED input's skips.

        What the decoder makes of a perfect latent.

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
        networks = self.inference_networks()

        def reconstruct(distorted, clean):
            y = networks.encode(networks.predict(distorted))
            return networks.decode(networks.encode(clean).latent, y.skips, y.size)

        def reconstruct_windows(windows, _):
            return self._average(reconstruct, *windows.unbind(1))

        signals = batch_signals(distorted, lengths, [clean])
        stream = self._stream(reconstruct_windows, networks, signals, distorted.device)
        return gather(stream, distorted)

    def _restore_windows(self, networks, windows, noise):
        """(windows, window samples) to the same, restored."""

        def restore(distorted):
            with self.timer.part("encoder"):
                y, skips, size = networks.encode(networks.predict(distorted))
            network = networks.bind(y)

            def estimate(x, t):
                return self.objective.estimate(network, x, y, t)

            with self.timer.part("sampler"):
                latent = self.sampler(estimate, y, generator=noise)
            with self.timer.part("decoder"):
                return networks.decode(latent, skips, size)

        return self._average(restore, windows)

    @torch.inference_mode()
    def _average(self, function, *windows):
        """Map spectrograms of windows, at each rotation, and average the waveforms."""
        samples = windows[0].shape[-1]
        spectrograms = [self.spectrogram(wavs) for wavs in windows]
        total = 0.0
        for quarters in range(self.phase_averages):
            result = function(*(rotate(s, quarters) for s in spectrograms))
            result = rotate(result, -quarters)
            total = total + self.spectrogram.inverse(result, samples)
        return total / self.phase_averages

    def _stream(self, function, networks, signals, out, fill=False):
        return stream_windows(
            function,
            self.plan,
            signals,
            size=self.windows_per_batch,
            fill=fill or networks.compiled,
            device=self.spectrogram.window.device,
            out=out,
        )


def check_dry(dry):
    """ValueError unless it is a share, between 0 and 1."""
    if not 0 <= dry <= 1:
        raise ValueError(
            f"dry must lie between 0 (restored) and 1 (the input), got {dry}"
        )
