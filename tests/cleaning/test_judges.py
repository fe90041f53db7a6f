"""Loading recognisers and speaker models from their folders."""

import json

import pytest
import sentencepiece
import torch

from lafufu_sb.cleaning import judges as module
from lafufu_sb.cleaning.judges import (
    JUDGES,
    choose_judges,
    folder_hash,
    load_gate,
    load_speaker_model,
    load_transcriber,
)
from lafufu_sb.cleaning.options import GateOptions
from lafufu_sb.errors import MissingPackageError, UsageError

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


@pytest.fixture
def missing(monkeypatch):
    """``missing(opinions, vad)``: these packages are not installed."""

    def pretend(names=(), vad=False):
        hint = {name: [f"{name} needs a package"] for name in names}
        monkeypatch.setattr(module, "missing_hints", lambda n: hint.get(n[0], []))
        monkeypatch.setattr(module, "vad_hint", lambda: "needs silero" if vad else "")

    return pretend


def test_all_judges_hear_speech_by_default(missing):
    missing()
    assert choose_judges("all") == (tuple(JUDGES), True, "")
    assert choose_judges("none") == ((), False, "")
    assert choose_judges("all", "my/denoiser") == choose_judges("all")
    assert choose_judges("distillmos,dnsmos") == (("distillmos", "dnsmos"), True, "")
    options = GateOptions(max_p808_drop=0.1, max_distillmos_drop=0.2, judge_pieces=5)
    opinion, loss = load_gate(options).judges
    assert (opinion.pieces, opinion.speech_only) == (5, True)
    drops = {"dnsmos": options.max_dnsmos_drop, "dnsmos_p808": 0.1, "distillmos": 0.2}
    assert opinion.drops == drops
    assert (loss.limit, loss.pieces) == (options.max_speech_loss, 5)


@pytest.mark.parametrize("model", ["dereverb", "models/LAFUFU_reverb/"])
def test_dereverberation_may_attenuate_speech(missing, model):
    missing()
    assert choose_judges("all", model).names == tuple(JUDGES)[:-1]
    assert choose_judges("speech_loss", model).names == ("speech_loss",)


def test_a_weaker_gate_says_so_in_one_line(missing):
    missing(["distillmos"], vad=True)
    chosen = choose_judges("all")
    assert chosen[:2] == (("dnsmos", "dnsmos_p808"), False)
    assert chosen.note == (
        "the gate judges whole recordings by DNSMOS, DNSMOS P.808 alone; for "
        "DistillMOS, lost speech, speech without its pauses: pip install "
        '"lafufu_sb[judges]"'
    )
    missing(["dnsmos", "dnsmos_p808"])
    note = choose_judges("all").note
    assert "judges speech by DistillMOS, lost speech alone; for DNSMOS, D" in note


@pytest.mark.parametrize(
    "gate, without, message",
    [
        ("all", list(JUDGES), "dnsmos needs a package.*needs silero.*--gate none"),
        ("dnsmos,distillmos", ["distillmos"], "lacks judges: distillmos needs"),
        ("dnsmos,speech_loss", [], "lacks judges: needs silero"),
    ],
)
def test_a_gate_without_its_judges_is_refused(missing, gate, without, message):
    missing(without, vad=True)
    with pytest.raises(MissingPackageError, match=message):
        choose_judges(gate)


def test_unknown_judges_are_refused():
    with pytest.raises(UsageError, match="'polqa' is no judge: choose all, none, or"):
        choose_judges("dnsmos,polqa")


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
