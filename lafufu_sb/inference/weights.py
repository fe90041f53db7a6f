"""Weight files of networks, and the fingerprint that binds two networks together."""

import hashlib
import logging
from pathlib import Path

import torch

from lafufu_sb.files import written_whole

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


def load_weights(module, path, kept=None):
    """Load a module's state strictly, without running code from the file.

    SpeechBrain's own loading takes missing and unexpected keys for warnings and
    leaves random weights behind.

    Arguments
    ---------
    module : torch.nn.Module
        To fill.
    path : str or Path
        What ``save_weights`` wrote.
    kept : str, optional
        Weights whose names begin so may be missing: the module keeps its own.

    Raises
    ------
    ValueError
        If the file does not hold exactly the weights that the module has.
    """
    name = Path(path).name
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"weights {path} do not exist") from error
    except Exception as error:
        raise ValueError(
            f"{name} is not a file of weights ({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise ValueError(f"{name} is not a file of weights")
    expected = module.state_dict()
    if kept is not None:
        own = {key: expected[key] for key in expected if key.startswith(kept)}
        state = own | state
    problems = [f"missing {key}" for key in sorted(set(expected) - set(state))]
    problems += [f"unexpected {key}" for key in sorted(set(state) - set(expected))]
    problems += [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(set(expected) & set(state))
        if state[key].shape != expected[key].shape
    ]
    if problems:
        shown = "; ".join(problems[:5])
        raise ValueError(
            f"{name} does not fit the model of the YAML, {len(problems)} differences: "
            f"{shown}. Use weights and hyperparams.yaml of the same export"
        )
    module.load_state_dict(state)


def fingerprint(module):
    """Short hash of a module's weights, the same in half and in full precision.

    Binds a score model to the autoencoder in whose latent it was trained.

    Example
    -------
    >>> module = torch.nn.Linear(2, 2)
    >>> fingerprint(module) == fingerprint(module.half())
    True
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_fingerprint(autoencoder, expected):
    """Refuse an autoencoder that is not the one a score model was exported with.

    Arguments
    ---------
    autoencoder : torch.nn.Module
        As loaded.
    expected : str or None
        ``fingerprint`` that the model folder notes; without one there is a warning.

    Raises
    ------
    ValueError
        If it is another one.
    """
    if expected is None:  # a folder of before there were any
        logger.warning(
            "the model does not say with which autoencoder it was trained: export the "
            "run again, so that weights of another one are noticed"
        )
        return
    mark = fingerprint(autoencoder)
    if mark != expected:
        raise ValueError(
            "the autoencoder's weights are not those that the score model was trained "
            f"with (fingerprint {mark}, expected {expected}): export the run again"
        )
