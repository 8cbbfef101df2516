"""A normalising flow as prior of a latent vector.

    z ──► coupling ──► coupling ──► … ──► u ~ N(0, 1)        log p(z) = log N(u) + log |det du/dz|

Each coupling keeps one half of the numbers and scales and shifts the other half by amounts computed from the first.
The direction z → u, which training needs, is one pass; sampling runs the couplings backwards.

Reference: Dinh, Sohl-Dickstein and Bengio, 2016, Density estimation using Real NVP; as a prior of a VAE: Chen et al.,
2016, Variational Lossy Autoencoder.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from imprior.distributions.draws import normal
from imprior.distributions.gaussian import LOG_2PI
from imprior.errors import RecipeError


class Coupling(nn.Module):
    """Computes the scale and shift of one half from the other half.

    The log-scale is `bound`·tanh(·): one coupling stretches by e^±bound at most, so neither direction overflows. The
    last layer starts at zero, so the flow starts as the identity.
    """

    def __init__(self, given: int, changed: int, *, hidden: int, layers: int, bound: float) -> None:
        super().__init__()
        widths = [given] + [hidden] * layers
        modules: list[nn.Module] = []
        for i, o in pairwise(widths):
            modules += [nn.Linear(i, o), nn.ReLU()]
        last = nn.Linear(widths[-1], 2 * changed)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*modules, last)
        self.bound = bound

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """[..., given] -> log-scale and shift, [..., changed] each."""
        # Also where the rest of a model runs in bfloat16: log-determinants summed in it would be off by tenths of a
        # nat, and products as small as these gain nothing.
        with torch.autocast(given.device.type, enabled=False):
            raw, shift = self.network(given).chunk(2, -1)
        return self.bound * raw.tanh(), shift


class RealNVP(nn.Module):
    """p(z) of a vector by affine couplings that take turns in changing the first and the second half.

    Args:
        dim: length of z, at least 2.
        couplings: how many; below 2 one half would stay Gaussian.
        hidden: width of the hidden layers of each coupling's network.
        layers: number of hidden layers.
        bound: largest absolute log-scale of one coupling.

    Raises:
        RecipeError: `dim` is below 2.

    >>> prior = RealNVP(4, couplings=2, hidden=8)
    >>> prior.sample(3, torch.Generator()).shape, prior.log_prob(torch.zeros(5, 4)).shape
    (torch.Size([3, 4]), torch.Size([5]))
    """

    def __init__(self, dim: int, *, couplings: int = 6, hidden: int = 128, layers: int = 2, bound: float = 2.0) -> None:
        super().__init__()
        if dim < 2:
            raise RecipeError(f"a flow prior needs at least 2 latent numbers, not {dim}")
        self.dim = dim
        self.sizes = (dim - dim // 2, dim // 2)
        self.couplings = nn.ModuleList(
            Coupling(*self.sizes[:: 1 if i % 2 == 0 else -1], hidden=hidden, layers=layers, bound=bound)
            for i in range(couplings)
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z [..., dim] -> u [..., dim] and log |det du/dz| [...]."""
        given, changed = z[..., : self.sizes[0]], z[..., self.sizes[0] :]
        log_det = z.new_zeros(())
        for coupling in self.couplings:
            log_scale, shift = coupling(given)
            given, changed = changed * log_scale.exp() + shift, given  # the halves change places for the next one
            log_det = log_det + log_scale.sum(-1)
        return self._join(given, changed), log_det

    def inverse(self, u: Tensor) -> Tensor:
        """u [..., dim] -> z [..., dim]."""
        first, second = u[..., : self.sizes[0]], u[..., self.sizes[0] :]
        given, changed = (first, second) if len(self.couplings) % 2 == 0 else (second, first)
        for coupling in reversed(self.couplings):
            log_scale, shift = coupling(changed)
            given, changed = changed, (given - shift) * (-log_scale).exp()
        return torch.cat((given, changed), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """[...] nats, for value [..., dim]."""
        u, log_det = self.forward(value)
        return log_det - 0.5 * (u.square().sum(-1) + self.dim * LOG_2PI)

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, dim]."""
        like = next(self.parameters())
        return self.inverse(normal((n, self.dim), rng, like))

    @property
    def mean(self) -> Tensor:
        """Where the mean of the base goes, [dim]: the middle of p (its expectation has no closed form)."""
        return self.inverse(next(self.parameters()).new_zeros(self.dim))

    def _join(self, given: Tensor, changed: Tensor) -> Tensor:
        halves = (given, changed) if len(self.couplings) % 2 == 0 else (changed, given)
        return torch.cat(halves, -1)
