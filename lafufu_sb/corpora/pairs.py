"""Pairs of distorted and clean recordings for training and evaluation."""

import random
import zlib

import numpy
import soundfile
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes

from lafufu_sb.audio.resampling import resample


def read_wav(path, sample_rate, start=0, samples=None):
    """Read the first channel of a recording, or a segment of it.

    Arguments
    ---------
    path : str or Path
        Anything that soundfile reads.
    sample_rate : int
        Hz of the result; other rates are resampled.
    start : int
        First sample, at ``sample_rate``.
    samples : int, optional
        How many, at ``sample_rate``; by default all. A shorter file gives fewer.

    Returns
    -------
    torch.Tensor
        (time,), float32.
    """
    info = soundfile.info(str(path))
    stop = None if samples is None else start + samples
    if info.samplerate == sample_rate:
        # Only the segment is read: a crop of a long file costs no more than its length.
        wav, _ = soundfile.read(
            str(path), start=start, stop=stop, dtype="float32", always_2d=True
        )
        return torch.from_numpy(wav[:, 0].copy())
    wav, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    wav = torch.from_numpy(wav[:, 0].copy())
    return resample(wav, rate, sample_rate)[start:stop]


def wav_samples(path, sample_rate):
    """Samples that ``read_wav`` gives for a whole recording."""
    info = soundfile.info(str(path))
    return -(-info.frames * sample_rate // info.samplerate)


def fit(signal, samples, start=None):
    """Crop or pad the last axis to a number of samples.

    Arguments
    ---------
    signal : torch.Tensor
        (..., time)
    samples : int
        Wanted length.
    start : int, optional
        First sample of the crop; by default the crop is central. Shorter signals get
        half of the missing zeros on each side, the odd one on the right.

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


def level(distorted, clean):
    """Divide both by the distorted one's peak; silent items are left alone.

    Arguments
    ---------
    distorted, clean : torch.Tensor
        (batch, time)

    Returns
    -------
    tuple of torch.Tensor
        The two, levelled.
    """
    peak = distorted.abs().amax(dim=1, keepdim=True)
    peak = torch.where(peak > 0, peak, 1.0)
    return distorted / peak, clean / peak


def paired_dataset(
    manifest, *, sample_rate, crop=None, seed=0, epoch_counter=None, mixer=None
):
    """Data set of pairs from a manifest.

    Arguments
    ---------
    manifest : str or Path
        JSON: ``{id: {"noisy_wav": path, "clean_wav": path, ...}}``.
    sample_rate : int
        Hz.
    crop : int, optional
        Samples of a random crop; by default whole recordings. The place depends on
        ``seed``, the epoch and the item alone: a resumed run draws what the
        uninterrupted one would have drawn, with any number of workers.
    seed : int
        Of the crops.
    epoch_counter : EpochCounter, optional
        Tells the epoch.
    mixer : callable, optional
        ``mixer(clean_wav, crop, rng)`` draws a pair of crops from the clean recording
        (``lafufu_sb.corpora.online``); the distorted recording is then not read.

    Returns
    -------
    DynamicItemDataset
        Items with ``id``, ``noisy_sig`` and ``clean_sig``, (time,) each.
    """

    @takes("id", "noisy_wav", "clean_wav")
    @provides("noisy_sig", "clean_sig")
    def read_pair(item, noisy_wav, clean_wav):
        if crop is None:
            pair = [read_wav(path, sample_rate) for path in (noisy_wav, clean_wav)]
            samples = min(len(signal) for signal in pair)
            return [signal[:samples] for signal in pair]
        epoch = 0 if epoch_counter is None else epoch_counter.current
        if mixer is not None:
            stream = zlib.crc32(f"{epoch}/{item}".encode())
            rng = numpy.random.default_rng([seed, stream])
            return [torch.from_numpy(s) for s in mixer(clean_wav, crop, rng)]
        paths = (noisy_wav, clean_wav)
        length = min(wav_samples(path, sample_rate) for path in paths)
        draw = random.Random(f"{seed}/{epoch}/{item}").random()
        start = int(draw * (max(0, length - crop) + 1))
        return [
            fit(read_wav(path, sample_rate, start, min(crop, length)), crop)
            for path in paths
        ]

    return DynamicItemDataset.from_json(
        str(manifest),
        dynamic_items=[read_pair],
        output_keys=["id", "noisy_sig", "clean_sig"],
    )
