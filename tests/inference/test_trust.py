"""What a model's YAML may build, and what is refused before anything runs."""

import pytest

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.shipped import models_folder
from lafufu_sb.inference.trust import refuse_untrusted

HARMLESS = [
    "",
    "a: 1  # a comment",
    "a: &x [*x]",
    "a: (1, 2)",
    "a: 1.5\nb: !ref <a> // 2\nc: !copy <a>",
    "a: !new:lafufu_sb.diffusion.processes.OUVESDE\n  theta: 1.5",
    "a: !name:torch.nn.SiLU",
    "a: !new:torch.nn.Linear {in_features: 1, out_features: 2}",
    "a: !name:lafufu_sb.inference.weights.load_weights",
    "a: [!ref <b>, !ref <b>]\nb: {c: !ref <d>}\nd: 1",
]
REFUSED = {
    "a: !apply:os.system [touch x]": "!apply:os.system",
    "a: 1\nb: [{c: !apply:os.system [touch x]}]": "!apply:os.system",
    "!apply:os.system [touch x]": "!apply:os.system",
    "? !apply:os.system [touch x]\n: 1": "!apply:os.system",
    "a: !applyref:os.system": "!applyref:os.system",
    "a: !%61pply:os.system [touch x]": "!%61pply:os.system",
    "a: !module:os": "!module:os",
    "a: !include:other.yaml": "!include:other.yaml",
    "a: !new:subprocess.Popen [touch x]": "!new:subprocess.Popen",
    "a: !name:os.system": "!name:os.system",
    # through what a module of an allowed package has imported
    "a: !new:speechbrain.core.subprocess.Popen [x]": "!new:speechbrain.core.sub",
    "a: !name:torch.nn.modules.module.functools.partial": "!name:torch.nn.mod",
    # functions and classes of the packages that do things
    "a: !name:speechbrain.utils.superpowers.run_shell": "!name:speechbrain.utils",
    "a: !new:lafufu_sb.training.checkpoints.Checkpointer [x]": "!new:lafufu_sb.train",
    "a: !name:lafufu_sb.cli.main": "!name:lafufu_sb.cli.main",
    "a: !new:lafufu_sb.lobes.nothing.There": "!new:lafufu_sb.lobes.nothing.There",
    # tags that every YAML loader knows, and other ways of writing them
    "a: !!python/object/apply:os.system [touch x]": "!!python/object/apply",
    "%TAG !e! tag:yaml.org,2002:python/\n---\na: !e!object/apply:os.system [x]": "!e!",
    "%TAG ! !apply:\n---\na: !os.system [touch x]": "! (line 1)",
    "a: !<tag:yaml.org,2002:python/name:os.system>": "!<tag",
    # values that are read as YAML once more
    'a: "(!!python/object/apply:os.system [x], 2)"': "!!python/object/apply",
    'a: "(\\x21\\x21python/object/apply:os.system [x], 2)"': "'(!!python/object",
    "a: 1\n---\nb: 2": "is not YAML",
    "a: [": "is not YAML",
}


@pytest.mark.parametrize("text", HARMLESS)
def test_yaml_of_models_passes(text):
    refuse_untrusted(text, "a.yaml")


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused_by_name(text):
    with pytest.raises(UsageError, match="a.yaml") as error:
        refuse_untrusted(text, "a.yaml")
    assert REFUSED[text] in str(error.value)


def test_line_is_named():
    with pytest.raises(UsageError, match=r"\(line 3\).*trust=True"):
        refuse_untrusted("a: 1\nb: 2\nc: !apply:os.abort []", "a.yaml")


def test_shipped_models_pass():
    files = sorted(models_folder().glob("*/hyperparams.yaml"))
    assert len(files) >= 2
    for path in files:
        refuse_untrusted(path.read_text(), path.name)
