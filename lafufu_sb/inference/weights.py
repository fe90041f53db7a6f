"""Weight files, and the fingerprint that binds two networks together."""

import logging
from pathlib import Path

import torch

from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole
from lafufu_sb.lobes.fingerprint import fingerprint

logger = logging.getLogger(__name__)


def save_weights(module, path, half=False):
    """Write a module's state, whole or not at all.

    Arguments
    ---------
    module : torch.nn.Module
        To save.
    path : str or Path
        File to write.
    half : bool
        Store floating-point weights in half precision.
    """
    state = {
        name: tensor.detach().cpu() for name, tensor in module.state_dict().items()
    }
    if half:
        state = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    with written_whole(path) as temporary:
        torch.save(state, temporary)


def load_weights(module, path):
    """Load a module's state strictly, without running code from the file.

    SpeechBrain's own loading takes missing and unexpected keys for warnings and
    leaves random weights behind.

    Arguments
    ---------
    module : torch.nn.Module
        To fill.
    path : str or Path
        What ``save_weights`` wrote.

    Raises
    ------
    UsageError
        If the file does not hold exactly the weights that the module has.
    """
    name = Path(path).name
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"weights {path} do not exist") from error
    except Exception as error:
        raise UsageError(
            f"{name} is not a file of weights ({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise UsageError(f"{name} is not a file of weights")
    expected = module.state_dict()
    problems = [f"missing {key}" for key in sorted(set(expected) - set(state))]
    problems += [f"unexpected {key}" for key in sorted(set(state) - set(expected))]
    problems += [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(set(expected) & set(state))
        if state[key].shape != expected[key].shape
    ]
    if problems:
        shown = "; ".join(problems[:5])
        raise UsageError(
            f"{name} does not fit the model of the YAML, {len(problems)} differences: "
            f"{shown}. Use weights and hyperparams.yaml of the same export"
        )
    module.load_state_dict(state)


def check_fingerprint(representation, expected):
    """Refuse a representation other than the one a score model was exported with.

    Arguments
    ---------
    representation : torch.nn.Module
        With its weights loaded.
    expected : str or None
        ``fingerprint`` that the model folder notes. Without one there is a warning.

    Raises
    ------
    UsageError
        If its fingerprint is another one.
    """
    if expected is None:
        logger.warning(
            "the model folder has no representation_fingerprint, so weights of another "
            "representation go unnoticed: export the run again"
        )
        return
    mark = fingerprint(representation)
    if mark != expected:
        raise UsageError(
            "the weights of the representation are not those that the score model was "
            f"trained with (fingerprint {mark}, expected {expected}): export the run "
            "again"
        )
