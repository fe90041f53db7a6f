"""What a model's YAML may build without trust, and what is refused before it runs."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from ruamel.yaml import YAML
from runs import train_environment

from lafufu_sb import EnhanceLatent
from lafufu_sb.cli.main import main
from lafufu_sb.errors import UsageError
from lafufu_sb.inference.shipped import models_folder
from lafufu_sb.inference.trust import UntrustedModel
from lafufu_sb.inference.yaml_nodes import MAX_BYTES, NoModelError

APPLY = "python/object/apply:os.system"
# Texts of ``extra``, each of which runs a program where HyperPyYAML loads it, or tries.
PROGRAMS = [
    "!apply:os.system [touch MARK]",
    "!new:subprocess.Popen [[touch, MARK]]",
    "!name:os.system",
    "!module:os",
    "!include:other.yaml",
    "!applyref:os.system {_args: [touch MARK], _kwargs: {}}",
    "[{c: !apply:os.system [touch MARK]}]",
    "!%61pply:os.system [touch MARK]",
    "!<!apply:os.system> [touch MARK]",
    f"!!{APPLY} [touch MARK]",
    f"!<tag:yaml.org,2002:{APPLY}> [touch MARK]",
    # text that is read as YAML once more
    f'"(!!{APPLY} [touch MARK], 2)"',
    f'"(\\x21\\x21{APPLY} [touch MARK], 2)"',
    f'  "(\\x21\\x21{APPLY} [touch MARK],\\n 2)  "',
    # references that build such a text
    f'!ref \'"(\\x21\\x21{APPLY} [touch MARK], 2)" + "<sample_rate>"[:0]\'',
    f'!ref \'"(\\x21\\x21{APPLY} [touch MARK], <sample_rate>)" + ""\'',
    f"!ref '\"(%c%c{APPLY} [touch MARK], <sample_rate>)\" % (33, 33)'",
    f'!ref \'"(%c" % 33 + "%c{APPLY} [touch MARK], <sample_rate>)" % 33\'',
    f"!ref (!!{APPLY} [touch MARK], <sample_rate>)",
    f"!copy (!!{APPLY} [touch MARK], <sample_rate>)",
    "!ref <restorer.__class__>",
    "!ref <sample_rate>.__class__",
    "!ref __import__('os').system('touch MARK')",
    "!ref __import__('os').system('touch MARK') + <sample_rate>",
    "!ref exec('x') if <sample_rate> else 1",
    # through what a module of an allowed package has imported, and beyond the parts
    "!new:lafufu_sb.lobes.ncsnpp.torch.hub.load_state_dict_from_url [x]",
    "!new:lafufu_sb.lobes.dnsmos.pathlib.Path [MARK]",
    "!new:lafufu_sb.training.checkpoints.AtomicCheckpointer [MARK]",
    "!new:lafufu_sb.inference.interface.EnhanceLatent []",
    "!new:torch.nn.Linear [1000000000, 1000000000, true, cpu]",
    "!new:speechbrain.core.subprocess.Popen [[touch, MARK]]",
    "!new:lafufu_sb.lobes.nothing.There",
    "!name:lafufu_sb.inference.weights.load_weights",
]


WORKING = next(text for text in PROGRAMS if "% 33 +" in text)


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A model folder of its own."""
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


def edit(folder, old=None, new="", more=""):
    path = folder / "hyperparams.yaml"
    text = path.read_text()
    assert old is None or old in text
    path.write_text((text.replace(old, new) if old else text) + more)


def load(folder, **options):
    return EnhanceLatent.from_hparams(
        source=folder, run_opts={"device": "cpu"}, **options
    )


