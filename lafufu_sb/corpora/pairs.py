"""Pairs of degraded and clean recordings for training and evaluation."""

import random
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from speechbrain.dataio.dataset import DynamicItemDataset

from lafufu_sb.audio.recordings import read, read_header
from lafufu_sb.audio.resampling import resample
from lafufu_sb.corpora.excerpts import write_wav
from lafufu_sb.corpora.spectra import bandwidth
from lafufu_sb.lobes.pre_enhancer import SignalPreEnhancer


def read_wav(path, sample_rate, start=0, samples=None):
    """Read the first channel of a recording, or a segment of it.

    Arguments
    ---------
    path : str or Path
        Any format of libsndfile.
    sample_rate : int
        Hz of the result; other rates are resampled.
    start : int
        First sample, at ``sample_rate``.
    samples : int, optional
        Number of samples, at ``sample_rate``; by default all. A shorter file gives
        fewer.

    Returns
    -------
    torch.Tensor
        (time,), float32.

    Raises
    ------
    UsageError, OSError
        If the file cannot be read.
    """
    stop = None if samples is None else start + samples
    if read_header(path).sample_rate == sample_rate:
        # Only the segment is read, so a crop of a long file is cheap.
        wavs, _ = read(path, start, -1 if samples is None else samples)
        return wavs[0].clone()
    wavs, rate = read(path)
    return resample(wavs[0].contiguous(), rate, sample_rate)[start:stop]


