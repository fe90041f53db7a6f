"""A training stage, and how the stages of a recipe follow each other.

A recipe holds numbers and networks. What SpeechBrain needs beside them (averaged
weights, epoch counter, checkpointer) is the same for every stage and made here.
"""

from pathlib import Path

from speechbrain.utils.distributed import run_on_main
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.logger import get_logger
from torch.nn import Module, ModuleDict

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.folder import loadables, weights_name
from lafufu_sb.inference.weights import load_weights, save_weights
from lafufu_sb.lobes.pre_enhancer import PreEnhancer
from lafufu_sb.lobes.representations import LatentRepresentation
from lafufu_sb.training.checkpoints import (
    AtomicCheckpointer,
    check_pairing,
    mark_pairing,
)
from lafufu_sb.training.ema import ExponentialMovingAverage

logger = get_logger(__name__)

STAGES = ("pre_enhancer", "autoencoder", "score", "few_step", "test")
PREFIXES = {"autoencoder": "ae"}  # of a stage's keys in a recipe, else its name
FIRST = {"pre_enhancer": "pre_enhancer", "autoencoder": "representation"}  # and part
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
        self.counter = EpochCounter(limit=stage_value("epochs", name, hparams))
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
        done = epochs_done(self.checkpointer)
        if not done or not self.load_best():
            raise UsageError(
                f"{self.folder} has no checkpoint of a validated epoch: run --stage "
                f"{self.name} first, or give a model folder as init_from, with "
                f"--{self.name}_epochs=0"
            )
        if done < self.counter.limit:
            raise UsageError(
                f"the {self.name} stage has {done} of {self.counter.limit} epochs: run "
                f"--stage {self.name} first, or accept it with "
                f"--{self.name}_epochs={done}"
            )


def stage_value(key, stage, hparams):
    """Value of a recipe's key for a stage, such as ``ae_epochs``."""
    return hparams[f"{PREFIXES.get(stage, stage)}_{key}"]


def epochs_done(checkpointer):
    """Number of validated epochs that checkpoints were left of."""
    checkpoints = checkpointer.list_checkpoints()
    return max((c.meta.get("epoch", 0) for c in checkpoints), default=0)


def trained_modules(name, hparams):
    """Networks that a stage trains, by name; all others are frozen.

    With ``train_decoder`` the decoder learns along with the score model, if there is a
    decoded loss; without ``train_score_model`` it learns alone.
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
    if not hparams["train_score_model"]:
        modules["score_model"].requires_grad_(False)
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


def given_parts(hparams):
    """Parts whose weights ``init_from`` gives, in the order of ``loadables``."""
    parts, wanted = loadables(hparams), hparams["init_parts"]
    if hparams["init_from"] is None:
        return []
    return parts if wanted is None else [part for part in parts if part in wanted]


def taken_stages(hparams, folder):
    """First stages that ``init_from`` takes the place of: given, and no epochs."""
    given = given_parts(hparams)
    return [
        stage
        for stage, part in FIRST.items()
        if part in given
        and not stage_value("epochs", stage, hparams)
        and not (folder / weights_name(part)).exists()
    ]


def due_stages(hparams, folder):
    """Stages that are asked for, train something and have left no result.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe.
    folder : Path
        The run folder.

    Returns
    -------
    list of str
        In the order of ``STAGES``, without "test". Of score and few-step stage, which
        leave checkpoints, epochs may be done.
    """
    trains = {
        "pre_enhancer": trains_pre_enhancer(hparams),
        "autoencoder": True,
        "score": bool(hparams["score_epochs"]),
        "few_step": bool(hparams["few_step_epochs"]),
    }
    taken = taken_stages(hparams, folder)
    due = []
    for stage, some in trains.items():
        if not some or hparams["stage"] not in ("all", stage) or stage in taken:
            continue
        if stage in FIRST and (folder / weights_name(FIRST[stage])).exists():
            file = folder / weights_name(FIRST[stage])
            logger.info("Stage %s is finished: %s", stage, file)
        else:
            due.append(stage)
    return due


def epochs_left(hparams, folder):
    """{stage: epochs} of the due stages that still have steps to make."""
    left = {}
    for stage in due_stages(hparams, folder):
        done = 0
        if has_begun(stage, hparams):
            done = epochs_done(AtomicCheckpointer(folder / stage))
        if stage != "autoencoder" or learns(hparams["representation"]):
            left[stage] = stage_value("epochs", stage, hparams) - done
    return {stage: epochs for stage, epochs in left.items() if epochs > 0}


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
    """Load what the earlier stages left, and bind a later stage's checkpoints to it.

    To be called before each later stage: the one before may have trained the decoder.
    """
    load_parts(hparams, folder)
    check_pairing(hparams["restorer"], folder / name)
    run_on_main(mark_pairing, args=[hparams["restorer"], folder / name])


def begin_few_step(hparams, folder):
    """Make the few-step stage, its score model filled with what it starts from.

    These are the averaged weights of the score stage's best epoch, or with
    ``score_epochs`` 0 those of ``init_from``. A stage with a checkpoint resumes from
    that.

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
    given = "score_model" in given_parts(hparams) and not hparams["score_epochs"]
    if not has_begun("few_step", hparams) and not given:
        check_pairing(hparams["restorer"], folder / "score")
        Stage("score", hparams).load_finished()
    return Stage("few_step", hparams)
