"""Which inputs a method encodes, and the three roles that they play."""

import torch

from lafufu_sb.errors import UsageError

INPUTS = ("distorted", "enhanced")


class Conditioning:
    """Distorted and pre-enhanced input as mean, condition and source of the skips.

    Arguments
    ---------
    condition : sequence of str
        What the network sees beside the diffused state, any of "distorted" and
        "enhanced", in this order along the channels.
    mean : str
        Where the process ends and sampling starts.
    skips : str or sequence of str
        Where the decoder's skips come from. Of several inputs the first gives the
        skips, and the decoder's filter sees all (``Representation.join``).
    pre_enhances : bool
        Whether there is a pre-enhancer. Without one nothing is "enhanced".
    joined_inputs : int
        How many inputs the representation takes skips of.

    Raises
    ------
    UsageError
        For another name, "enhanced" without a pre-enhancer, or another number of
        inputs that give skips.

    Example
    -------
    >>> roles = Conditioning(["distorted", "enhanced"], "enhanced", "distorted", True)
    >>> roles.needed
    ('distorted', 'enhanced')
    """

    def __init__(self, condition, mean, skips, pre_enhances, joined_inputs=1):
        skips = (skips,) if isinstance(skips, str) else tuple(skips)
        if len(skips) != joined_inputs:
            raise UsageError(
                f"skips name {len(skips)} inputs, but the representation takes "
                f"{joined_inputs} (filter_inputs)"
            )
        names = [*condition, mean, *skips]
        for name in names:
            if name not in INPUTS:
                raise UsageError(
                    f"condition, mean and skips name {' or '.join(INPUTS)}, got "
                    f"{name!r}"
                )
        if "enhanced" in names and not pre_enhances:
            raise UsageError(
                "condition, mean or skips name 'enhanced', but there is no pre_enhancer"
            )
        if pre_enhances and "enhanced" not in names:
            raise UsageError(
                "there is a pre_enhancer, but condition, mean and skips do not name "
                "'enhanced'"
            )
        self.condition = tuple(condition)
        self.mean = mean
        self.skips = skips

    @property
    def needed(self):
        """Names of the inputs that are encoded."""
        names = {*self.condition, self.mean, *self.skips}
        return tuple(name for name in INPUTS if name in names)

    def roles(self, encoded):
        """Mean and condition of a batch.

        Arguments
        ---------
        encoded : dict of str to Encoded
            By name, for all of ``needed``.

        Returns
        -------
        mean : torch.Tensor
            (batch, channels, ..., columns)
        condition : torch.Tensor or None
            (batch, names * channels, ..., columns)
        sources : list of Encoded
            Give the decoder its skips and size, see ``Representation.join``.
        """
        latents = [encoded[name].latent for name in self.condition]
        condition = None
        if latents:
            condition = latents[0] if len(latents) == 1 else torch.cat(latents, dim=1)
        return encoded[self.mean].latent, condition, self.sources(encoded)

    def sources(self, encoded):
        """The ``Encoded`` that ``skips`` names, in its order."""
        return [encoded[name] for name in self.skips]
