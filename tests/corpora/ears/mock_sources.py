"""A mock of the benchmark's downloads: a few short files in the right places.

benchmark_csv holds what the rules of the benchmark's own generators, run serially with
numpy's global generator, wrote for it (with three ARNI responses drawn instead of a
thousand); EARS-WHAM_unsorted is EARS-WHAM with the noises listed backwards.
"""

import csv
import json

import numpy as np
import soundfile

from lafufu_sb.corpora.ears.sources import Request

RATE = 48000
SPEECH = {  # path below EARS: seconds and peak
    "p001/sentences_01_regular.wav": (13.99, 0.3),
    "p001/sentences_02_regular.wav": (14.0, 0.3),
    "p001/sentences_03_whisper.wav": (4.0, 0.0016),
    "p001/sentences_04_loud.wav": (3.99, 0.3),
    "p001/interjection_yes.wav": (4.5, 0.3),
    "p002/freeform_speech_01.wav": (24.0, 0.2),
    "p002/rainbow_01_loud.wav": (35.0, 0.97),
    "p099/sentences_09_slow.wav": (4.2, 0.002),
    "p100/emo_fear_sentences.wav": (5.0, 0.3),
    "p100/melodic_humming.wav": (4.5, 0.3),
    "p101/rainbow_02_fast.wav": (4.5, 0.2),
    "p102/emo_fear_sentences.wav": (4.0, 0.3),
    "p102/freeform_speech_01.wav": (12.0, 0.3),
    "p102/sentences_05_slow.wav": (30.0, 0.3),
    "p103/emo_fear_freeform.wav": (2.0, 0.3),
    "p103/rainbow_01_whisper.wav": (3.0, 0.0016),
    "p103/nonverbal_laughter.wav": (2.5, 0.3),
}
WHOLE = [[0, -1]]
TEST_LIST = {
    "p103": {
        "emo_fear_freeform": WHOLE,
        "rainbow_01_whisper": WHOLE,
        "nonverbal_laughter": WHOLE,
    },
    "p102": {
        "emo_fear_sentences": WHOLE,
        "freeform_speech_01": [[4800, 192000], [192000, 400000], [399900, -1]],
        "sentences_05_slow": WHOLE,
    },
}
NOISES = {  # name: seconds, channels, subset
    "a_bar.wav": (38.0, 2, "Train"),
    "c_street.wav": (36.0, 1, "Train"),
    "b_park.wav": (6.0, 2, "Train"),
    "d_hall.wav": (9.0, 2, "Valid"),
    "e_cafe.wav": (5.0, 2, "Test"),
    "f_cafe.wav": (12.0, 2, "Test"),
}
ROOMS = {  # path: RT60 in seconds, channels, rate
    "ACE-Challenge/ACE_Corpus_RIRN_Single/Single/Office_1/1/S_O1_1_RIR.wav": (0.4, 1),
    "ACE-Challenge/ACE_Corpus_RIRN_EM32/EM32/Hall/1/E_H_1_RIR.wav": (0.9, 3),
    "AIR/AIR_1_4/AIR_wav_files/air_binaural_lecture.wav": (0.8, 2),
    "AIR/AIR_1_4/AIR_wav_files/air_church.wav": (3.5, 2),
    "ARNI/numClosed_0-5/IR_1.wav": (0.6, 1),
    "ARNI/numClosed_0-5/IR_2.wav": (1.2, 1),
    "ARNI/numClosed_16-25/IR_3.wav": (0.5, 1),
    "ARNI/numClosed_26-35/IR_numClosed_28_numComb_2743_mic_4_sweep_5.wav": (0.5, 1),
    "BRUDEX/rir/low/rir_1.mat": (0.3, 2),
    "dEchorate/sofa/dEchorate_1.sofa": (0.7, 3),
    "DetmoldSRIR/SetA_SingleSources/Data/Room/r1.wav": (1.5, 2),
    "Palimpsest/Chapel/chapel 1.wav": (4.0, 2),
    "Palimpsest/Mine/mine.wav": (1.1, 1),
}