@pytest.mark.parametrize("text", PROGRAMS)
@pytest.mark.parametrize("place", ["a key of its own", "within the restorer"])
def test_programs_are_refused_and_do_not_run(folder, tmp_path, text, place):
    text = text.replace("MARK", str(tmp_path / "mark"))
    if place == "a key of its own":
        edit(folder, more=f"extra: {text}\n")
    else:
        edit(folder, "  preset: balanced\n", f"  preset: {text}\n")
    with pytest.raises(UsageError, match="hyperparams.yaml"):
        load(folder)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "text",
    [
        "%TAG !e! tag:yaml.org,2002:python/\n---\na: !e!object/apply:os.system [x]",
        "%TAG ! !apply:\n---\na: !os.system [x]",
        "? !apply:os.system [x]\n: 1",
        "? [a]\n: 1",
        "!apply:os.system [x]",
        "a: 1\n---\nb: 2",
        "a: !!binary aGVsbG8=",
        "a: !!set {b}",
        "a: &b {c: 1}\nd: {<<: *b}",
        "a: 1\na: 2",
        "a: {b: 1, b: 2}",
        "yes\x00: 1",
        "a: [",
        'a: "\\UFFFFFFFF"',
        "a: " + "[" * 50_000,
        "a: " + "[" * 40 + "]" * 40,
        "a: [" + "1," * 10_000 + "]",
        "a: " + "x" * 5_000,
        "#" * (MAX_BYTES + 1),
        b"a: \xff",
    ],
    ids=lambda text: str(text[:30]),
)
def test_documents_beyond_a_models_are_refused(text):
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises((UsageError, NoModelError)):
        UntrustedModel(content, "a.yaml")


def test_the_first_line_that_is_refused_is_named():
    text = b"a: 1\nb: {c: 1, d: !apply:os.abort []}\ne: !apply:os.abort []"
    with pytest.raises(UsageError, match=r"abort \(line 2\).*trust=True"):
        UntrustedModel(text, "a.yaml")


@pytest.mark.parametrize("text", ["", "- a list", "a word", "# nothing", "!!null"])
def test_documents_of_no_model_say_so(text):
    with pytest.raises((NoModelError, UsageError)):
        UntrustedModel(text.encode(), "a.yaml")


LAUGHS = "\n".join(
    ["a0: [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: [{', '.join([f'REF{i - 1}'] * 9)}]" for i in range(1, 12)]
)


@pytest.mark.parametrize("kind", ["!ref <a{}>", "!copy <a{}>", "*a{}"])
def test_repetitions_do_not_grow(folder, kind):
    text = LAUGHS
    for i in range(11, -1, -1):
        text = text.replace(f"REF{i}", kind.format(i))
        if kind.startswith("*"):
            text = text.replace(f"a{i}: [", f"a{i}: &a{i} [")
    edit(folder, more=text + "\n")
    with pytest.raises(UsageError, match="more than 20000 values"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("!ref <extra>", "contains itself"),
        ("&x [*x]", "contains itself"),
        ("!ref <nothing>", "has no nothing"),
        ("!ref <bridge[k]>", "has no bridge"),
        ("!ref 9 ** 9 ** 9 ** 9 + <sample_rate>", "exponents go up to"),
        ("!ref 10 ** 60 + <sample_rate>", "must be finite and at most"),
        ("!ref <sample_rate> / 0", "has no value"),
        ("!ref (0 - <sample_rate>) ** 0.5", "not for complex"),
        ("!ref <sample_rate>, 1", "a reference is a path"),
        ("!ref (<sample_rate>)(1)", "numbers, paths"),
        ("!ref " + "(" * 150 + "<sample_rate>" + ")" * 150, "a reference is a path"),
        ("!ref <preset> * 99", "has no preset"),
        ("!ref <presets> * 99", "arithmetic is for numbers"),
        ("!ref results/<sample_rate>", "a reference is a path"),
        (".nan", "must be finite"),
        ("-.inf", "must be finite"),
        ("1e999", "must be finite"),
        ("9" * 900, "must be finite"),
    ],
)
def test_values_without_a_value_are_refused(folder, text, reason):
    edit(folder, more=f"extra: {text}\n")
    with pytest.raises(UsageError, match="hyperparams.yaml") as error:
        load(folder)
    assert reason in str(error.value)


