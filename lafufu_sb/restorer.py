"""The way of the data: wave in, restored wave out.

The only inference path of the package: validation, test, ``EnhanceLatent`` and the
command line all call ``Restorer.restore``.
"""

import torch
from torch import nn

from .diffusion.samplers import ESTIMATES, SAMPLERS, get_sampler
from .windows import AnchoredNoise, WindowPlan


class Restorer(nn.Module):
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
        options that differ from the sampler's defaults.
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
        "fp32" or "bf16": the networks' arithmetic. Everything around stays float32.
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
        overlap_frames=32,
        windows_per_batch=4,
        precision="fp32",
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
        self.set_precision(precision)
        self.presets = {name: dict(preset) for name, preset in (presets or {}).items()}
        self._begin_sampling(sampler, sampler_options or {}, preset)
        self._set_windows(window_frames, overlap_frames)
        # Convolutions of the CPU and of tensor cores run about twice as fast so.
        self.to(memory_format=torch.channels_last)

    def _begin_sampling(self, sampler, options, preset):
        for name in self.presets:  # a wrong one shows now, not when it is asked for
            self.set_preset(name)
        if sampler is not None:
            self.set_sampler(sampler, **options)
        elif preset is not None:
            self.set_preset(preset, **options)
        else:
            raise ValueError("neither a sampler nor a preset: one of them is needed")

    def set_preset(self, preset, **changes):
        """Choose sampler and options by the name of a preset.

        Arguments
        ---------
        preset : str
            One of ``presets``.
        **changes
            Options that differ from the preset's.

        Raises
        ------
        ValueError
            For a preset or an option that there is not; names those there are.
        """
        if preset not in self.presets:
            names = ", ".join(self.presets)
            raise ValueError(
                f"no preset {preset!r}: this model has "
                + (names or "none, choose a sampler and its num_steps instead")
            )
        options = dict(self.presets[preset])
        if "sampler" not in options:
            raise ValueError(f"preset {preset!r} names no sampler")
        self.set_sampler(options.pop("sampler"), **options | changes)
        if not changes:
            self.preset = preset

    def change_sampler(self, sampler=None, **options):
        """Choose another sampler, or other options for the one there is.

        Arguments
        ---------
        sampler : str, optional
            By default the present one.
        **options
            Those not given stay, unless the sampler becomes another.

        Raises
        ------
        ValueError
            See ``set_sampler``.
        """
        sampler = sampler or self.sampler_name
        kept = self.sampler_options if sampler == self.sampler_name else {}
        self.set_sampler(sampler, **kept | options)

    def set_sampler(self, sampler, **options):
        """Choose sampler and options; ValueError for what does not exist or fit."""
        self.sampler = get_sampler(sampler, self.sde, **options)
        needed = ESTIMATES[SAMPLERS[sampler][1]]
        if self.objective.estimates != needed:
            raise ValueError(
                f"sampler {sampler!r} needs a network that estimates the {needed}, "
                f"{type(self.objective).__name__} trains for the "
                f"{self.objective.estimates}: change the objective or the process"
            )
        self.sampler_name, self.sampler_options = sampler, dict(options)
        self.preset = None  # set_preset knows better

    def describe_sampling(self):
        """One line: the preset or the sampler, and the network's calls per window."""
        calls = self.sampler.calls
        chosen = f"preset {self.preset}" if self.preset else self.sampler_name
        return f"{chosen}, {calls} call{'s' if calls > 1 else ''}"

    def set_precision(self, precision):
        """Choose "fp32" or "bf16" for the networks; ValueError for another."""
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"precision must be 'fp32' or 'bf16', got {precision!r}")
        fixed = getattr(self.score_model, "precision", precision)  # of ONNX graphs
        if precision != fixed:
            raise ValueError(
                f"precision {precision!r} does not go with ONNX graphs, which compute "
                f"in {fixed}: leave it out, or use backend 'torch'"
            )
        self.precision = precision

    def _set_windows(self, window_frames, overlap_frames):
        reduction = self.autoencoder.reduction
        grid = reduction * self.score_model.grid
        if window_frames % grid:
            raise ValueError(
                f"window_frames must be a multiple of {grid}, which the autoencoder "
                f"and the score model need, got {window_frames}"
            )
        fits = overlap_frames > 0 and window_frames % overlap_frames == 0
        if not fits or overlap_frames % reduction:
            raise ValueError(
                f"overlap_frames must divide window_frames ({window_frames}) and be a "
                f"multiple of {reduction}, got {overlap_frames}"
            )
        hop = self.spectrogram.hop_length
        self.plan = WindowPlan(
            window=self.spectrogram.samples(window_frames),
            stride=(window_frames - overlap_frames) * hop,
        )
        self._samples_per_column = reduction * hop
        self._chunk = overlap_frames // reduction

    @torch.no_grad()
    def restore(self, wavs, lengths=None, seed=0):
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

        Returns
        -------
        torch.Tensor
            (batch, time), float32. A silent item comes back as zeros.

        Raises
        ------
        ValueError
            If ``wavs`` is not (batch, time), empty, or not finite.
        """

        def restore_windows(windows, first_columns):
            noise = AnchoredNoise(seed, first_columns, self._chunk)
            return self._restore_windows(windows, noise)

        return self._overlap_add(restore_windows, lengths, wavs)

    @torch.no_grad()
    def oracle(self, distorted, clean, lengths=None):
        """Decode the CLEAN latent with the DISTORTED input's hiddens.

        The upper bound that the autoencoder sets to everything after it.

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

        def reconstruct(windows, clean_windows, first_columns):
            with self._autocast(windows):
                y = self._encode(windows)
                x = self._encode(clean_windows)
                decoded = self.autoencoder.decode(x.latent, y.hiddens, y.size)
            return self.spectrogram.inverse(decoded.float(), windows.shape[-1])

        return self._overlap_add(reconstruct, lengths, distorted, clean)

    def _autocast(self, like):
        return torch.autocast(
            like.device.type, torch.bfloat16, enabled=self.precision == "bf16"
        )

    def _encode(self, windows):
        spectrograms = self.spectrogram(windows)
        return self.autoencoder.encode(
            spectrograms.contiguous(memory_format=torch.channels_last)
        )

    def _restore_windows(self, windows, noise):
        """(windows, window samples) to the same, restored."""
        with self._autocast(windows):
            y, hiddens, size = self._encode(windows)
        y = y.float()

        def estimate(x, t):
            with self._autocast(x):
                return self.objective.estimate(self.score_model, x, y, t)

        latent = self.sampler(estimate, y, generator=noise)
        with self._autocast(windows):
            decoded = self.autoencoder.decode(latent, hiddens, size)
        return self.spectrogram.inverse(decoded.float(), windows.shape[-1])

    def _overlap_add(self, function, lengths, *signals):
        """Cut signals into windows, map them, and put the results together.

        Arguments
        ---------
        function : callable
            ``function(*windows, first_columns=...)``, one (n, window) tensor per
            signal, to (n, window).
        lengths : torch.Tensor or None
            Relative lengths.
        *signals : torch.Tensor
            (batch, time); the first one sets the level of all.
        """
        samples = _valid_samples(signals[0], lengths)
        valid = torch.arange(signals[0].shape[1], device=signals[0].device)
        valid = valid < samples[:, None]
        signals = [torch.where(valid, s.float(), 0.0) for s in signals]
        peaks = signals[0].abs().amax(dim=1, keepdim=True)
        levelled = [s / peaks.clamp(min=torch.finfo(s.dtype).tiny) for s in signals]
        jobs = [
            (item, start, start == starts[-1])
            for item, starts in enumerate(self.plan.starts(n) for n in samples.tolist())
            for start in starts
            if peaks[item] > 0
        ]
        out = torch.zeros_like(signals[0])
        for first in range(0, len(jobs), self.windows_per_batch):
            batch = jobs[first : first + self.windows_per_batch]
            windows = [
                torch.stack([self._cut(s[item], start) for item, start, _ in batch])
                for s in levelled
            ]
            columns = [start // self._samples_per_column for _, start, _ in batch]
            results = function(*windows, first_columns=columns)
            for result, (item, start, last) in zip(results, batch, strict=True):
                weights = self.plan.weights(start == 0, last, result.device)
                room = out[item, start : start + self.plan.window]
                room += (weights * result)[: room.shape[0]]
        return torch.where(valid, out * peaks, 0.0)

    def _cut(self, signal, start):
        piece = signal[start : start + self.plan.window]
        return nn.functional.pad(piece, (0, self.plan.window - piece.shape[0]))


def _valid_samples(wavs, lengths):
    """Check a batch and give the (batch,) number of valid samples of each item."""
    if wavs.dim() != 2 or wavs.shape[1] == 0:
        raise ValueError(
            f"expected waveforms of shape (batch, time), got {tuple(wavs.shape)}"
        )
    if not torch.isfinite(wavs).all():
        raise ValueError("the waveform has NaN or infinite samples")
    if lengths is None:
        return torch.full((wavs.shape[0],), wavs.shape[1], device=wavs.device)
    if lengths.shape != wavs.shape[:1]:
        raise ValueError(
            f"expected {wavs.shape[0]} relative lengths, got {tuple(lengths.shape)}"
        )
    lengths = lengths.to(wavs.device)
    if not ((lengths > 0) & (lengths <= 1)).all():
        raise ValueError(
            f"relative lengths lie above 0 and up to 1, got {lengths.tolist()}"
        )
    return (lengths * wavs.shape[1]).round().long().clamp(min=1)
