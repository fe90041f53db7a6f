"""The contract of a diffusion process."""

import math
from abc import ABC, abstractmethod

from lafufu_sb.diffusion.noise import along_batch, draw_noise


class Process(ABC):
    """``x_t = a(t) x_0 + (1 - a(t)) y + std(t) z`` for ``t`` in [t_eps, t_max].

    ``y`` is the end of the process, such as the distorted latent. ``z`` is normal with
    ``noise_variance`` per real channel. SGMSE+ draws complex noise of total variance
    one, which is 0.5 for the real and 0.5 for the imaginary part. The processes here
    keep 0.5 in a latent too, so that the ratio of signal to noise stays the published
    one. Times are (batch,) tensors. Notation: Richter et al. 2023 (SGMSE+).

    A subclass defines ``data_weight`` and ``std``, and is registered with
    ``@register_process``. Public attributes hold its parameters: two processes of one
    class and equal public attributes are the same process.

    Attributes
    ----------
    t_eps : float
        Smallest time of training and sampling.
    t_max : float
        Largest time; samplers start there.
    noise_variance : float
        Variance of ``z`` per real channel.
    """

    t_eps = 1e-4
    t_max = 1.0
    noise_variance = 0.5

    @abstractmethod
    def data_weight(self, t):
        """Weight ``a`` of ``x_0`` in the mean, (batch,). That of ``y`` is 1 - a."""

    @abstractmethod
    def std(self, t):
        """Standard deviation of ``x_t`` given both ends, (batch,)."""

    def noise_level(self, t):
        """A level that rises with time, (batch,); ``std`` by default.

        Samplers with ``spacing="log_sigma"`` divide its logarithm evenly. Override it
        where ``std`` does not rise, as in a bridge.
        """
        return self.std(t)

    def half_log_snr(self, t):
        """``log(a / std)``, (batch,), on which multistep samplers extrapolate."""
        return self.data_weight(t).log() - self.std(t).log()

    def prior(self, mean, generator=None, t_start=None):
        """Draw the start of the reverse process.

        Arguments
        ---------
        mean : torch.Tensor
            Where the process ends, ``y``: (batch, channels, ...).
        generator : torch.Generator or callable, optional
            See ``draw_noise``.
        t_start : float, optional
            Reverse starting point, ``t_max`` by default.

        Returns
        -------
        torch.Tensor
            ``mean + std(t_start) z``, the shape of ``mean``.
        """
        t_start = self.t_max if t_start is None else t_start
        t = mean.new_full(mean.shape[:1], t_start)
        return mean + along_batch(self.std(t), mean) * self.noise(mean, generator)

    def noise(self, like, generator=None):
        """Draw ``z`` in the shape of a tensor."""
        return math.sqrt(self.noise_variance) * draw_noise(like, generator)

    def mean(self, x0, y, t):
        """Mean of ``x_t`` given both ends, the shape of ``x0``."""
        weight = along_batch(self.data_weight(t), x0)
        return weight * x0 + (1 - weight) * y

    def perturb(self, x0, y, t, z):
        """``x_t`` for noise ``z``."""
        return self.mean(x0, y, t) + along_batch(self.std(t), y) * z

    def __repr__(self):
        """Class and public parameters, by which processes are compared."""
        numbers = (f"{k}={v}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({', '.join(numbers)})"


class SDE(Process):
    """A process that is given as ``dx = drift dt + diffusion dw``.

    The samplers ``predictor_corrector`` and ``probability_flow`` fit every subclass.
    """

    @abstractmethod
    def drift(self, x, y, t):
        """Drift at state ``x``, the shape of ``x``."""

    @abstractmethod
    def diffusion(self, t):
        """Diffusion coefficient ``g(t)``, (batch,)."""
