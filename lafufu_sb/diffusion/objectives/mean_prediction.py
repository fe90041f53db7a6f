"""Data prediction with the weights of a denoiser of the process mean."""

from lafufu_sb.diffusion.noise import along_batch
from lafufu_sb.diffusion.objectives.data_prediction import DataPrediction
from lafufu_sb.diffusion.registry import register_objective


@register_objective
class MeanPrediction(DataPrediction):
    """Squared error of the mean of the process: ``|mean(x0_hat) - mean(x_0)|**2``.

    Denoiser loss of Richter et al. 2025, "Investigating training objectives for
    generative speech enhancement". The two means differ by ``a(t) (x0_hat - x_0)``, so
    this is data prediction whose late times, at which the data is hidden, weigh little.
    ``DataPrediction`` has the weight one at all times. Either estimate means a score,
    so that all samplers of an SDE fit.

    Arguments
    ---------
    prior_share : float
        See ``DataPrediction``.
    """

    def error(self, estimate, process, x0, t, z):
        """Difference of the means, the shape of ``x0``."""
        return along_batch(process.data_weight(t), x0) * (estimate - x0)