NUMBERS = [
    ("sample_rate: 48000", "sample_rate: {}", ["0", "-48000", "1.5", "10000000", "x"]),
    ("  n_fft: 1534", "  n_fft: {}", ["0", "-2", "1e9", "1000000000", "true", "null"]),
    ("  hop_length: 384", "  hop_length: {}", ["0", "-1", "1535"]),
    ("  exponent: 0.667", "  exponent: {}", ["0", "2", "'a'"]),
    ("  factor: 0.065", "  factor: {}", ["0", "-1", "1e300"]),
    ("  channels: 8", "  channels: {}", ["0", "-8", "999999999", "8.0"]),
    ("  multipliers: [1, 2]\n", "  multipliers: {}\n", ["[]", "[0]", "[1000000]", "3"]),
    ("  latent_channels: 4", "  latent_channels: {}", ["0", "100000"]),
    ("  patch: 2", "  patch: {}", ["0", "100000"]),
    ("  filter_taps: 5", "  filter_taps: {}", ["-1", "1001"]),
    ("  base_channels: 8", "  base_channels: {}", ["0", "65536", "1000000000000"]),
    ("  blocks_per_level: 1", "  blocks_per_level: {}", ["0", "1000000000", "1.0"]),
    ("  k: 2.6", "  k: {}", ["1", "0", "-1"]),
    ("  noise_variance: 0.5", "  noise_variance: {}", ["-1", "[1]"]),
    ("  window_frames: 64", "  window_frames: {}", ["0", "-64", "6400000000"]),
    ("  overlap_frames: 32", "  overlap_frames: {}", ["0", "-32", "'x'"]),
    ("  windows_per_batch: 3", "  windows_per_batch: {}", ["0", "1000000"]),
    ("    num_steps: 4", "    num_steps: {}", ["0", "100000000"]),
    ("    overlap: 0.128", "    seed: {}", ["1.5", "x"]),
]


@pytest.mark.parametrize(
    ("old", "new"),
    [(old, new.format(value)) for old, new, values in NUMBERS for value in values],
)
def test_absurd_numbers_are_refused(folder, old, new):
    edit(folder, old, new)
    with pytest.raises(UsageError, match="hyperparams.yaml"):
        load(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  restorer: !ref <restorer>\n", "  restorer: !ref <score_model>\n"),
        ("  restorer: !ref <restorer>\n", "  other: !ref <restorer>\n"),
        (
            "  restorer: !ref <restorer>\n",
            "  restorer: !ref <restorer>\n  other: !ref <score_model>\n",
        ),
        ("  objective: !ref <objective>", "  objective: !ref <process>"),
        ("  score_model: !ref <score_model>", "  score_model: !ref <representation>"),
        ("  representation: !ref <representation>\n", ""),
        ("  process: !ref <process>", "  process: 1"),
        (
            "sample_rate: 48000",
            "more: !new:lafufu_sb.lobes.ncsnpp.NCSNpp\nsample_rate: 48000",
        ),
    ],
)
def test_anything_but_one_whole_restorer_is_refused(folder, old, new):
    edit(folder, old, new)
    with pytest.raises(UsageError, match="hyperparams.yaml"):
        load(folder)


def test_what_the_caller_chooses_is_not_taken_from_the_file(folder):
    more = (
        "device: cuda:7\ncompile: true\njit: true\naudio_normalizer: 1\nsavedir: /x\n"
    )
    edit(folder, more=more)
    model = EnhanceLatent.from_hparams(source=folder, run_opts={"device": "cpu"})
    assert (model.device, model.compile, model.jit) == ("cpu", False, False)
    assert model.hparams.savedir is None and callable(model.audio_normalizer)


OLD = """
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables:
    representation: !ref <representation>
    score_model: !ref <score_model>
  custom_hooks:
    representation: !name:lafufu_sb.inference.weights.load_weights
    score_model: !name:lafufu_sb.inference.weights.load_weights
"""
HOOK = "    score_model: !name:lafufu_sb.inference.weights.load_weights\n"


