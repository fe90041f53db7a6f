"""Absolute errors: a training objective, and a loss of decoded estimates."""

from torch import nn

from lafufu_sb.diffusion.objectives import DataPrediction
from lafufu_sb.diffusion.registry import register_objective


@register_objective
class AbsoluteError(DataPrediction):
    """Data prediction with the sum of absolute errors in place of squared ones."""

    def distance(self, error):
        """Sum of absolute errors of each item, (batch,)."""
        return error.abs().flatten(1).sum(dim=1)


class MagnitudeError(nn.Module):
    """Absolute differences of magnitudes, summed over an item's elements."""

    def forward(self, estimate, target):
        """A scalar from decoded and clean features, (batch, 2, bins, frames) each."""
        # A magnitude has no gradient at zero: the small number avoids 0 / 0.
        estimate, target = (
            (x.float().square().sum(dim=1) + 1e-8).sqrt() for x in (estimate, target)
        )
        return (estimate - target).abs().flatten(1).sum(dim=1).mean()
