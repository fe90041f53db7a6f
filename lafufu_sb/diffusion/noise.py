"""Random draws and broadcasting shared by processes, objectives and samplers."""

import torch


def draw_noise(like, generator=None):
    """Draw standard normal noise in the shape of a tensor.

    Arguments
    ---------
    like : torch.Tensor
        Gives shape, device and dtype.
    generator : torch.Generator or callable, optional
        A generator, drawn on its own device, or a function from a tensor to noise of
        that shape. A function can anchor the noise to a place in the signal.

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
    """View (batch,) values so that they broadcast over a tensor of that batch."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
