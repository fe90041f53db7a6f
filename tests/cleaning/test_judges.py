"""Loading recognisers and speaker models from their folders."""

import json

import pytest
import sentencepiece
import torch

from lafufu_sb.cleaning.judges import (
    folder_hash,
    load_gate,
    load_speaker_model,
    load_transcriber,
)
from lafufu_sb.cleaning.options import GateOptions
from lafufu_sb.errors import UsageError

SPEAKER = """
sample_rate: 16000
features: !new:speechbrain.lobes.features.Fbank
    n_mels: 8
norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding: !new:speechbrain.nnet.pooling.StatisticsPooling
    return_std: True
classifier: !new:torch.nn.Identity
modules:
    compute_features: !ref <features>
    mean_var_norm: !ref <norm>
    embedding_model: !ref <embedding>
    classifier: !ref <classifier>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
"""

RECOGNISER = """
sample_rate: 8000
tokenizer: !new:sentencepiece.SentencePieceProcessor
    model_file: {folder}/tokens.model
features: !new:speechbrain.lobes.features.Fbank
    sample_rate: 8000
    n_mels: 24
encoder: !new:speechbrain.nnet.containers.LengthsCapableSequential
    features: !ref <features>
    probabilities: !new:speechbrain.nnet.activations.Softmax
        apply_log: True
decoding_function: !name:speechbrain.decoders.ctc_greedy_decode
    blank_id: 0
modules:
    encoder: !ref <encoder>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
"""


@pytest.fixture
def speaker_model(tmp_path):
    (tmp_path / "hyperparams.yaml").write_text(SPEAKER)
    return tmp_path


@pytest.fixture
def recogniser(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abcdefghijklmnopqrstuvwxyz\n" * 20)
    sentencepiece.SentencePieceTrainer.Train(
        input=str(text),
        model_prefix=str(tmp_path / "tokens"),
        vocab_size=40,
        model_type="char",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    settings = RECOGNISER.replace("{folder}", str(tmp_path))
    (tmp_path / "hyperparams.yaml").write_text(settings)
    return tmp_path


def noise(seconds=1.0):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(int(16000 * seconds), generator=generator)


def test_speaker_model_embeds(speaker_model):
    embed = load_speaker_model(speaker_model)
    assert embed(noise()).shape == (16,)
    state = torch.get_rng_state()
    # SpeechBrain's pooling adds noise, by which the gate must not change its mind.
    assert torch.equal(embed(noise()), embed(noise()))
    assert torch.equal(torch.get_rng_state(), state)


def test_recogniser_hears_its_own_rate_and_gives_text(recogniser):
    recognise = load_transcriber(recogniser)
    text = recognise(noise())
    assert isinstance(text, str) and text == recognise(noise())


def test_options_make_the_gate(speaker_model):
    options = GateOptions(
        gate="none", speaker_model=str(speaker_model), min_cosine=0.5, judge_pieces=2
    )
    (judge,) = load_gate(options).judges
    assert (judge.limit, judge.pieces) == (0.5, 2)


def test_folders_of_no_model_are_refused(tmp_path):
    for load in (load_transcriber, load_speaker_model):
        with pytest.raises(FileNotFoundError, match="model folder .* does not exist"):
            load(tmp_path / "missing")
        with pytest.raises(UsageError, match="is no (recogniser|speaker model)"):
            load(tmp_path)


def test_hash_follows_content_and_names(tmp_path):
    def of(files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        return folder_hash(folder)

    files = {"a.yaml": "1", "sub/b.ckpt": "2"}
    assert of(files) == of(files) == of(files | {".hidden/c": "3"})
    changed = [{"a.yaml": "1", "sub/b.ckpt": "3"}, {"b.yaml": "1", "sub/b.ckpt": "2"}]
    assert len({of(files), *map(of, changed)}) == 3
    assert folder_hash(None) is None
    json.dumps(of(files))
