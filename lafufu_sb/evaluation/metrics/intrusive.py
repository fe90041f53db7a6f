"""Metrics against the clean signal: SI-SDR, PESQ, ESTOI, log-spectral distance."""

import subprocess
import sys
import warnings

import numpy as np
import torch

from lafufu_sb.evaluation.metrics.registry import (
    SPEECH_RATE,
    Measured,
    metric,
    not_judged,
    to_speech_rate,
)

# The C code of the pesq package holds 50 utterances and writes past its arrays on more:
# a segmentation fault (ludlows/PESQ#18) that would end the caller. An utterance needs
# 0.4 s with its pause, so 20 s are safe; longer clips get a process of their own.
_PESQ_SAFE = 20 * SPEECH_RATE  # samples
_PESQ_CHILD = """
import sys, numpy, pesq
estimate, reference = numpy.frombuffer(sys.stdin.buffer.read()).reshape(2, -1)
sys.stdout.write(repr(float(pesq.pesq(16000, reference, estimate, "wb"))))
"""


@metric("si_sdr", "SI-SDR")
def si_sdr(estimate, reference, sample_rate):
    """Scale-invariant signal-to-distortion ratio, dB; the mean is not removed.

    Bounded to about +-156 dB (double precision), so that a perfect estimate leaves
    means finite. Source: Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019,
    eq. (4).

    Example
    -------
    >>> reference = np.ones(4)
    >>> estimate = reference + np.array([0.1, -0.1, 0.1, -0.1])
    >>> round(si_sdr(estimate, reference, 48000).value, 3)
    20.0
    """
    target = (estimate @ reference) / (reference @ reference) * reference
    distortion = estimate - target
    floor = np.finfo(np.float64).eps * (estimate @ estimate)
    ratio = (target @ target + floor) / (distortion @ distortion + floor)
    return Measured(float(10.0 * np.log10(ratio)))


@metric("pesq", "PESQ", packages=("pesq", "soxr"), extra="pesq")
def pesq_wb(estimate, reference, sample_rate):
    """Wide-band PESQ (ITU-T P.862.2) at 16 kHz: MOS-LQO, 1.04 to 4.64.

    NaN for less than a quarter of a second, no utterance, or more than about 50
    utterances, on which the package fails.

    Example
    -------
    >>> time = np.arange(32000) / 16000
    >>> speech = np.sin(6000 * time) * np.sin(10 * time)
    >>> round(pesq_wb(speech, speech, 16000).value, 2)
    4.64
    """
    from pesq import PesqError, pesq

    estimate = to_speech_rate(estimate, sample_rate)
    reference = to_speech_rate(reference, sample_rate)
    try:
        if len(reference) > _PESQ_SAFE:
            return Measured(_pesq_in_child(estimate, reference))
        return Measured(float(pesq(SPEECH_RATE, reference, estimate, "wb")))
    except (PesqError, ValueError) as error:  # ValueError: NaN inside the package
        return not_judged(f"PESQ gives NaN: {error}")


def _pesq_in_child(estimate, reference):
    """PESQ of two 16-kHz signals, (time,), in a process that may crash."""
    command = [sys.executable, "-c", _PESQ_CHILD]
    pair = np.stack([estimate, reference]).tobytes()
    child = subprocess.run(command, input=pair, capture_output=True)
    if child.returncode:
        reason = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        reason = reason or "over 50 utterances? Score shorter pieces."
        raise ValueError(f"its process ended with {child.returncode}: {reason}")
    return float(child.stdout)


@metric("estoi", "ESTOI", packages=("pystoi",), extra="metrics")
def estoi(estimate, reference, sample_rate):
    """Extended short-time objective intelligibility, about 0 to 1.

    NaN when fewer than 30 frames (0.4 s) remain without the silent parts of the
    reference. Source: Jensen and Taal, IEEE/ACM TASLP 24(11), 2016; the package pystoi.

    Example
    -------
    >>> speech = np.random.default_rng(0).standard_normal(16000)
    >>> round(estoi(speech, speech, 16000).value, 3)
    1.0
    """
    from pystoi import stoi

    value = too_few_frames = 1e-5  # what pystoi returns, with a warning
    if len(reference) / sample_rate > 0.4:  # pystoi fails on less than one frame
        # pystoi draws noise from NumPy's global generator. Measuring must not advance
        # that in the middle of a training.
        state = np.random.get_state()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                value = float(stoi(reference, estimate, sample_rate, extended=True))
        finally:
            np.random.set_state(state)
    if value == too_few_frames:
        return not_judged("ESTOI gives NaN: fewer than 30 frames (0.4 s) of speech")
    return Measured(value)


@metric("lsd", "LSD", judges_silence=True)
def lsd(estimate, reference, sample_rate):
    """Log-spectral distance: mean over frames of the RMS over bins, decades of power.

    Of the difference of log10 power spectra (+1e-8), 2048-sample Hann frames, hop
    512, at any rate (Gray and Markel, IEEE TASSP 24(5), 1976): 1 is 10 dB, 0 is
    identical. Compare at equal level.

    Example
    -------
    >>> speech = np.random.default_rng(0).standard_normal(48000)
    >>> round(lsd(10 * speech, speech, 48000).value, 3)
    2.0
    """
    pair = torch.from_numpy(np.stack([estimate, reference]))
    window = torch.hann_window(2048, dtype=torch.float64)
    # Zeros at the ends: reflection refuses signals shorter than half a frame.
    keys = {"window": window, "pad_mode": "constant", "return_complex": True}
    spectra = torch.stft(pair, 2048, 512, **keys)  # (2, bins, frames)
    powers = torch.log10(spectra.abs().square() + 1e-8)
    return Measured(float((powers[0] - powers[1]).square().mean(dim=0).sqrt().mean()))
