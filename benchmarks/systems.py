"""What is compared: how to build it, and how to run it with a number of calls.

The weights are those of initialisation: the time of dense arithmetic does not depend
on them.
"""

import inspect
import io
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from common import ROOT
from lafufu_sb.inference.folder import HYPERPARAMS, inference_recipe
from lafufu_sb.inference.shipped import models_folder, shipped_model
from lafufu_sb.restoration.restorer import Restorer
from lafufu_sb.training.recipe import read_recipe
from published import PublishedNCSNpp

RECIPES = ROOT / "recipes" / "EARS" / "enhance" / "LAFUFU" / "hparams"
PUBLISHED = "published"  # a way to run SGMSE+, beside the precisions of ``Restorer``


@dataclass(frozen=True)
class System:
    """A restorer that can be built again and again.

    Attributes
    ----------
    key : str
        What ``find_system`` knows it by.
    name : str
        For tables.
    text : str
        Inference YAML, as ``lafufu export`` writes it.
    full_band : bool
        Whether it is SGMSE+, which is measured as published too.
    """

    key: str
    name: str
    text: str
    full_band: bool = False

    def build(self, way, window_frames, device="cpu", compiled=False):
        """Build the restorer for one way of running it.

        Arguments
        ---------
        way : str
            "fp32", "bf16" or ``PUBLISHED``.
        window_frames : int
            An eighth of them is shared with each neighbour, as in the recipes.
        device : str or torch.device
            Where it shall run.
        compiled : bool
            See ``restorer_options``.

        Returns
        -------
        Restorer
        """
        tree = YAML().load(self.text)
        windows = {"window_frames": window_frames, "overlap_frames": window_frames // 4}
        tree["restorer"].update(restorer_options(way, compiled) | windows)
        stream = io.StringIO()
        YAML().dump(tree, stream)
        restorer = load_hyperpyyaml(stream.getvalue())["restorer"]
        if way == PUBLISHED:
            if not self.full_band:
                raise ValueError(f"only SGMSE+ has a published way, not {self.key}")
            restorer.score_model = PublishedNCSNpp(restorer.score_model)
        return restorer.to(device).eval()

    def window_seconds(self, window_frames):
        """Seconds of a window of so many frames."""
        tree = YAML().load(self.text)
        hop_length = tree["spectrogram"]["hop_length"]
        return (window_frames - 1) * hop_length / tree["sample_rate"]


def restorer_options(way, compiled=False):
    """Arguments of ``Restorer`` for a way of running it: the one place that knows.

    Raises
    ------
    ValueError
        If ``Restorer`` has no option for what is asked.
    """
    if way == PUBLISHED:
        return {"precision": "fp32"}
    options = {"precision": way}
    if compiled:
        if "compile" not in inspect.signature(Restorer).parameters:
            raise ValueError("Restorer has no option 'compile': leave --compile out")
        options["compile"] = True
    return options


def set_calls(restorer, calls):
    """Have ``restore`` make so many calls of the score network a window.

    The sampler of the published numbers makes two calls a step; an odd number of calls
    goes without its corrector.
    """
    if restorer.sampler_name != "predictor_corrector":
        restorer.set_sampler(restorer.sampler_name, num_steps=calls)
    elif calls % 2:
        restorer.set_sampler("predictor_corrector", num_steps=calls, corrector="none")
    else:
        restorer.set_sampler("predictor_corrector", num_steps=calls // 2)


def recipe_system(recipe, **fields):
    """What a recipe trains, such as "lafufu_192_reverb"; ``fields`` of ``System``."""
    text = inference_recipe(read_recipe(RECIPES / f"{recipe}.yaml"), "none")
    return System(**{"key": recipe, "name": f"`{recipe}`", "text": text} | fields)


def _named(family, base_channels, name, full_band=False):
    size = "" if base_channels == 128 else f"_{base_channels}"
    return recipe_system(
        f"{family}{size}_wham",
        key=f"{family}{base_channels}",
        name=f"{name} {base_channels}",
        full_band=full_band,
    )


def sgmse(base_channels):
    """SGMSE+ of a width that has a recipe, such as 128."""
    return _named("sgmse", base_channels, "SGMSE+", full_band=True)


def lafufu(base_channels):
    """LAFUFU of a width that has a recipe, such as 128."""
    return _named("lafufu", base_channels, "LAFUFU")


def model_folder(folder):
    """A model folder, by its YAML."""
    folder = Path(folder)
    if not (folder / HYPERPARAMS).is_file():
        raise ValueError(
            f"{folder} is neither a system ({', '.join(known_systems())}) nor a model "
            f"folder: it has no {HYPERPARAMS}"
        )
    text = (folder / HYPERPARAMS).read_text()
    return System(str(folder), f"`{folder.name}`", text)


def shipped(name):
    """A model folder that comes with the package."""
    return replace(model_folder(shipped_model(name)), key=name)


def known_systems():
    """{key: function without arguments that gives the ``System``}, in table order."""
    known = {f"sgmse{width}": partial(sgmse, width) for width in (128, 96, 64)}
    known |= {f"lafufu{width}": partial(lafufu, width) for width in (128, 192, 256)}
    folders = sorted(models_folder().glob(f"*/{HYPERPARAMS}"))
    return known | {f.parent.name: partial(shipped, f.parent.name) for f in folders}


def find_system(name):
    """A system by its key, or the path of a model folder.

    Raises
    ------
    ValueError
        If there is no such system; names those there are.
    """
    known = known_systems()
    return known[name]() if name in known else model_folder(name)
