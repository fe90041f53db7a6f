"""The commands of docs/finetuning.md: folders, pairs, two steps, a restored file."""

import re
import shlex
import shutil

import soundfile
import torch
from runs import ROOT, train, write_tiny_recipe

from lafufu_sb.cli.main import main
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.inference.weights import read_weights


def page_commands():
    """Commands of the page's first block, as lists of words."""
    text = (ROOT / "docs" / "finetuning.md").read_text()
    block = re.search(r"```bash\n(.*?)```", text, re.DOTALL)[1].replace("\\\n", " ")
    return [shlex.split(line) for line in block.splitlines()]


def paired_folders(folder):
    """Folders clean and noisy with the speakers of the mini corpus, and noisy.wav."""
    corpus = mini_corpus_folder("EARS-WHAM")
    for side in ("clean", "noisy"):
        for speaker in corpus.glob(f"*/{side}/*"):
            shutil.copytree(speaker, folder / side / speaker.name, dirs_exist_ok=True)
    shutil.copy(next((folder / "noisy").glob("*/*")), folder / "noisy.wav")


def changed(folder, before):
    """Names of the parts of a model folder whose weights are not those before."""
    return [
        name
        for name in ("representation", "score_model")
        if any(
            not torch.equal(value, read_weights(folder / f"{name}.safetensors")[key])
            for key, value in read_weights(before / f"{name}.safetensors").items()
        )
    ]


def test_the_commands_of_the_page_tune_a_model_and_restore(tiny_model, tmp_path):
    paired_folders(tmp_path)
    recipe = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "unused")
    steps = "--score_epochs=2", "--score_lr=0.01", "--train_decoder=False"
    kinds = []
    for words in page_commands():
        words = [word.replace("/data", str(tmp_path)) for word in words]
        kinds.append(words[0])
        if words[0] == "lafufu":
            assert main(words[1:]) == 0
        elif words[0] == "python":
            assert words[1:4:2] == ["train.py", "--init_from=denoise_small"]
            process = train(recipe, f"--init_from={tiny_model}", *words[4:], *steps)
            assert process.returncode == 0, process.stderr[-3000:]
            output = process.stderr + process.stdout
            assert output.count("Going into epoch") == 2
    assert kinds == ["lafufu", "cd", "python", "lafufu"]
    run = tmp_path / "tuned"
    assert "AutoencoderBrain" not in (run / "train_log.txt").read_text()
    assert changed(run / "model", tiny_model) == ["score_model"]
    restored, rate = soundfile.read(tmp_path / "restored.wav")
    given, _ = soundfile.read(tmp_path / "noisy.wav")
    assert rate == 48000 and restored.shape == given.shape and abs(restored).max() > 0
    fine_tuning = (run / "recipe.yaml").read_text()
    assert "ae_epochs: 0" in fine_tuning and "score_lr: 0.01" in fine_tuning


def test_the_decoder_learns_alone(tiny_model, tmp_path):
    recipe = write_tiny_recipe(tmp_path / "tiny.yaml", tmp_path / "run")
    given = f"--init_from={tiny_model}", "--train_score_model=False"
    process = train(recipe, *given, "--score_epochs=1", "--score_lr=0.01")
    assert process.returncode == 0, process.stderr[-3000:]
    assert changed(tmp_path / "run" / "model", tiny_model) == ["representation"]