def test_pretrainer_of_earlier_versions_is_accepted(folder):
    edit(folder, more=OLD)
    assert load(folder).sample_rate == 48000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    score_model: !ref <score_model>\n", ""),
        (
            "    score_model: !ref <score_model>",
            "    score_model: !ref <representation>",
        ),
        ("    score_model: !ref", "    ../../score_model: !ref"),
        (HOOK, ""),
        (HOOK, HOOK.replace("!name:lafufu_sb.inference.weights.load_weights", "null")),
        (HOOK, HOOK + "  conditions: {score_model: false}\n"),
        (HOOK, HOOK + "  paths: {score_model: http://127.0.0.1:9/score_model.ckpt}\n"),
        (HOOK, HOOK + "  paths: {score_model: /etc/passwd}\n"),
        (HOOK, HOOK + "  collect_in: /tmp/elsewhere\n"),
        (HOOK, HOOK.replace("load_weights", "save_weights")),
        ("!new:speechbrain", "!apply:speechbrain"),
        ("utils.parameter_transfer.Pretrainer", "utils.checkpoints.Checkpointer"),
    ],
)
def test_pretrainers_that_load_anything_else_are_refused(folder, old, new, monkeypatch):
    monkeypatch.setattr("urllib.request.urlretrieve", lambda *_: pytest.fail("asked"))
    assert old in OLD
    edit(folder, more=OLD.replace(old, new))
    with pytest.raises(UsageError, match="hyperparams.yaml"):
        load(folder)


def test_numbers_of_references_are_those_of_the_trusted_loader(folder):
    edit(
        folder,
        "  window_frames: 64",
        "  window_frames: !ref (<numbers[frames]> + 6 // 4) * 2 ** 5 % 128",
        more="numbers: {frames: 1, rate: 1e-3, yes: yes, octal: 010}\n",
    )
    own, theirs = load(folder), load(folder, trust=True)
    assert own.restorer.window_frames == theirs.restorer.window_frames == 64
    assert own.hparams.presets == theirs.hparams.presets
    assert own.hparams.numbers["yes"] == theirs.hparams.numbers["yes"] == "yes"
    assert own.hparams.numbers["rate"] == theirs.hparams.numbers["rate"] == 1e-3


def test_references_are_one_object_and_copies_are_not(folder):
    edit(folder, more="same: !ref <presets>\nother: !copy <presets>\n")
    hparams = load(folder).hparams
    assert hparams.same is hparams.presets and hparams.other is not hparams.presets
    assert hparams.other == hparams.presets


@pytest.mark.parametrize(
    "overrides",
    [
        {"restorer": {"windows_per_batch": 5}},
        "restorer: {windows_per_batch: 5}",
        YAML().load("restorer:\n  windows_per_batch: 5  # a comment"),
        {"restorer": {"windows_per_batch": 5}, "presets": {"fast": {"num_steps": 2}}},
    ],
)
def test_overrides_change_the_model(folder, overrides):
    model = load(folder, overrides=overrides)
    assert model.settings.windows_per_batch == 5
    assert set(model.restorer.presets) > {"fast", "balanced"}


@pytest.mark.parametrize(
    "overrides",
    [
        {"restore": {"windows_per_batch": 5}},
        {"restorer": {"windows_per_batch": 0}},
        "restorer: !apply:os.system [x]",
        {"restorer": object()},
        {"restorer": {"preset": "(1, 2)"}},
    ],
)
def test_overrides_are_checked_like_the_file(folder, overrides):
    with pytest.raises(UsageError):
        load(folder, overrides=overrides)
    if isinstance(overrides, dict) and "restore" in overrides:
        assert load(folder, overrides=overrides, overrides_must_match=False)


def test_the_bytes_that_were_checked_are_loaded(folder, monkeypatch):
    """Another file may lie there by the time that the model is built."""
    parts = UntrustedModel.parts

    def swapped(model):
        edit(folder, more="extra: !apply:os.abort []\n")
        return parts(model)

    monkeypatch.setattr(UntrustedModel, "parts", swapped)
    assert load(folder).sample_rate == 48000


