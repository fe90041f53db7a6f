"""The contract of a diffusion process."""

import math
from abc import ABC, abstractmethod

from lafufu_sb.diffusion.noise import along_batch, draw_noise


class Process(ABC):
    """``x_t = a(t) x_0 + b(t) y + std(t) z`` for ``t`` in [t_eps, t_max].

    ``b`` is ``1 - a`` unless overridden. ``y`` is the end of the process, such as the
    distorted latent. ``z`` is normal with ``noise_variance`` per real channel. SGMSE+
    draws complex noise of total variance one, which is 0.5 for the real and 0.5 for the
    imaginary part. The processes that lead to ``y`` keep 0.5 in a latent too, so that
    the ratio of signal to noise stays the published one. Times are (batch,) tensors.
    Notation: Richter et al. 2023 (SGMSE+).

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
    has_score : bool
        Whether ``a`` and ``std`` are positive from ``t_eps`` to ``t_max``. A score then
        means an estimate of ``x_0`` and the other way round, and a sampler may be
        called with either.
    """

    t_eps = 1e-4
    t_max = 1.0
    noise_variance = 0.5
    has_score = False

    @abstractmethod
    def data_weight(self, t):
        """Weight ``a`` of ``x_0`` in the mean, (batch,)."""

    def end_weight(self, t):
        """Weight ``b`` of ``y`` in the mean, (batch,): ``1 - a`` unless overridden."""
        return 1 - self.data_weight(t)

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

        ``x_0`` is unknown there, and ``y`` takes its place.

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
            ``(a + b) y + std z`` at ``t_start``, the shape of ``mean``. Where the
            weights add up to one, this is ``y + std z``.
        """
        t_start = self.t_max if t_start is None else t_start
        t = mean.new_full(mean.shape[:1], t_start)
        weight = along_batch(self.data_weight(t) + self.end_weight(t), mean)
        noise = along_batch(self.std(t), mean) * self.noise(mean, generator)
        return weight * mean + noise

    def noise(self, like, generator=None):
        """Draw ``z`` in the shape of a tensor."""
        return math.sqrt(self.noise_variance) * draw_noise(like, generator)

    def mean(self, x0, y, t):
        """Mean of ``x_t`` given both ends, the shape of ``x0``."""
        a, b = self.data_weight(t), self.end_weight(t)
        return along_batch(a, x0) * x0 + along_batch(b, x0) * y

    def perturb(self, x0, y, t, z):
        """``x_t`` for noise ``z``."""
        return self.mean(x0, y, t) + along_batch(self.std(t), y) * z

    def to_data(self, score, x, y, t):
        """``x_0`` that a score at ``x`` means (Tweedie's formula), the shape of ``x``.

        Scores are in units of the noise: ``-z / std``.
        """
        a, b = along_batch(self.data_weight(t), x), along_batch(self.end_weight(t), x)
        return (x - b * y + along_batch(self.std(t), x).square() * score) / a

    def to_score(self, data, x, y, t):
        """Score at ``x`` that an estimate of ``x_0`` means, the shape of ``x``."""
        return (self.mean(data, y, t) - x) / along_batch(self.std(t), x).square()

    def __repr__(self):
        """Class and public parameters, by which processes are compared."""
        numbers = (f"{k}={v}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({', '.join(numbers)})"


class SDE(Process):
    """A process that is given as ``dx = drift dt + diffusion dw``, linear in ``x``.

    The samplers ``predictor_corrector``, ``probability_flow`` and ``ancestral`` fit
    every subclass.
    """

    has_score = True

    @abstractmethod
    def drift(self, x, y, t):
        """Drift at state ``x``, the shape of ``x``."""

    @abstractmethod
    def diffusion(self, t):
        """Diffusion coefficient ``g(t)``, (batch,)."""
