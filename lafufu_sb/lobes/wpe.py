"""Weighted prediction error (WPE): linear dereverberation as a pre-enhancer."""

import torch

from lafufu_sb.errors import real_number, whole_number
from lafufu_sb.lobes.pre_enhancer import StreamingPreEnhancer

CROSSOVER = 4000  # Hz
BINS = 16  # that are computed at once: their frames fit into a cache
FLOOR = 1e-10  # of the power of a frame, relative to the largest in its bin
LOADING = 1e-6  # of the correlation matrix, relative to its mean eigenvalue
HOP = 0.008  # seconds between frames; a frame is four of them long
TINY = 1e-20  # keeps silence from dividing by zero
FADE = 1.0  # seconds over which blocks are cross-faded


class WPE(StreamingPreEnhancer):
    """Predicts late reverberation from earlier frames and subtracts it.

    Each STFT bin has its own linear filter, which is estimated from the recording
    itself: frames are predicted from those at least ``delay_frames`` earlier, and the
    squared errors are divided by the power of the dry speech, which is the result of
    the iteration before. The early reflections stay. Nothing is trained. Long
    recordings are processed in blocks, which are cross-faded over one second.

    Source: Nakatani et al. 2010, "Speech dereverberation based on variance-normalized
    delayed linear prediction".

    Arguments
    ---------
    sample_rate : int
        Hz.
    taps : int
        Frames of 8 ms from which a frame is predicted; half as many from 4 kHz on,
        where rooms reverberate for a shorter time.
    delay_frames : int
        Distance of the last of them from the predicted one. A window has four frames.
    iterations : int
        Number of estimates of the power.
    block_seconds : float
        Length of a block. Within a block the room is assumed to stay the same.

    Example
    -------
    >>> WPE().enhance(torch.zeros(1000), 48000).shape
    torch.Size([1000])
    """

    lead_seconds = 4.0

    def __init__(
        self,
        sample_rate=48000,
        taps=40,
        delay_frames=2,
        iterations=2,
        block_seconds=10.0,
    ):
        super().__init__()
        self.sample_rate = whole_number("sample_rate", sample_rate, 1000, 10**6)
        self.taps = whole_number("taps", taps, 1, 200)
        self.delay_frames = whole_number("delay_frames", delay_frames, 1, 100)
        self.iterations = whole_number("iterations", iterations, 1, 20)
        real_number("block_seconds", block_seconds, 2, 600)
        self.delay = round(block_seconds * sample_rate)

    def open(self, sample_rate):
        """See ``StreamingPreEnhancer``."""
        self.check_rate(sample_rate)
        return _Blocks(self.dereverberate, self.delay, round(FADE * sample_rate))

    def dereverberate(self, signal):
        """Dereverberate a signal as one block, (samples,) to (samples,).

        Digital silence at the end, such as padding, does not count.
        """
        samples = len(signal)
        signal = signal[: 1 + int(signal.nonzero().max())] if signal.any() else signal
        hop = round(HOP * self.sample_rate)
        window = torch.hann_window(4 * hop, device=signal.device)
        form = {"n_fft": 4 * hop, "hop_length": hop, "window": window}
        spectrum = torch.stft(signal, **form, pad_mode="constant", return_complex=True)
        low = round(CROSSOVER * 4 * HOP)  # bins
        taps = [self.taps] * low + [-(-self.taps // 2)] * (len(spectrum) - low)
        parts = [
            self._filtered(spectrum[first : first + BINS], taps[first])
            for first in range(0, len(spectrum), BINS)
        ]
        enhanced = torch.istft(torch.cat(parts), **form, length=len(signal))
        return torch.nn.functional.pad(enhanced, (0, samples - len(signal)))

    def _filtered(self, spectrum, taps):
        """(bins, frames), complex, to the same."""
        reach = self.delay_frames + taps - 1
        padded = torch.nn.functional.pad(spectrum, (reach, 0))
        # past[b, k, t] is frame t - delay_frames - k.
        past = padded.unfold(1, taps, 1)[:, : spectrum.shape[1]].flip(2)
        past = past.transpose(1, 2).contiguous()
        dry = spectrum
        # Digital silence after speech is no end of reverberation that could be learnt.
        loud = spectrum.abs().square()
        heard = (loud > FLOOR * loud.amax(dim=1, keepdim=True)).to(loud)
        for _ in range(self.iterations):
            power = dry.abs().square()
            floor = FLOOR * power.amax(dim=1, keepdim=True) + TINY
            weighted = past * (heard / power.clamp(min=floor))[:, None]
            correlation = (weighted @ past.mH).to(torch.complex128)
            loading = LOADING * correlation.diagonal(dim1=1, dim2=2).real.mean(dim=1)
            identity = torch.eye(taps, dtype=correlation.dtype)
            correlation += (loading[:, None, None] + TINY) * identity
            cross = (weighted @ spectrum.conj()[:, :, None]).to(torch.complex128)
            weights = torch.linalg.solve(correlation, cross).to(spectrum.dtype)
            dry = spectrum - (weights.mH @ past)[:, 0]
        return dry


class _Blocks:
    """Cuts a stream into overlapping blocks for a function of signals.

    Arguments
    ---------
    function : callable
        (block,) to (block,).
    block, fade : int
        Samples of a block, and of the cross-fade with the next. The output lags behind
        by a block.
    """

    def __init__(self, function, block, fade):
        self.function, self.block, self.fade = function, block, fade
        self._waiting = torch.zeros(0)
        self._ready = [torch.zeros(block)]
        self._tail = None
        self._rise = torch.linspace(0.0, 1.0, fade + 2)[1:-1]

    def __call__(self, samples):
        """(n,) to (n,)."""
        self._waiting = torch.cat([self._waiting, samples])
        while len(self._waiting) >= self.block:
            done = self.function(self._waiting[: self.block])
            if self._tail is not None:
                done[: self.fade] *= self._rise
                done[: self.fade] += self._tail * (1 - self._rise)
            self._tail = done[-self.fade :].clone()
            self._ready.append(done[: -self.fade])
            self._waiting = self._waiting[self.block - self.fade :].clone()
        ready = torch.cat(self._ready)
        self._ready = [ready[len(samples) :].clone()]
        return ready[: len(samples)]
