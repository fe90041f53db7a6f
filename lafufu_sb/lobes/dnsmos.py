"""DNSMOS P.835 as a differentiable network."""

import pathlib

import torch
from torch import nn
from torch.nn.functional import max_pool2d, relu

from lafufu_sb.errors import MissingPackageError

SAMPLE_RATE = 16000  # Hz
FRAME, HOP = 320, 160  # samples
POOLED = (3, 4, 5)  # convolutions with a maximum over 2 x 2 after them
_PARTS = ("real", "imag")


class DNSMOSNetwork(nn.Module):
    """Predicts the ratings of ITU-T P.835 listeners, any length in parallel.

    The network of "DNSMOS P.835" (Reddy et al. 2022) with the weights that the package
    speechmos carries, in torch. Its ratings are raw: speechmos maps each by a rising
    polynomial, and repeats clips shorter than 9.01 s, which this class does not (the
    network ends in a maximum over time).

    Arguments
    ---------
    dtype : torch.dtype
        Arithmetic of the convolutions. bfloat16 is more than twice as fast on a CPU
        and changes a rating by some hundredths.

    Raises
    ------
    MissingPackageError
        If onnx or speechmos is not installed.

    Example
    -------
    >>> network = DNSMOSNetwork()
    >>> network(0.1 * torch.randn(2, 16000)).shape
    torch.Size([2, 3])
    """

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.dtype = dtype
        weights = _weights()
        bins = len(weights["time2freq/stft-real/kernel"])
        # The window is in these kernels.
        transform = [weights[f"time2freq/stft-{part}/kernel"] for part in _PARTS]
        self.register_buffer("transform", torch.cat(transform)[:, :, 0].T.contiguous())
        self.register_buffer("exponent", weights["mos_estimator_logpow/pow/y"])
        self.register_buffer("floor", weights["mos_estimator_logpow/Maximum/x"])
        self.register_buffer("scale", weights["mos_estimator_logpow/truediv/y"])
        self.bins = bins
        self.convolutions = nn.ModuleList()
        for name in ("conv2d", *(f"conv2d_{i}" for i in range(1, 7))):
            kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
            layer = nn.Conv2d(kernel.shape[1], len(kernel), 3, padding=1)
            layer.weight, layer.bias = nn.Parameter(kernel), nn.Parameter(bias)
            self.convolutions.append(layer)
        self.dense = nn.ModuleList()
        for name in ("dense", "dense_1", "dense_3"):
            place = f"mos_estimator_logpow/{name}/{{}}/ReadVariableOp/resource"
            kernel = weights[place.format("MatMul")].T.contiguous()
            layer = nn.Linear(*kernel.T.shape)
            layer.weight = nn.Parameter(kernel)
            layer.bias = nn.Parameter(weights[place.format("BiasAdd")])
            self.dense.append(layer)
        self.to(memory_format=torch.channels_last)

    def forward(self, wavs):
        """Raw signal, background and overall ratings, (batch, 3).

        Arguments
        ---------
        wavs : torch.Tensor
            (batch, time) at 16 kHz, full scale 1; at least 0.09 s, which leave one
            value after the maxima.
        """
        spectra = wavs.unfold(1, FRAME, HOP) @ self.transform
        real, imaginary = spectra.split(self.bins, dim=2)
        # Floored before the root too, whose gradient at zero is infinite.
        magnitude = (real.square() + imaginary.square()).clamp(min=1e-20).sqrt()
        levels = (magnitude**self.exponent).maximum(self.floor).log() / self.scale
        x = levels[:, None].contiguous(memory_format=torch.channels_last)
        lower = self.dtype != torch.float32
        with torch.autocast(x.device.type, self.dtype, enabled=lower):
            for i, convolution in enumerate(self.convolutions):
                x = relu(convolution(x))
                if i in POOLED:
                    x = max_pool2d(x, 2)
        x = x.amax(dim=(2, 3)).to(levels.dtype)
        for layer in self.dense[:-1]:
            x = relu(layer(x))
        return self.dense[-1](x)


def published_folder():
    """Where the package speechmos keeps the published networks, a Path."""
    try:
        import speechmos
    except ImportError as error:
        raise MissingPackageError(
            'DNSMOS needs speechmos: pip install "lafufu_sb[metrics]"'
        ) from error
    return pathlib.Path(speechmos.__file__).parent / "dnsmos_models"


def _weights():
    """All constants of the network by their names in the ONNX file."""
    try:
        import onnx  # reads the file, runs nothing
    except ImportError as error:
        raise MissingPackageError(
            'DNSMOS in a loss needs onnx: pip install "lafufu_sb[train]"'
        ) from error

    tensors = onnx.load(published_folder() / "sig_bak_ovr.onnx").graph.initializer
    read = onnx.numpy_helper.to_array
    return {t.name.removesuffix(":0"): torch.tensor(read(t)) for t in tensors}
