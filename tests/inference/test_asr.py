"""Restoration in front of a recogniser."""

import csv
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import soundfile
import torch
from recogniser import SENTENCES, clean_paths, train_recogniser
from runs import ROOT, train_environment
from speechbrain.inference.ASR import EncoderASR

from lafufu_sb import EnhanceLatent
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.errors import UsageError
from lafufu_sb.inference.asr import (
    FasterWhisper,
    RestoredASR,
    normalise_text,
    read_speech,
)

ASR_RECIPE = ROOT / "recipes" / "EARS" / "ASR"


@pytest.fixture(scope="module")
def recogniser_folder(tmp_path_factory):
    return train_recogniser(tmp_path_factory.mktemp("recogniser"))


@pytest.fixture(scope="module")
def recogniser(recogniser_folder):
    return EncoderASR.from_hparams(source=str(recogniser_folder))


@pytest.fixture(scope="module")
def enhancer(tiny_model):
    return EnhanceLatent.from_hparams(source=tiny_model)


def test_without_restoration_the_chain_is_the_recogniser(enhancer, recogniser):
    chain = RestoredASR(enhancer, recogniser, dry=1.0)
    heard = [chain.transcribe_file(path) for path in clean_paths()]
    assert heard == list(SENTENCES.values())


def test_relative_lengths_go_through_the_chain(enhancer, recogniser):
    """A padded batch gives what its items give alone."""
    clips = [read_speech(path, enhancer.sample_rate) for path in clean_paths()]
    longest = max(map(len, clips))
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    lengths = torch.tensor([len(clip) / longest for clip in clips])
    words, tokens = RestoredASR(enhancer, recogniser, dry=1.0).transcribe_batch(
        batch, lengths
    )
    assert words == list(SENTENCES.values()) and len(tokens) == len(clips)
    chain = RestoredASR(enhancer, recogniser)
    for restored, clip in zip(chain.restore_batch(batch, lengths), clips, strict=True):
        alone = chain.restore_batch(clip[None], torch.ones(1))[0]
        assert torch.allclose(restored[: len(clip)], alone, atol=1e-5)
    assert len(chain.transcribe_batch(batch, lengths)[0]) == len(clips)


def test_dry_mixes_the_input_with_the_restored():
    enhancer = SimpleNamespace(
        sample_rate=48000, enhance_batch=lambda wavs, lengths, dry: dry * wavs
    )
    chain = RestoredASR(enhancer, SimpleNamespace(), dry=0.25)
    mixed = chain.restore_batch(torch.ones(1, 9), torch.ones(1))
    assert torch.allclose(mixed, torch.full((1, 9), 0.25))


def test_the_recogniser_hears_its_own_rate():
    heard = []
    recogniser = SimpleNamespace(
        sample_rate=8000,
        transcribe_batch=lambda wavs, lengths: (heard.append(wavs), heard),
    )
    enhancer = SimpleNamespace(sample_rate=48000)
    chain = RestoredASR(enhancer, recogniser, dry=1.0)
    chain.transcribe_batch(torch.zeros(1, 48000), torch.ones(1))
    assert heard[0].shape == (1, 8000)


@pytest.mark.parametrize("dry", [0.0, 1.0])
def test_audio_of_the_chain_has_the_rate_of_the_enhancer(enhancer, tmp_path, dry):
    soundfile.write(tmp_path / "in.wav", [[0.5, -0.5], [0.5, 0.1]] * 400, 16000)
    recogniser = SimpleNamespace(transcribe_batch=lambda wavs, _: (wavs, None))
    chain = RestoredASR(enhancer, recogniser, dry=dry)
    wav = chain.load_audio(tmp_path / "in.wav")
    assert wav.shape == (2400,)
    assert chain.transcribe_batch(wav[None], torch.ones(1))[0].shape == (1, 800)
    with pytest.raises(UsageError, match="transpose"):
        chain.transcribe_batch(wav[:, None], torch.ones(2400))
    with pytest.raises(UsageError, match=r"shape \(batch, time\)"):
        chain.transcribe_batch(wav, torch.ones(1))


def test_impossible_share_is_refused():
    message = "dry must lie between 0 and 1, got 1.5"
    with pytest.raises(UsageError, match=message):
        RestoredASR(None, None, dry=1.5)


