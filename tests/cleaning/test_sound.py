"""Sounds in memory and on the disk are the same to a judge."""

import math

import pytest
import torch
from corpora import write_noise

from lafufu_sb.audio.files import read_recording
from lafufu_sb.audio.recordings import Recording
from lafufu_sb.cleaning.sound import FileSound, MemorySound, estimate_snr, spread


def test_memory_and_disk_give_the_same_pieces(tmp_path):
    path = write_noise(tmp_path / "a.wav", 1.0, 16000, 2)
    memory, disk = MemorySound(*read_recording(path)), FileSound(Recording(path))
    assert (
        (memory.seconds, memory.channels) == (disk.seconds, disk.channels) == (1.0, 2)
    )
    for start, seconds in ((0.0, 0.3), (0.25, 0.5), (0.9, 5.0), (2.0, 1.0)):
        assert torch.equal(memory.read(start, seconds), disk.read(start, seconds))


@pytest.mark.parametrize("seconds", [0.1, 10.0, 10.1, 95.0])
def test_pieces_lie_inside_and_reach_both_ends(seconds):
    for most in (0, 1, 3):
        starts = spread(seconds, 10.0, most)
        assert starts[0] == 0.0 and starts == sorted(starts)
        assert not most or len(starts) <= most
        assert starts[-1] + 10.0 <= max(seconds, 10.0) + 1e-9
        if most == 0:
            assert starts[-1] + 10.0 >= seconds
            assert all(b - a <= 10.0 for a, b in zip(starts, starts[1:], strict=False))


@pytest.mark.parametrize("snr", [-10.0, 0.0, 20.0])
def test_snr_of_a_perfect_restoration_is_right(snr):
    generator = torch.Generator().manual_seed(0)
    speech, noise = torch.randn(2, 1, 48000, generator=generator)
    mixed = speech + 10 ** (-snr / 20) * noise
    sounds = MemorySound(mixed, 48000), MemorySound(speech, 48000)
    assert estimate_snr(*sounds) == pytest.approx(snr, abs=0.2)


def test_snr_across_rates_and_of_silence():
    time = torch.arange(16000)[None] / 16000
    tone = torch.sin(2 * torch.pi * 300 * time)
    wide = torch.sin(2 * torch.pi * 300 * torch.arange(48000)[None] / 48000)
    assert estimate_snr(MemorySound(tone, 16000), MemorySound(wide, 48000)) > 30
    silence = MemorySound(torch.zeros(1, 100), 16000)
    assert math.isnan(estimate_snr(silence, silence))
