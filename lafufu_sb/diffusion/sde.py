"""Diffusion processes between a clean ``x_0`` and its distorted version ``y``.

Notation follows Richter et al. 2023 (SGMSE+): ``x_t = mean(x_0, y, t) +
std(t) * z``. Times are (batch,) tensors. ``z`` comes from ``noise``, whose variance
per real channel is ``noise_variance``: SGMSE+ draws complex noise of total variance
one, that is 0.5 for the real and 0.5 for the imaginary part, and so do the defaults
here, also in a latent, so that the ratio of signal to noise stays the published one.
"""

import math

import torch


def draw_noise(like, generator=None):
    """Standard normal noise in the shape of a tensor.

    Arguments
    ---------
    like : torch.Tensor
        Gives shape, device and dtype.
    generator : torch.Generator or callable, optional
        A generator (drawn on its own device), or a function from a tensor to noise
        of that shape, which lets a caller anchor the noise to something else than
        the order of the draws.

    Returns
    -------
    torch.Tensor
    """
    if callable(generator):
        return generator(like)
    device = like.device if generator is None else generator.device
    noise = torch.randn(
        like.shape, generator=generator, device=device, dtype=torch.float32
    )
    return noise.to(like)


def along_batch(values, like):
    """View (batch,) values so that they broadcast over a (batch, ...) tensor."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


class _Process:
    """``x_t = a(t) x_0 + (1 - a(t)) y + std(t) z``, ``a`` and ``std`` its own."""

    def noise(self, like, generator=None):
        """Draw ``z``: normal, ``noise_variance`` per real channel."""
        return math.sqrt(self.noise_variance) * draw_noise(like, generator)

    def mean(self, x0, y, t):
        """Mean of ``x_t`` given both ends."""
        weight = along_batch(self.data_weight(t), x0)
        return weight * x0 + (1 - weight) * y

    def perturb(self, x0, y, t, z):
        """``x_t`` for noise ``z``: mean(x0, y, t) + std(t) z."""
        return self.mean(x0, y, t) + along_batch(self.std(t), y) * z


class OUVESDE(_Process):
    """Ornstein-Uhlenbeck process with exploding variance (SGMSE+, eq. 10-13).

    Arguments
    ---------
    theta : float
        Stiffness: how fast the mean moves from ``x_0`` to ``y``.
    sigma_min, sigma_max : float
        Ends of the noise schedule.
    t_eps : float
        Smallest time of training and sampling.
    noise_variance : float
        Variance of the noise per real channel (see the module's text).

    Example
    -------
    >>> sde = OUVESDE()
    >>> [round(float(s), 4) for s in sde.std(torch.tensor([0.03, 0.5, 1.0]))]
    [0.0374, 0.2298, 0.7315]
    """

    t_max = 1.0

    def __init__(
        self,
        *,
        theta=2.0,
        sigma_min=0.1,
        sigma_max=1.0,
        t_eps=0.03,
        noise_variance=0.5,
    ):
        self.theta = theta
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.t_eps = t_eps
        self.noise_variance = noise_variance
        self._log_ratio = math.log(sigma_max / sigma_min)

    def drift(self, x, y, t):
        """``theta (y - x)``."""
        return self.theta * (y - x)

    def diffusion(self, t):
        """``g(t)``, (batch,)."""
        return (
            self.sigma_min
            * torch.exp(self._log_ratio * t)
            * math.sqrt(2 * self._log_ratio)
        )

    def data_weight(self, t):
        """Weight ``a`` of ``x_0`` in the mean, (batch,); that of ``y`` is ``1 - a``."""
        return torch.exp(-self.theta * t)

    def std(self, t):
        """``sigma(t)``, (batch,)."""
        rate = self.theta + self._log_ratio
        variance = (
            self.sigma_min**2
            * torch.exp(-2 * self.theta * t)
            * torch.expm1(2 * rate * t)
            * self._log_ratio
            / rate
        )
        return variance.sqrt()

    def noise_level(self, t):
        """``sigma(t)``, which rises with time, (batch,)."""
        return self.std(t)

    def half_log_snr(self, t):
        """``log(a / sigma)``, (batch,)."""
        return -self.theta * t - self.std(t).log()

    def prior(self, y, generator=None, t_start=None):
        """Start of the reverse process, ``y + sigma(t_start) z``; by default at 1.

        The mean there is ``y`` but for ``exp(-theta t_start) (x_0 - y)``, which nobody
        knows at that point and the published sampler ignores too: 0.14 of the
        difference at 1, 0.37 at 0.5 (theta 2).
        """
        t_start = self.t_max if t_start is None else t_start
        t = torch.full(y.shape[:1], t_start, device=y.device)
        return y + along_batch(self.std(t), y) * self.noise(y, generator)


class SchroedingerBridge(_Process):
    """Schroedinger bridge with exploding variance (Jukic et al. 2024).

    Starts at exactly ``y`` and ends at exactly ``x_0``: ``f = 0``,
    ``g(t) = sqrt(c) k**t``.

    Arguments
    ---------
    k, c : float
        Base and scale of the noise schedule.
    t_eps : float
        Smallest time of training and sampling.
    noise_variance : float
        Variance of the noise per real channel (see the module's text).

    Example
    -------
    >>> bridge = SchroedingerBridge()
    >>> [round(float(s), 4) for s in bridge.std(torch.tensor([0.1, 0.5, 1.0]))]
    [0.2061, 0.4918, 0.0]
    """

    t_max = 1.0

    def __init__(self, *, k=2.6, c=0.4, t_eps=1e-4, noise_variance=0.5):
        self.k = k
        self.c = c
        self.t_eps = t_eps
        self.noise_variance = noise_variance

    def variances(self, t):
        """``sigma_t**2``, grown since 0, and what is left until 1; (batch,) each."""

        # With expm1 both are exact at their zero, where the difference of two large
        # numbers would leave a rest.
        rate = 2 * math.log(self.k)
        since = self.c * torch.expm1(rate * t) / rate
        left = self.c * torch.exp(rate * t) * torch.expm1(rate * (1 - t)) / rate
        return since, left

    def data_weight(self, t):
        """Weight ``a`` of ``x_0`` in the mean, (batch,); that of ``y`` is ``1 - a``."""
        since, left = self.variances(t)
        return left / (since + left)

    def std(self, t):
        """Standard deviation of ``x_t`` given both ends, (batch,)."""
        since, left = self.variances(t)
        return (since * left / (since + left)).sqrt()

    def noise_level(self, t):
        """``sigma_t``, which rises with time as ``std`` does not, (batch,)."""
        return self.variances(t)[0].sqrt()

    def half_log_snr(self, t):
        """``log(a / std)``, (batch,); minus infinity at 1."""
        since, left = self.variances(t)
        return 0.5 * (left.log() - since.log() - (since + left).log())

    def prior(self, y, generator=None):
        """Start of the reverse process: ``y`` itself, without noise."""
        return y
