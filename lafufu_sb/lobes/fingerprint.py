"""A short hash of a network's weights."""

import hashlib


def fingerprint(module):
    """Short hash of a module's weights, the same in half and in full precision.

    Binds a score model to the representation in whose latent it was trained.

    Example
    -------
    >>> import torch
    >>> module = torch.nn.Linear(2, 2)
    >>> fingerprint(module) == fingerprint(module.half())
    True
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
