"""Invertible layers for grids of numbers: what normalising flows over images are made of.

Each layer's `forward` gives (y, log_det), where log_det [N] is log |det dy/dx| in nats of each image, and its
`inverse` gives x back. Layers start as (or near) a rotation and from fixed numbers: a start that is computed from the
first batch, as Glow's, would differ between one process and two, and between a training and its resumption.

The convolutional networks inside couplings may run in bfloat16 (autocast). All else runs in the precision of x.

References: Dinh, Sohl-Dickstein and Bengio, 2016, Density estimation using Real NVP (couplings, squeeze, factoring
out); Kingma and Dhariwal, 2018, Glow: generative flow with invertible 1x1 convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.nn.convolutional import convolution


class Squeeze(nn.Module):
    """Each 2 x 2 square of places becomes one place with 4 times the channels: [N, C, H, W] <-> [N, 4·C, H/2, W/2]."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log_det, which is 0."""
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """x."""
        return F.pixel_shuffle(y, 2)


class ActNorm(nn.Module):
    """y = x·exp(log_scale) + bias, learned numbers for each channel and place, 1 and 0 at the start.

    Glow has one pair for each channel. Places of their own cost nothing, and a corner is darker than the middle.

    Args:
        shape: (channels, height, width) of x.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, *shape] -> the same, and log_det [N]."""
        return torch.addcmul(self.bias, x, self.log_scale.exp()), self.log_scale.sum().expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """[N, *shape] -> the same."""
        return (y - self.bias) * (-self.log_scale).exp()


class PointwiseConvolution(nn.Module):
    """A 1x1 convolution by a matrix W = P·L·(U + diag(d)) that can't become singular: |d| = exp(log_d).

    P (a permutation) and the signs of d are fixed, L has ones and U zeros on the diagonal; so log |det W| = Σ log_d.
    The start is a random rotation.

    Args:
        channels: of x.

    Reference:
        Kingma and Dhariwal, 2018, equations 10 and 11.
    """

    permutation: Tensor  # [C, C]
    sign: Tensor  # [C]

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(diagonal.abs().log())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, H, W] -> the same, and log_det [N]: that of W once for every place."""
        with _full_precision(x):
            lower, upper = self._factors()
            y = F.conv2d(x, (self.permutation @ lower @ upper)[:, :, None, None])
            return y, (self.log_diagonal.sum() * (x.shape[2] * x.shape[3])).expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """[N, C, H, W] -> the same."""
        with _full_precision(y):
            lower, upper = self._factors()
            half = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False, unitriangular=True)
            return F.conv2d(y, torch.linalg.solve_triangular(upper, half, upper=True)[:, :, None, None])

    def _factors(self) -> tuple[Tensor, Tensor]:
        lower = self.lower.tril(-1) + torch.eye(len(self.sign), dtype=self.lower.dtype, device=self.lower.device)
        return lower, self.upper.triu(1) + (self.sign * self.log_diagonal.exp()).diag()


class Conditioner(nn.Module):
    """The network inside a coupling: 3x3, 1x1 and 3x3 convolutions, the last of them zero at the start.

    Besides its input it sees two learned numbers for each place, at the start the coordinates: so a small network
    knows where in the image it is.

    Args:
        shape: (channels, height, width) of its input.
        hidden: channels between the convolutions.
        outputs: channels of its output.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: int, outputs: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.first = convolution(channels + 2, hidden, 3, gain=2**0.5)
        sides = (torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in (height, width))
        self.places = nn.Parameter(torch.stack(torch.meshgrid(*sides, indexing="ij")))  # [2, H, W]
        self.second = convolution(hidden, hidden, 1, gain=2**0.5)
        self.last = convolution(hidden, outputs, 3, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] -> [N, outputs, H, W], in the precision of x."""
        h = self.first(torch.cat((x, self.places.expand(len(x), -1, -1, -1)), 1))
        return self.last(F.relu(self.second(F.relu(h)))).to(x.dtype)  # type: ignore[no-any-return]


class Affine(nn.Module):
    """Log-scale and shift of some channels as a network computes them from others.

    The log-scale is bound·tanh(· / bound): no layer stretches by more than e^±bound, so neither direction overflows.

    Args:
        shape: (channels, height, width) of what they are computed from.
        hidden: channels of the network.
        outputs: channels that are scaled and shifted.
        bound: largest absolute log-scale.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: int, outputs: int, bound: float) -> None:
        super().__init__()
        self.network = Conditioner(shape, hidden, 2 * outputs)
        self.bound = bound

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """[N, channels, H, W] -> log-scale and shift, [N, outputs, H, W] each."""
        raw, shift = self.network(given).chunk(2, 1)
        return self.bound * (raw / self.bound).tanh(), shift


class Coupling(nn.Module):
    """The first half of the channels stays; the second is scaled and shifted by amounts computed from the first.

    Args:
        shape: (channels, height, width) of x, channels at least 2.
        hidden: channels of the network.
        bound: largest absolute log-scale.
    """

    def __init__(self, shape: tuple[int, int, int], *, hidden: int, bound: float) -> None:
        super().__init__()
        channels, *places = shape
        self.kept = channels // 2
        self.affine = Affine((self.kept, places[0], places[1]), hidden, channels - self.kept, bound)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, *shape] -> the same, and log_det [N]."""
        given, changed = x[:, : self.kept], x[:, self.kept :]
        log_scale, shift = self.affine(given)
        return torch.cat((given, torch.addcmul(shift, changed, log_scale.exp())), 1), log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """[N, *shape] -> the same."""
        given, changed = y[:, : self.kept], y[:, self.kept :]
        log_scale, shift = self.affine(given)
        return torch.cat((given, (changed - shift) * (-log_scale).exp()), 1)


class Split(nn.Module):
    """Takes half of the channels out of the flow as latents: Gaussian given the others, here made N(0, 1).

    Args:
        shape: (channels, height, width) of x, channels at least 2.
        hidden: channels of the network that gives mean and scale.
        bound: largest absolute log-scale.
    """

    def __init__(self, shape: tuple[int, int, int], *, hidden: int, bound: float) -> None:
        super().__init__()
        channels, *places = shape
        self.kept = channels - channels // 2
        self.affine = Affine((self.kept, places[0], places[1]), hidden, channels // 2, bound)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, *shape] -> what goes on [N, kept, H, W], latents [N, C - kept, H, W] and log_det [N]."""
        kept, out = x[:, : self.kept], x[:, self.kept :]
        log_scale, shift = self.affine(kept)
        return kept, torch.addcmul(shift, out, log_scale.exp()), log_scale.flatten(1).sum(1)

    def inverse(self, kept: Tensor, latents: Tensor) -> Tensor:
        """What went on and the latents -> [N, *shape]."""
        log_scale, shift = self.affine(kept)
        return torch.cat((kept, (latents - shift) * (-log_scale).exp()), 1)


Layer = Squeeze | ActNorm | PointwiseConvolution | Coupling


def _full_precision(x: Tensor) -> torch.autocast:
    """Products in the precision of x even where networks run in bfloat16."""
    return torch.autocast(x.device.type, enabled=False)
