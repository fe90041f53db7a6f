"""A training stage, and how the stages of a recipe follow each other.

A recipe holds numbers and networks. What SpeechBrain needs beside them (averaged
weights, epoch counter, checkpointer) is the same for every stage and made here.
"""

from pathlib import Path

from speechbrain.utils.distributed import run_on_main
from speechbrain.utils.epoch_loop import EpochCounter
from torch.nn import Module, ModuleDict

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.folder import loadables, weights_file, weights_name
from lafufu_sb.inference.interface import EnhanceLatent
from lafufu_sb.inference.weights import load_weights, save_weights
from lafufu_sb.lobes.fingerprint import fingerprint
from lafufu_sb.lobes.pre_enhancer import PreEnhancer
from lafufu_sb.lobes.representations import LatentRepresentation
from lafufu_sb.training.checkpoints import (
    AtomicCheckpointer,
    check_pairing,
    mark_pairing,
)
from lafufu_sb.training.ema import ExponentialMovingAverage

STAGES = ("pre_enhancer", "autoencoder", "score", "few_step", "test")
PREFIXES = {"autoencoder": "ae"}  # of a stage's keys in a recipe, else its name
# Weights in the output folder, of stages that are finished
PRE_ENHANCER = weights_name("pre_enhancer")
REPRESENTATION = weights_name("representation")


class Stage:
    """What a stage trains, for how long, and where its checkpoints are.

    Making one freezes the networks that it does not train.

    Arguments
    ---------
    name : str
        One of ``STAGES`` but "test"; the sub-folder of its checkpoints.
    hparams : dict
        Objects of the recipe: networks, ``output_folder``, ``best_key`` and the
        stage's epochs.

    Attributes
    ----------
    modules : dict of str to torch.nn.Module
        The trained networks.
    counter : EpochCounter
    ema : ExponentialMovingAverage
        Average of all ``modules``, started from their weights at construction.
    checkpointer : AtomicCheckpointer
    """

    def __init__(self, name, hparams):
        self.name = name
        self.folder = Path(hparams["output_folder"]) / name
        self.report_folder = self.folder.with_name(report_name(name))
        self.best_key = hparams["best_key"]
        self.modules = trained_modules(name, hparams)
        prefix = PREFIXES.get(name, name)
        self.counter = EpochCounter(limit=hparams[f"{prefix}_epochs"])
        followed = list(self.modules.values())
        one = len(followed) == 1
        self.ema = ExponentialMovingAverage(
            followed[0] if one else ModuleDict(self.modules)
        )
        self.checkpointer = AtomicCheckpointer(self.folder, dict(self.modules))

    def load_best(self):
        """Fill the modules with the averaged weights of the best epoch.

        Returns
        -------
        bool
            False if no epoch was validated yet.
        """
        if "ema" not in self.checkpointer.recoverables:
            self.checkpointer.add_recoverable("ema", self.ema)
        if self.checkpointer.recover_if_possible(max_key=self.best_key) is None:
            return False
        self.ema.copy_to_module()
        return True

    def load_finished(self):
        """``load_best``, once all epochs are done.

        Raises
        ------
        UsageError
            If the stage is not finished, with the options that help.
        """
        checkpoints = self.checkpointer.list_checkpoints()
        done = max((c.meta.get("epoch", 0) for c in checkpoints), default=0)
        if not done or not self.load_best():
            raise UsageError(
                f"{self.folder} has no checkpoint of a validated epoch: run --stage "
                f"{self.name} first, or give a model folder as few_step_init"
            )
        if done < self.counter.limit:
            raise UsageError(
                f"the {self.name} stage has {done} of {self.counter.limit} epochs: run "
                f"--stage {self.name} first, or accept it with "
                f"--{self.name}_epochs={done}"
            )


def trained_modules(name, hparams):
    """Networks that a stage trains, by name; all others are frozen.

    With ``train_decoder`` the decoder learns along with the score model, if there is a
    decoded loss.
    """
    representation, pre_enhancer = hparams["representation"], hparams["pre_enhancer"]
    if name == "pre_enhancer":
        return {"pre_enhancer": pre_enhancer}
    if isinstance(pre_enhancer, Module):
        pre_enhancer.requires_grad_(False)
    if name == "autoencoder":
        if isinstance(representation, LatentRepresentation):
            decoder = representation.decoder
            for part in (decoder.filter, decoder.gate):  # see LatentDecoder
                if part is not None:
                    part.requires_grad_(False)
        return {"representation": representation}
    representation.requires_grad_(False)
    modules = {"score_model": hparams["score_model"]}
    if hparams["train_decoder"]:
        learns = hparams[f"{name}_decoded_loss"] is not None
        modules["decoder"] = representation.decoder.requires_grad_(learns)
    return modules