def wav_samples(path, sample_rate):
    """Number of samples that ``read_wav`` returns for a whole recording."""
    header = read_header(path)
    return -(-header.frames * sample_rate // header.sample_rate)


def fit(signal, samples, start=None):
    """Crop or pad the last axis to a number of samples.

    Arguments
    ---------
    signal : torch.Tensor
        (..., time)
    samples : int
        Length of the result.
    start : int, optional
        First sample of the crop; by default the crop is central. A shorter signal is
        padded with zeros on both sides, with the odd one on the right.

    Returns
    -------
    torch.Tensor
        (..., samples)

    Example
    -------
    >>> fit(torch.arange(5), 3)
    tensor([1, 2, 3])
    >>> fit(torch.ones(2), 5)
    tensor([0., 1., 1., 0., 0.])
    """
    missing = samples - signal.shape[-1]
    if missing >= 0:
        left = missing // 2
        return torch.nn.functional.pad(signal, (left, missing - left))
    start = -missing // 2 if start is None else start
    return signal[..., start : start + samples]


def level(distorted, *others):
    """Divide signals by the peak of the first one, unless it is silent.

    Arguments
    ---------
    distorted, *others : torch.Tensor
        (batch, time)

    Returns
    -------
    list of torch.Tensor
        (batch, time) each.
    """
    peak = distorted.abs().amax(dim=1, keepdim=True)
    peak = torch.where(peak > 0, peak, 1.0)
    return [signal / peak for signal in (distorted, *others)]


class Crops(NamedTuple):
    """A batch of crops, (batch, time) each, at the level of the distorted side.

    ``enhanced`` is the result of a ``SignalPreEnhancer``, or None.
    """

    distorted: torch.Tensor
    clean: torch.Tensor
    enhanced: torch.Tensor | None = None


class PairReader:
    """Reads the signals of an item; see ``paired_dataset``. Pickles into workers.

    Arguments
    ---------
    sample_rate, crop, seed, epoch_counter, mixer, enhancer, with_bandwidth
        See ``paired_dataset``.
    """

    def __init__(
        self,
        sample_rate,
        crop,
        seed,
        epoch_counter,
        mixer,
        enhancer=None,
        with_bandwidth=False,
    ):
        self.sample_rate, self.crop, self.seed = sample_rate, crop, seed
        self.epoch_counter, self.mixer = epoch_counter, mixer
        self.enhancer = enhancer
        self.with_bandwidth = with_bandwidth
        self._bandwidths = {}

    def __call__(self, item, noisy_wav, clean_wav):
        """What ``paired_dataset`` lists of an item."""
        signals = self._signals(item, noisy_wav, clean_wav)
        if self.with_bandwidth:
            if clean_wav not in self._bandwidths:
                clean = read_wav(clean_wav, self.sample_rate).numpy()
                self._bandwidths[clean_wav] = bandwidth(clean, self.sample_rate)
            return [*signals, self._bandwidths[clean_wav]]
        return signals

    def _signals(self, item, noisy_wav, clean_wav):
        if self.crop is not None and self.mixer is not None:
            return self._mixed(item, clean_wav)
        paths = [noisy_wav, clean_wav]
        if self.enhancer is not None:
            paths.append(self.enhancer.file(item, noisy_wav))
        if self.crop is None:
            signals = [read_wav(path, self.sample_rate) for path in paths]
            samples = min(len(signal) for signal in signals)
            return [signal[:samples] for signal in signals]
        length = min(wav_samples(path, self.sample_rate) for path in paths)
        draw = random.Random(f"{self.seed}/{self._epoch}/{item}").random()
        start = int(draw * (max(0, length - self.crop) + 1))
        samples = min(self.crop, length)
        return [
            fit(read_wav(path, self.sample_rate, start, samples), self.crop)
            for path in paths
        ]

    @property
    def _epoch(self):
        return 0 if self.epoch_counter is None else self.epoch_counter.current

    def _mixed(self, item, clean_wav):
        stream = zlib.crc32(f"{self._epoch}/{item}".encode())
        rng = numpy.random.default_rng([self.seed, stream])
        lead = 0 if self.enhancer is None else self.enhancer.lead
        mixed = self.mixer(clean_wav, lead + self.crop, rng)
        signals = [torch.from_numpy(signal) for signal in mixed]
        if self.enhancer is not None:
            signals.append(self.enhancer(signals[0]))
        return [signal[lead:] for signal in signals]


class PairEnhancer:
    """Pre-enhances the distorted side of pairs, where data are read.

    With workers of the data loader this runs beside the training steps.

    Arguments
    ---------
    pre_enhancer : SignalPreEnhancer
        The enhancer.
    sample_rate : int
        Hz.
    folder : str or Path
        Keeps the results of whole recordings, so that each is computed once.
    """

    def __init__(self, pre_enhancer, sample_rate, folder):
        self.pre_enhancer, self.sample_rate = pre_enhancer, sample_rate
        self.folder = Path(folder)
        self.lead = round(pre_enhancer.lead_seconds * sample_rate)

    @classmethod
    def of(cls, pre_enhancer, sample_rate, folder):
        """One for a ``SignalPreEnhancer``; None for other pre-enhancers."""
        if isinstance(pre_enhancer, SignalPreEnhancer):
            return cls(pre_enhancer, sample_rate, folder)
        return None

    def __call__(self, distorted):
        """(time,) to (time,)."""
        peak = distorted.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
        return peak * self.pre_enhancer.enhance(distorted / peak, self.sample_rate)

    def file(self, item, distorted_path):
        """Path of the enhanced version of a recording, computed if it is missing."""
        path = self.folder / f"{item}.wav"
        if not path.exists():
            enhanced = self(read_wav(distorted_path, self.sample_rate))
            write_wav(path, enhanced.numpy(), self.sample_rate, "FLOAT")
        return path


def paired_dataset(
    manifest,
    *,
    sample_rate,
    crop=None,
    seed=0,
    epoch_counter=None,
    mixer=None,
    enhancer=None,
    with_bandwidth=False,
):
    """Build a data set of pairs from a manifest.

    Arguments
    ---------
    manifest : str or Path
        JSON: ``{id: {"noisy_wav": path, "clean_wav": path, ...}}``.
    sample_rate : int
        Hz.
    crop : int, optional
        Length of a random crop in samples; by default recordings are whole. Its place
        depends only on ``seed``, the epoch and the item: a resumed run draws the same
        crops as an uninterrupted one, with any number of workers.
    seed : int
        Seed of the crops.
    epoch_counter : EpochCounter, optional
        Source of the epoch.
    mixer : callable, optional
        ``mixer(clean_wav, crop, rng)`` draws a pair of crops from the clean recording,
        see ``lafufu_sb.corpora.online``. The degraded recording is then not read.
    enhancer : PairEnhancer, optional
        Gives a third signal.
    with_bandwidth : bool
        Whether items tell up to which frequency the clean recording has content.

    Returns
    -------
    DynamicItemDataset
        Items with ``id``, ``noisy_sig``, ``clean_sig`` and, with an enhancer,
        ``enhanced_sig``, (time,) each, and on request ``bandwidth`` in Hz. It can
        be pickled, so data loaders may start their workers by any method.
    """
    provided = ["noisy_sig", "clean_sig"]
    if enhancer is not None:
        provided.append("enhanced_sig")
    if with_bandwidth:
        provided.append("bandwidth")
    read = PairReader(
        sample_rate, crop, seed, epoch_counter, mixer, enhancer, with_bandwidth
    )
    reader = {
        "func": read,
        "takes": ["id", "noisy_wav", "clean_wav"],
        "provides": provided,
    }
    return DynamicItemDataset.from_json(
        str(manifest), dynamic_items=[reader], output_keys=["id", *provided]
    )
