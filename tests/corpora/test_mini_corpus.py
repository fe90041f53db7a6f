"""The recordings that come with the package."""

import numpy as np
import pytest
import soundfile

from lafufu_sb.corpora import mixing
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.tasks import TASKS
from lafufu_sb.errors import UsageError

FEWEST = {"train": 2, "valid": 1, "test": 2}


def pairs(task, subset):
    """(distorted, clean) paths of a subset, by id."""
    folder = mini_corpus_folder(task) / subset
    clean = {
        (p.parent.name, p.stem): p for p in sorted((folder / "clean").glob("*/*.wav"))
    }
    distorted = {
        (p.parent.name, p.stem.split("_")[0]): p
        for p in sorted((folder / TASKS[task].degraded).glob("*/*.wav"))
    }
    assert clean.keys() == distorted.keys()
    return [(distorted[key], clean[key]) for key in clean]


@pytest.mark.parametrize("subset", sorted(FEWEST))
@pytest.mark.parametrize("task", TASKS)
def test_pairs_are_mono_48_khz_and_of_equal_length(task, subset):
    found = pairs(task, subset)
    assert len(found) >= FEWEST[subset]
    for distorted, clean in found:
        infos = [soundfile.info(path) for path in (distorted, clean)]
        for info in infos:
            assert (info.samplerate, info.channels, info.subtype) == (
                48000,
                1,
                "PCM_16",
            )
        assert infos[0].frames == infos[1].frames
        if subset == "test":
            assert 2.5 <= infos[0].duration <= 5.0


def test_noisy_names_tell_the_snr():
    for subset in FEWEST:
        for noisy, clean in pairs("EARS-WHAM", subset):
            mixture, speech = (soundfile.read(path)[0] for path in (noisy, clean))
            noise = mixing.loudness(mixture - speech, 48000)
            snr_db = mixing.loudness(speech, 48000) - noise
            label = noisy.stem.split("_")[1]
            assert snr_db == pytest.approx(float(label.removesuffix("dB")), abs=0.1)


def test_reverberation_is_audible_and_aligned():
    for reverberant, clean in pairs("EARS-Reverb", "test"):
        distorted, speech = (soundfile.read(path)[0] for path in (reverberant, clean))
        assert float(reverberant.stem.split("_")[1]) > 0.5
        correlation = np.fft.irfft(
            np.fft.rfft(distorted, 2**19) * np.conj(np.fft.rfft(speech, 2**19))
        )
        assert np.abs(correlation[:9600]).argmax() < 480  # peak within 10 ms
        scaled = np.dot(distorted, speech) / np.dot(speech, speech) * speech
        ratio = np.sum(scaled**2) / np.sum((distorted - scaled) ** 2)
        assert 10 * np.log10(ratio) < 3.0


@pytest.mark.parametrize("task", TASKS)
def test_no_speaker_folder_is_in_two_subsets(task):
    speakers = [{c.parent.name for _, c in pairs(task, s)} for s in sorted(FEWEST)]
    assert len(set.union(*speakers)) == sum(map(len, speakers))


def test_unknown_tasks_are_refused():
    with pytest.raises(UsageError, match="EARS-WHAM, EARS-Reverb"):
        mini_corpus_folder("WHAM")