def test_speech_is_read_as_one_channel(tmp_path):
    soundfile.write(tmp_path / "two.wav", [[0.5, -0.5], [0.5, 0.1]] * 800, 16000)
    assert read_speech(tmp_path / "two.wav", 48000).shape == (4800,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("Dogs, are sitting!", ["dogs", "are", "sitting"]),
        ("I don’t — 42.", ["i", "don't", "42"]),
        ("Grün ist's", ["grün", "ist's"]),
        ("  Straße -- NR. 5?", ["strasse", "nr", "5"]),
    ],
)
def test_text_is_normalised(text, words):
    assert normalise_text(text) == words


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=ASR_RECIPE,
        env=train_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def sentences(tmp_path):
    """What prepare_sentences.py makes of a corpus of two clips, one without text."""
    corpus = tmp_path / "EARS-WHAM"
    shutil.copytree(mini_corpus_folder("EARS-WHAM") / "test", corpus / "test")
    with open(corpus / "simulated_test.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("id", "speech_files"), ("00000", "a1.wav")])
        writer.writerow(("00001", "a2.wav+unknown.wav"))
    text = next(iter(SENTENCES.values()))
    transcripts = tmp_path / "transcripts.json"
    transcripts.write_text(json.dumps({"a*": text}))
    output = tmp_path / "sentences.csv"
    process = run("prepare_sentences.py", corpus, "test", transcripts, "-o", output)
    assert process.returncode == 0, process.stderr
    return output


def test_recipe_measures_each_share(sentences, tiny_model, recogniser_folder, tmp_path):
    with open(sentences, newline="") as file:
        assert [row["ID"] for row in csv.DictReader(file)] == ["S06001/00000"]
    # the clean recording in the place of the noisy one: its words are known
    text = sentences.read_text().replace("/noisy/", "/clean/")
    sentences.write_text(text.replace("00000_0.0dB.wav", "00000.wav"))
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        f"base: {ASR_RECIPE}/hparams/speechbrain.yaml\n"
        "recogniser: !name:speechbrain.inference.ASR.EncoderASR.from_hparams\n"
        f"    source: {recogniser_folder}\n"
    )
    process = run(
        "evaluate.py",
        recipe,
        f"--test_csv={sentences}",
        f"--output_folder={tmp_path / 'out'}",
        f"--restorer={tiny_model}",
        "--dry_values=[1.0, 0.0]",
        "--repeats=2",
    )
    assert process.returncode == 0, process.stderr
    with open(tmp_path / "out" / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["dry"]) for row in rows] == [1.0, 0.0]
    assert float(rows[0]["WER"]) == 0.0 and int(rows[0]["words"]) == 16
    assert "WER" in (tmp_path / "out" / "wer_dry0.txt").read_text()


def test_recipe_refuses_what_it_cannot_score(tmp_path):
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("ID,duration,wav\n1,1.0,a.wav\n")
    process = run("evaluate.py", "hparams/whisper.yaml", f"--test_csv={wrong}")
    assert process.returncode == 1
    assert "no rows with wrd" in process.stderr.splitlines()[-1]


def test_whisper_hears_each_recording_alone_without_its_padding(monkeypatch, tmp_path):
    """With a stand-in for the package, which a test environment lacks."""
    heard = []

    class WhisperModel:
        def __init__(self, source, **options):
            assert source == str(tmp_path) and options["device"] == "cuda"
            assert options["device_index"] == 1 and options["local_files_only"]

        def transcribe(self, wav, **options):
            heard.append((len(wav), options))
            texts = (" One", " two")
            return (SimpleNamespace(text=t, tokens=[len(t)]) for t in texts), None

    package = SimpleNamespace(WhisperModel=WhisperModel)
    seeds = []
    monkeypatch.setitem(sys.modules, "faster_whisper", package)
    monkeypatch.setitem(
        sys.modules, "ctranslate2", SimpleNamespace(set_random_seed=seeds.append)
    )
    run_opts = {"device": "cuda:1"}
    FasterWhisper(tmp_path, "en", run_opts)
    assert seeds == []
    whisper = FasterWhisper(tmp_path, "en", run_opts, no_repeat_ngram_size=5, seed=3)
    assert seeds == [3]
    result = whisper.transcribe_batch(torch.zeros(2, 100), torch.tensor([1.0, 0.7]))
    assert result == (["One two", "One two"], [[4, 4], [4, 4]])
    assert [length for length, _ in heard] == [100, 70]
    for _, options in heard:
        assert options["no_repeat_ngram_size"] == 5 and options["temperature"] == 0
        assert options["language"] == "en" and options["beam_size"] == 5
        assert options["condition_on_previous_text"] is False