def test_nothing_is_built_in_memory_before_the_weights_fit(folder):
    edit(folder, "  base_channels: 8", "  base_channels: 32768")
    with pytest.raises(UsageError, match="score_model.safetensors does not fit"):
        load(folder)  # 4 TB otherwise


def test_modules_beside_the_yaml_are_not_found(folder, tmp_path):
    for name in ("custom.py", "onnxruntime.py", "pesq.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    load(folder)
    assert str(folder) not in sys.path and not (tmp_path / "mark").exists()


def test_links_out_of_the_folder_are_refused(folder, tmp_path):
    file = folder / "score_model.safetensors"
    shutil.move(file, tmp_path / "secret")
    file.symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match="is a link to .*, out of its folder"):
        load(folder)
    assert load(folder, trust=True).sample_rate == 48000


def test_links_of_the_hubs_cache_are_followed(folder, tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots").mkdir()
    shutil.move(folder, tmp_path / "snapshots" / "abc")
    for file in (tmp_path / "snapshots" / "abc").iterdir():
        shutil.move(file, tmp_path / "blobs" / file.name)
        file.symlink_to(f"../../blobs/{file.name}")
    assert load(tmp_path / "snapshots" / "abc").sample_rate == 48000


def test_a_pipe_in_place_of_weights_does_not_hang(folder):
    (folder / "score_model.safetensors").unlink()
    os.mkfifo(folder / "score_model.safetensors")
    with pytest.raises(FileNotFoundError, match="score_model.safetensors is missing"):
        load(folder)


def test_shipped_models_need_no_trust():
    files = sorted(models_folder().glob("*/hyperparams.yaml"))
    assert len(files) >= 2
    for path in files:
        model = UntrustedModel(path.read_bytes(), path.name)
        assert set(model.parts()) == {"representation", "score_model"}
        assert all(p.is_meta for m in model.parts().values() for p in m.parameters())


COMMANDS = {
    "enhance": ["enhance", "IN", "-o", "OUT", "-m", "MODEL"],
    "clean": ["clean", "IN", "-o", "OUT", "-m", "MODEL", "--gate", "none"],
    "evaluate": ["evaluate", "-m", "MODEL", "-d", "DATA", "-o", "OUT"],
    "export": ["export", "MODEL", "-o", "OUT", "--format", "onnx"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_the_program_of_a_model(folder, tmp_path, capsys, command):
    from odd import wav

    from lafufu_sb.corpora.mini_corpus import mini_corpus_folder

    text = WORKING
    edit(folder, more=f"extra: {text.replace('MARK', str(tmp_path / 'mark'))}\n")
    (tmp_path / "in").mkdir()
    wav()(tmp_path / "in")
    places = {"MODEL": folder, "IN": tmp_path / "in", "OUT": tmp_path / "out"}
    places["DATA"] = mini_corpus_folder("EARS-WHAM")
    arguments = [str(places.get(word, word)) for word in COMMANDS[command]]
    assert main(arguments) == 2
    assert "hyperparams.yaml" in capsys.readouterr().err
    assert not (tmp_path / "mark").exists()


def test_the_same_yaml_would_have_run_its_program(folder, tmp_path):
    """The payload works: otherwise the tests above would show nothing."""
    text = WORKING
    edit(folder, more=f"extra: {text.replace('MARK', str(tmp_path / 'mark'))}\n")
    code = (
        "from hyperpyyaml import load_hyperpyyaml\n"
        f"load_hyperpyyaml(open({str(folder / 'hyperparams.yaml')!r}))"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, env=train_environment(), check=False, capture_output=True)
    assert (tmp_path / "mark").exists()


def test_parts_without_memory_do_not_move_the_generator(folder):
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    UntrustedModel((folder / "hyperparams.yaml").read_bytes(), "a.yaml").parts()
    assert torch.equal(torch.rand(1), wanted)