def syllables(rng, seconds, peak):
    """Noise with the envelope of syllables, of shape (samples,)."""
    time = np.arange(round(seconds * RATE)) / RATE
    signal = rng.standard_normal(time.size) * (0.05 + np.sin(9.0 * time) ** 2)
    return peak * signal / np.abs(signal).max()


def decay(rng, rt60, channels, rate):
    """A room response, of shape (taps, channels); the direct path comes late."""
    time = np.arange(round(0.7 * rt60 * rate)) / rate
    tail = 0.05 * rng.standard_normal((time.size, channels))
    tail *= 10.0 ** (-3.0 * time / rt60)[:, None]
    direct = np.zeros((200, channels))
    direct[-1] = rng.uniform(0.02, 0.9, channels)
    return np.concatenate([direct, tail * direct[-1]])


def write_room(path, rir, rate):
    """Write a response in the form that the file's type asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".wav":
        soundfile.write(path, rir, rate, "FLOAT")
        return
    import h5py

    with h5py.File(path, "w") as file:
        if path.suffix == ".sofa":
            file["Data.IR"] = rir.T[None]
            file["Data.SamplingRate"] = np.array([float(rate)])
        else:  # MATLAB 7.3
            file["data"], file["fs"] = rir.T, np.array([[float(rate)]])
            for name in ("data", "fs"):
                file[name].attrs["MATLAB_class"] = np.bytes_("double")


def write_speech(folder):
    """Write EARS and the test list below ``folder``."""
    rng = np.random.default_rng(0)
    for name, (seconds, peak) in SPEECH.items():
        path = folder / "EARS" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, syllables(rng, seconds, peak), RATE, "PCM_24")
    (folder / "test_files.json").write_text(json.dumps(TEST_LIST))


def write_noises(folder):
    """Write WHAM!48kHz below ``folder``."""
    rng = np.random.default_rng(1)
    corpus = folder / "WHAM48kHz" / "high_res_wham"
    (corpus / "audio").mkdir(parents=True)
    with open(corpus / "high_res_metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Filename", "File Length (sec)", "WHAM! Split"])
        for name, (seconds, channels, subset) in NOISES.items():
            writer.writerow([name, seconds, subset])
            noise = 0.1 * rng.standard_normal((round(seconds * RATE), channels))
            soundfile.write(corpus / "audio" / name, noise, RATE, "PCM_16")


def write_rooms(folder):
    """Write the room responses below ``folder``."""
    rng = np.random.default_rng(2)
    for name, (rt60, channels) in ROOMS.items():
        rate = 44100 if name.startswith("ARNI") else RATE
        write_room(folder / name, decay(rng, rt60, channels, rate), rate)


def ask(sources, output, task="EARS-WHAM", version="v1", **options):
    """Request a corpus of mock sources."""
    defaults = {"test_list": str(sources / "test_files.json")}
    return Request(task, str(sources), str(output), version, **(defaults | options))


def one_pair(folder, speech, noise):
    """A tree of a single recording and noise."""
    for path, recording in (
        (folder / "EARS/p001/a.wav", speech),
        (folder / "WHAM48kHz/high_res_wham/audio/n.wav", noise),
    ):
        path.parent.mkdir(parents=True)
        soundfile.write(path, recording, RATE, "FLOAT")
    return Request("EARS-WHAM", str(folder), str(folder), subsets=("train",))


def read_rows(path):
    """Rows of a csv, by column."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def pair_of(corpus, subset, row):
    """(degraded, clean) of a csv row."""
    (distorted,) = (corpus / subset).glob(f"[nr]*/{row['speaker']}/{row['id']}_*.wav")
    clean = corpus / subset / "clean" / row["speaker"] / f"{row['id']}.wav"
    assert {soundfile.info(p).subtype for p in (distorted, clean)} == {"FLOAT"}
    return soundfile.read(distorted)[0], soundfile.read(clean)[0]


def contents(folder):
    """Every file below a folder, as bytes."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}
