"""The systems that are compared, built with a number of calls.

Weights are those of initialisation: the time of dense arithmetic does not depend on
them.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ruamel.yaml import YAML

from common import ROOT, with_sampler
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.systems import read_naming
from lafufu_sb.inference.folder import HYPERPARAMS, inference_recipe
from lafufu_sb.inference.shipped import models_folder, shipped_model
from lafufu_sb.inference.trust import UntrustedModel
from lafufu_sb.training.recipe import read_recipe
from published import PublishedNCSNpp

RECIPES = ROOT / "recipes" / "EARS" / "enhance" / "LAFUFU" / "hparams"
PUBLISHED = "published"  # a way to run SGMSE+, beside the precisions of ``Restorer``
WIDTHS = {"sgmse": (128, 96, 64), "lafufu": (128, 192, 256)}


@dataclass(frozen=True)
class System:
    """A restorer that can be built again and again.

    ``key`` is its name for ``find_system``, ``name`` that in tables, ``text`` inference
    YAML as ``lafufu export`` writes it, and ``full_band`` whether it is SGMSE+.
    """

    key: str
    name: str
    text: str
    full_band: bool = False

    def build(self, way, window_frames, device="cpu", compiled=False):
        """Build the restorer for a way: "fp32", "bf16" or ``PUBLISHED``.

        Neighbouring windows share a quarter of their frames.
        """
        if way == PUBLISHED and not self.full_band:
            raise UsageError(f"only SGMSE+ can be run as published, not {self.key}")
        options = {"precision": "fp32" if way == PUBLISHED else way}
        options |= {"window_frames": window_frames, "compile": compiled}
        options["overlap_frames"] = window_frames // 4
        changes = {"restorer": options}
        model = UntrustedModel(self.text.encode(), self.key, overrides=changes)
        restorer = model.build()["restorer"]
        if way == PUBLISHED:
            restorer.score_model = PublishedNCSNpp(restorer.score_model)
        return restorer.to(device).eval()

    def window_seconds(self, window_frames):
        """Seconds of a window of so many frames."""
        tree = YAML().load(self.text)
        hop_length = tree["spectrogram"]["hop_length"]
        return (window_frames - 1) * hop_length / tree["sample_rate"]


def with_calls(restorer, calls):
    """The restorer with its sampler set to a number of network calls.

    With predictor-corrector two per step; without corrector for an odd number.
    """
    options = {"num_steps": calls}
    sampler = restorer.settings.sampler
    if sampler == "predictor_corrector":
        options = {"num_steps": calls // 2}
        if calls % 2:
            options = {"num_steps": calls, "corrector": "none"}
    return with_sampler(restorer, sampler, **options)


def recipe_system(recipe, **fields):
    """The system that a recipe trains; ``fields`` of ``System``."""
    text = inference_recipe(read_recipe(RECIPES / f"{recipe}.yaml"), "none")
    return System(**{"key": recipe, "name": f"`{recipe}`", "text": text} | fields)


def _of_width(family, base_channels):
    size = "" if base_channels == 128 else f"_{base_channels}"
    recipe = f"{family}{size}_wham"
    name = read_naming().titles[recipe]
    fields = {"key": f"{family}{base_channels}", "name": name}
    return recipe_system(recipe, full_band=family == "sgmse", **fields)


sgmse = partial(_of_width, "sgmse")


def model_folder(folder):
    """A model folder, by its YAML."""
    path = Path(folder) / HYPERPARAMS
    if not path.is_file():
        raise UsageError(
            f"{folder} is neither a system ({', '.join(known_systems())}) nor a model "
            f"folder: it has no {HYPERPARAMS}"
        )
    return System(str(folder), f"`{path.parent.name}`", path.read_text())


def shipped(name):
    """A shipped model folder."""
    return replace(model_folder(shipped_model(name)), key=name)


def known_systems():
    """{key: function without arguments that returns the ``System``}, in table order."""
    known = {
        f"{family}{width}": partial(_of_width, family, width)
        for family, widths in WIDTHS.items()
        for width in widths
    }
    folders = sorted(models_folder().glob(f"*/{HYPERPARAMS}"))
    return known | {f.parent.name: partial(shipped, f.parent.name) for f in folders}


def find_system(name):
    """A system by its key, or the path of a model folder; UsageError for others."""
    known = known_systems()
    return known[name]() if name in known else model_folder(name)