def learns(module):
    """Whether a part of a recipe has something to train."""
    return isinstance(module, Module) and any(
        parameter.requires_grad for parameter in module.parameters()
    )


def trains_pre_enhancer(hparams):
    """Whether the recipe trains its pre-enhancer: weights, epochs, features of
    windows."""
    pre_enhancer = hparams["pre_enhancer"]
    return (
        isinstance(pre_enhancer, PreEnhancer)
        and bool(hparams["pre_enhancer_epochs"])
        and any(True for _ in pre_enhancer.parameters())
    )


def has_begun(name, hparams):
    """Whether a stage has a checkpoint."""
    return any((Path(hparams["output_folder"]) / name).glob("CKPT*"))


def report_name(stage):
    """Folder of a stage's pictures and results."""
    return "report" if stage == "score" else f"{stage}_report"


def last_stage(hparams):
    """Stage whose weights are tested and exported: "score" or "few_step".

    Example
    -------
    >>> last_stage({"few_step_epochs": 5}), last_stage({"few_step_epochs": 0})
    ('few_step', 'score')
    """
    return "few_step" if hparams["few_step_epochs"] else "score"


def load_parts(hparams, folder):
    """Load the finished representation and pre-enhancer of a run folder."""
    load_weights(hparams["representation"], folder / REPRESENTATION)
    if (folder / PRE_ENHANCER).exists():
        load_weights(hparams["pre_enhancer"], folder / PRE_ENHANCER)


def save_part(name, hparams, folder):
    """Write what a finished stage leaves in the run folder."""
    run_on_main(save_weights, args=[hparams[name], folder / weights_name(name)])


def take_parts(name, hparams, folder):
    """Load what the earlier stages left and bind a later stage's checkpoints to it.

    To be called before each later stage: the one before may have trained the decoder.
    """
    load_parts(hparams, folder)
    check_pairing(hparams["restorer"], folder / name)
    run_on_main(mark_pairing, args=[hparams["restorer"], folder / name])


def starts_from_model(hparams):
    """Whether ``few_step_init`` is still to be taken over, see ``adopt_model``."""
    return (
        hparams["few_step_init"] is not None
        and hparams["stage"] in ("all", "few_step")
        and not has_begun("few_step", hparams)
    )


def adopt_model(hparams, run_folder):
    """Take the model folder ``few_step_init`` as the result of the earlier stages.

    Loads all its weights and writes those of representation and pre-enhancer into the
    run folder.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe.
    run_folder : Path
        The output folder.

    Raises
    ------
    FileNotFoundError, UsageError
        If the folder is no model folder, its process, objective or networks are not
        those of the recipe, or the run already has another representation.
    """
    folder = Path(hparams["few_step_init"])
    given = EnhanceLatent.from_hparams(source=folder).restorer
    # Networks of another process can have the same shapes: their weights would load.
    theirs, ours = _method(given), _method(hparams["restorer"])
    if theirs != ours:
        raise UsageError(
            f"few_step_init {folder} was trained with {theirs}, this recipe has "
            f"{ours}: use the recipe of that model"
        )
    own = run_folder / REPRESENTATION
    if own.exists():
        load_weights(hparams["representation"], own)
        if fingerprint(hparams["representation"]) != fingerprint(given.representation):
            raise UsageError(
                f"{own} is not the representation of few_step_init {folder}: choose "
                "another output_folder"
            )
    names = loadables(hparams)
    for name in names:
        load_weights(hparams[name], weights_file(folder, name))
    for name in names[:-1]:  # the score model has checkpoints
        save_part(name, hparams, run_folder)


def _method(restorer):
    values = vars(restorer.process).items()
    numbers = (f"{k}={v}" for k, v in values if not k.startswith("_"))
    process, objective = type(restorer.process), type(restorer.objective)
    return f"{process.__name__}({', '.join(numbers)}) and {objective.__name__}"


def begin_few_step(hparams, folder):
    """Make the few-step stage, its score model filled with what it starts from.

    These are the averaged weights of the score stage's best epoch, unless
    ``adopt_model`` has loaded others. A stage with a checkpoint resumes from that.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe, representation and pre-enhancer loaded.
    folder : Path
        The run folder.

    Returns
    -------
    Stage

    Raises
    ------
    UsageError
        If the score stage is not finished.
    """
    if not has_begun("few_step", hparams) and hparams["few_step_init"] is None:
        check_pairing(hparams["restorer"], folder / "score")
        Stage("score", hparams).load_finished()
    return Stage("few_step", hparams)
