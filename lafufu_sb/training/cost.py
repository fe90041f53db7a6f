"""What a training step costs, said before the first one on a CPU."""

import logging
import os
import time

import torch
from speechbrain.utils.distributed import infer_device
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from lafufu_sb.training.stages import REPRESENTATION, learns

logger = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds a step that need no warning
SMALL = 10e6  # parameters that a CPU can train, about
COPIES = 6  # weights, gradients, two moments of Adam, average, kept for validation


def step_cost(function, *shapes):
    """Operations and memory of a training step, counted without computing anything.

    Arguments
    ---------
    function : callable
        Networks, called with tensors of the ``shapes``.
    *shapes : sequence of int

    Returns
    -------
    tuple of float
        Floating-point operations forwards and backwards; bytes of the activations that
        are kept for the way back.

    Example
    -------
    >>> layer = torch.nn.Linear(10, 20)
    >>> step_cost(layer, (5, 10))
    (6000.0, 200.0)
    """
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
        return tensor

    # Fake tensors have shapes and no content.
    counter = FlopCounterMode(display=False)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with fake, counter, hooks:
        function(*(torch.zeros(shape) for shape in shapes))
    return 3.0 * counter.get_total_flops(), float(sum(kept.values()))


def warn_of_cost(hparams, folder, device=None):
    """Say at once what a step needs if it will take long on this CPU.

    Arguments
    ---------
    hparams : dict
        Objects of the recipe.
    folder : Path
        The run folder; finished stages are not looked at.
    device : str, optional
        As SpeechBrain's option; nothing is said unless it is a CPU.
    """
    if torch.device(device or infer_device()).type != "cpu":
        return
    if sum(p.numel() for p in hparams["restorer"].parameters()) < SMALL:
        return
    costs = _stage_costs(hparams, folder)
    slow = []
    for stage, (operations, memory) in costs.items():
        seconds = operations / _operations_a_second()
        if seconds > PATIENCE or memory > _memory():
            gigabytes = memory / 1e9
            slow.append(f"{seconds:.0f} s and {gigabytes:.0f} GB a step ({stage})")
    if slow:
        logger.warning(
            "This recipe is made for a GPU. On this CPU it takes about %s. "
            "hparams/lafufu_mini_wham.yaml and lafufu_mini_reverb.yaml are made for a "
            "CPU",
            ", ".join(slow),
        )


def _stage_costs(hparams, folder):
    """Stage to its (operations, bytes) a step, of those that are still to come."""
    representation, score_model = hparams["representation"], hparams["score_model"]

    def features(prefix):
        samples = representation.samples(hparams[f"{prefix}_crop_frames"])
        shape = representation.features(torch.zeros(1, samples)).shape
        return (hparams[f"{prefix}_batch_size"], *shape[1:])

    costs, weights = {}, [*representation.parameters()]
    trains = learns(representation) and hparams["stage"] in ("all", "autoencoder")
    if trains and hparams["ae_epochs"] and not (folder / REPRESENTATION).exists():
        shape = features("ae")
        costs["autoencoder"] = step_cost(representation, shape, shape)
    if hparams["stage"] in ("all", "score"):
        batch, *one = features("score")
        with torch.no_grad():
            encoded = representation.encode(torch.zeros(1, *one)).latent
        latent = (batch, *encoded.shape[1:])
        names = len(hparams["condition"])
        condition = (batch, names * latent[1], *latent[2:])
        costs["score"] = step_cost(
            lambda x_t, y, t: score_model(x_t, y if names else None, t),
            *(latent, condition, (batch,)),
        )
        weights += score_model.parameters()
    fixed = 4.0 * COPIES * sum(p.numel() for p in weights)
    return {name: (flops, memory + fixed) for name, (flops, memory) in costs.items()}


def _operations_a_second():
    """How fast this CPU multiplies, measured in a moment on a convolution."""
    layer, x = torch.nn.Conv2d(64, 64, 3, padding=1), torch.zeros(2, 64, 64, 64)
    operations = 2 * 2 * 9 * 64**4
    with torch.no_grad():
        layer(x)
        start = time.perf_counter()
        for _ in range(3):
            layer(x)
    return 3 * operations / (time.perf_counter() - start)


def _memory():
    """Bytes of this machine, infinite where that cannot be asked."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return float("inf")
