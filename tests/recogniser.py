"""A small recogniser of SpeechBrain, trained in seconds on the mini corpus."""

from pathlib import Path

import sentencepiece
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.nnet.losses import ctc_loss

from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.inference.asr import read_speech

# Clean clips of the mini corpus, and what is said in them.
SENTENCES = {
    "test/clean/S06001/00000.wav": "i was the only one who hadn't understood",
    "test/clean/S08520/00001.wav": "or i won't come to the party",
    "valid/clean/T010/00000.wav": "then you can bring the tray in",
}
RATE = 16000

HYPERPARAMS = """
sample_rate: 16000
blank_index: 0
features: !new:speechbrain.lobes.features.Fbank
    sample_rate: !ref <sample_rate>
    n_mels: 40
    hop_length: 20
normalizer: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
rnn: !new:speechbrain.nnet.RNN.GRU
    hidden_size: 96
    input_size: 40
    bidirectional: True
linear: !new:speechbrain.nnet.linear.Linear
    input_size: 192
    n_neurons: {pieces}
model: !new:torch.nn.ModuleList
    - [!ref <rnn>, !ref <linear>]
encoder: !new:speechbrain.nnet.containers.LengthsCapableSequential
    features: !ref <features>
    normalizer: !ref <normalizer>
    rnn: !ref <rnn>
    linear: !ref <linear>
    log_softmax: !new:speechbrain.nnet.activations.Softmax
        apply_log: True
modules:
    encoder: !ref <encoder>
tokenizer: !new:sentencepiece.SentencePieceProcessor
decoding_function: !name:speechbrain.decoders.ctc_greedy_decode
    blank_id: !ref <blank_index>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        model: !ref <model>
        tokenizer: !ref <tokenizer>
"""


def clean_paths():
    """Paths of the clean clips, in the order of ``SENTENCES``."""
    return [mini_corpus_folder("EARS-WHAM") / name for name in SENTENCES]


def train_recogniser(folder, steps=220):
    """Write a folder for ``EncoderASR.from_hparams`` that knows the mini corpus."""
    folder = Path(folder)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES.values()),
        model_prefix=str(folder / "tokenizer"),
        model_type="char",
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").rename(folder / "tokenizer.ckpt")
    tokenizer = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.ckpt"))
    text = HYPERPARAMS.format(pieces=tokenizer.vocab_size())
    (folder / "hyperparams.yaml").write_text(text)
    torch.manual_seed(0)
    hparams = load_hyperpyyaml(text)
    items = [
        {
            "sig": read_speech(path, RATE),
            "tokens": torch.tensor(tokenizer.encode(sentence)),
        }
        for path, sentence in zip(clean_paths(), SENTENCES.values(), strict=True)
    ]
    # together and each alone: the ends of sentences come with and without padding
    batches = [PaddedBatch(part) for part in (items, *([item] for item in items))]
    optimizer = torch.optim.Adam(hparams["model"].parameters(), lr=0.008)
    for step in range(steps):
        batch = batches[step % len(batches)]
        optimizer.zero_grad()
        scores = hparams["encoder"](batch.sig.data, batch.sig.lengths)
        loss = ctc_loss(
            scores,
            batch.tokens.data,
            batch.sig.lengths,
            batch.tokens.lengths,
            hparams["blank_index"],
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(hparams["model"].parameters(), 5.0)
        optimizer.step()
    torch.save(hparams["model"].state_dict(), folder / "model.ckpt")
    return folder
