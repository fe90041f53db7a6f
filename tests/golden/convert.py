"""Model folders of before the five parts, in the present form.

    python tests/golden/convert.py OLD_FOLDER NEW_FOLDER

The recorded models of this folder were made by the code before the parts had contracts
of their own, and converted so. Weights keep their values and get new names;
``autoencoder.ckpt`` becomes ``representation.safetensors`` and, where there was a
network before the encoder, ``pre_enhancer.safetensors``. ONNX graphs are left out:
export them again.
"""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import save_file

from lafufu_sb.lobes.fingerprint import fingerprint

PREFIXES = {  # of weights, old to new; the first that fits
    "stem.": "encoder.stem.",
    "encoder.": "encoder.levels.",
    "to_latent.": "encoder.to_latent.",
    "from_latent.": "decoder.from_latent.",
    "decoder.": "decoder.levels.",
    "head.": "decoder.head.",
    "filter.": "decoder.filter.",
}
PRE_ENHANCER = "predictor."
YAML = [  # patterns and replacements
    (r"hidden_connections", "skip_connections"),
    (r"rotations", "phase_averages"),
    (r"lafufu_sb\.restorer\.", "lafufu_sb.restoration.restorer."),
    (r"lafufu_sb\.checkpoints\.load", "lafufu_sb.inference.weights.load"),
    (r"lafufu_sb\.diffusion\.sde\.", "lafufu_sb.diffusion.processes."),
    (r"(?m)^predictor: !new:torch\.nn\.Identity.*\n", ""),
    (r"(?m)^ +predictor: !ref <predictor>\n", ""),
    (
        r"predictor: !new:lafufu_sb\.lobes\.predictor\.GainPredictor",
        "pre_enhancer: !new:lafufu_sb.lobes.gains.GainPreEnhancer",
    ),
    (
        r"autoencoder: !new:lafufu_sb\.lobes\.autoencoder\.LatentAutoencoder.*\n",
        "representation: !new:lafufu_sb.lobes.representations.LatentRepresentation\n"
        "  spectrogram: !ref <spectrogram>\n",
    ),
    (
        r"autoencoder: !new:lafufu_sb\.lobes\.autoencoder\.IdentityAutoencoder.*\n",
        "representation: "
        "!new:lafufu_sb.lobes.representations.SpectrogramRepresentation\n"
        "  spectrogram: !ref <spectrogram>\n",
    ),
    (r"(?m)^( *)sde: !ref <sde>", r"\1process: !ref <process>"),
    (r"(?m)^sde: ", "process: "),
    (r"  spectrogram: !ref <spectrogram>\n  autoencoder: !ref <autoencoder>\n", "PART"),
]
ROLES = (
    "  pre_enhancer: !ref <pre_enhancer>\n"
    "  condition: [enhanced]\n  mean: enhanced\n  skips: enhanced\n"
)


def new_name(name):
    """Name of a weight of the representation; others are returned unchanged."""
    for old, new in PREFIXES.items():
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def convert_yaml(text, mark, enhances):
    """The new YAML; ``mark`` is the fingerprint of the representation."""
    for pattern, replacement in YAML:
        text = re.sub(pattern, replacement, text)
    part = "  representation: !ref <representation>\n"
    text = text.replace("PART", part + ROLES if enhances else part)
    text = re.sub(
        r"(?m)^(    +)overlap_frames: (\d+)",  # of presets; in seconds now
        lambda found: f"{found[1]}overlap: {int(found[2]) * 384 / 48000:g}",
        text,
    )
    text = re.sub(
        r"autoencoder_fingerprint: \w+", f"representation_fingerprint: '{mark}'", text
    )
    text = re.sub(r"(?s)\npretrainer: .*", "\n", text)  # weights are found by name
    return text


def convert(old, new):
    """Write the model folder ``new`` from ``old``."""
    new.mkdir(parents=True)
    state = torch.load(old / "autoencoder.ckpt", weights_only=True)
    own = {
        new_name(name): weight
        for name, weight in state.items()
        if not name.startswith(PRE_ENHANCER)
    }
    enhancer = {
        name[len(PRE_ENHANCER) :]: weight
        for name, weight in state.items()
        if name.startswith(PRE_ENHANCER)
    }
    save_file(own, new / "representation.safetensors")
    if enhancer:
        save_file(enhancer, new / "pre_enhancer.safetensors")
    score = torch.load(old / "score_model.ckpt", weights_only=True)
    save_file(score, new / "score_model.safetensors")
    mark = fingerprint(SimpleNamespace(state_dict=lambda: own))
    text = (old / "hyperparams.yaml").read_text()
    converted = convert_yaml(text, mark, bool(enhancer))
    (new / "hyperparams.yaml").write_text(converted)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:]))
