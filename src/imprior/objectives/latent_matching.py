"""Autoencoders whose codes, over all images, are made to follow N(0, 1): by a critic, or by a kernel.

    loss = mean over images of error(x, decode(z))  +  weight · distance( codes z = encode(x),  draws ~ N(0, 1) )

With a `Critic` (the adversarial autoencoder) the distance is what a second player finds: it learns the log-ratio of
draws to codes, and the encoder raises it at its codes. With a `Kernel` (the Wasserstein autoencoder) it is the maximum
mean discrepancy, estimated without bias from one batch; there is one player and nothing to balance.

References: Makhzani et al. 2015, Adversarial autoencoders; Goodfellow et al. 2014, Generative adversarial nets (the
non-saturating loss); Mescheder, Geiger & Nowozin 2018, Which training methods for GANs do actually converge? (the
penalty, eq. 9); Tolstikhin et al. 2018, Wasserstein auto-encoders (WAE-MMD, algorithm 2); Gretton et al. 2012, A kernel
two-sample test (eq. 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from imprior.distributions.draws import normal
from imprior.errors import RecipeError
from imprior.objectives.reconstruction import Reconstruction
from imprior.parts import Batch, Parts
from imprior.promises import Encodes


class Judged(Encodes, Protocol):
    """An autoencoder with a critic of its codes."""

    def judge(self, z: Tensor) -> Tensor:
        """Log-ratio of draws to codes, [N, D] -> [N]."""
        ...


@dataclass(frozen=True)
class Critic:
    """Codes matched by a critic: settings of the objective, which is also the objective: call it.

    Attributes:
        weight: of the encoder's adversarial loss, in units of the error.
        penalty: weight of half the critic's squared slope, at draws and at codes. Without it the two players circle.
        error: how far a decoded image is from its image, see `Reconstruction`.
    """

    weight: float = 1.0
    penalty: float = 0.1
    error: Literal["squared", "cross-entropy"] = "squared"

    def __post_init__(self) -> None:
        if self.weight < 0 or self.penalty < 0:
            raise RecipeError(f"weight and penalty can't be negative: {self.weight}, {self.penalty}")

    def __call__(
        self, model: Judged, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of one player on a batch.

        Args:
            model: what is trained.
            batch: images; `corrupted` goes to the encoder where it is there.
            rng: where the draws from N(0, 1) come from.
            progress: not used; this objective is the same throughout.
            player: "critic", or "autoencoder"; None is the latter, whose loss is what validation shows.

        Returns:
            Report: of the critic `right`, the fraction of codes and draws that it tells apart, and its squared `slope`;
            of the autoencoder `error`, `fooling` (the encoder's loss, log 2 where the critic knows nothing) and
            `moments`.
        """
        given = batch.x if batch.corrupted is None else batch.corrupted
        if player == "critic":
            with torch.no_grad():
                codes = model.encode(given)
            return self._critic(model, codes, normal(codes.shape, rng, codes))
        z = model.encode(given)
        error = Reconstruction(self.error).of(model, z, batch.x)
        with torch.autocast(z.device.type, enabled=False):
            fooling = F.softplus(-model.judge(z)).mean()
        report = {"error": error.detach(), "fooling": fooling.detach()}
        return Parts(error + self.weight * fooling, report | moments(z))

    def _critic(self, model: Judged, codes: Tensor, draws: Tensor) -> Parts:
        """Logistic loss of telling draws from codes; in float32, the slope being of second order."""
        with torch.enable_grad(), torch.autocast(codes.device.type, enabled=False):
            both = torch.cat((draws, codes)).requires_grad_()
            ratio = model.judge(both)
            of_draws, of_codes = ratio.chunk(2)
            loss = F.softplus(-of_draws).mean() + F.softplus(of_codes).mean()
            (slopes,) = torch.autograd.grad(ratio.sum(), both, create_graph=True)
            slope = slopes.square().sum(1).mean()
            right = ((of_draws > 0).float().mean() + (of_codes < 0).float().mean()) / 2
        return Parts(loss + self.penalty * slope, {"right": right.detach(), "slope": slope.detach()})


@dataclass(frozen=True)
class Kernel:
    """Codes matched by a kernel: settings of the objective, which is also the objective: call it.

    Attributes:
        weight: of the squared discrepancy, in units of the error. It is below 1, so weights are large.
        scales: widths of the inverse multiquadratic kernels that are summed, relative to the draws' squared distance.
        error: how far a decoded image is from its image, see `Reconstruction`.
    """

    weight: float = 100.0
    scales: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    error: Literal["squared", "cross-entropy"] = "squared"

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise RecipeError(f"weight can't be negative: {self.weight}")
        if not self.scales or min(self.scales) <= 0:
            raise RecipeError(f"scales must be above 0, and one at least, not {self.scales}")

    def __call__(
        self, model: Encodes, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a batch.

        Args:
            model: what is trained.
            batch: images; `corrupted` goes to the encoder where it is there.
            rng: where the draws from N(0, 1) come from.
            progress: not used; this objective is the same throughout.
            player: None; this objective has one.

        Returns:
            Report: `error`, `discrepancy` (0 in the mean where codes are N(0, 1), so it can be negative) and `moments`.

        Raises:
            RecipeError: the model has a critic, which is never asked.
        """
        if player is not None:
            raise RecipeError("a kernel needs no critic: set model.critic= (no widths)")
        z = model.encode(batch.x if batch.corrupted is None else batch.corrupted)
        error = Reconstruction(self.error).of(model, z, batch.x)
        with torch.autocast(z.device.type, enabled=False):
            discrepancy = mmd(z, normal(z.shape, rng, z), self.scales)
        report = {"error": error.detach(), "discrepancy": discrepancy.detach()}
        return Parts(error + self.weight * discrepancy, report | moments(z))


def mmd(a: Tensor, b: Tensor, scales: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)) -> Tensor:
    """Squared maximum mean discrepancy of two sets of vectors, estimated without bias.

    The kernel is the mean over scales s of c / (c + |a - b|²), c = 2·D·s: 2·D is the mean squared distance of two draws
    from N(0, 1).

    Args:
        a: [N, D], N at least 2.
        b: [N, D].
        scales: s.

    Returns:
        A scalar, 0 in expectation where both sets are draws of one distribution.

    >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> bool(mmd(x[:250], x[250:]).abs() < 0.01), bool(mmd(x[:250], x[250:] + 1) > 0.05)
    (True, True)
    """
    n, width = a.shape
    # Differences, not the expanded square: that cancels where vectors are close, and its root of 0 has no gradient.
    distances = [(u[:, None] - v[None]).square().sum(-1) for u, v in ((a, a), (b, b), (a, b))]  # [N, N] each
    total = a.new_zeros(())
    for scale in scales:
        within_a, within_b, between = (2 * width * scale / (2 * width * scale + d) for d in distances)
        within = within_a.sum() + within_b.sum() - 2 * n  # without each vector against itself
        total = total + within / (n * (n - 1)) - 2 * between.mean()
    return total / len(scales)


def moments(z: Tensor) -> dict[str, Tensor]:
    """How near codes [N, D] come to N(0, 1), as root mean squares over units (0 where they are, but for chance).

    Returns:
        `mean`; `spread`, of standard deviation - 1; `correlation`, of the correlations of two units; `kurtosis`, of the
        excess kurtosis. By chance they are near 1 / √N, 1 / √(2N), 1 / √N and √(24 / N).

    >>> {name: round(float(v), 2) for name, v in moments(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).items()}
    {'mean': 0.0, 'spread': 0.0, 'correlation': 1.0, 'kurtosis': 2.0}
    """
    z = z.detach()
    centred = z - z.mean(0)
    std = centred.square().mean(0).sqrt()
    whitened = centred / std.clamp_min(torch.finfo(z.dtype).tiny)
    correlation = whitened.T @ whitened / len(z)
    off = correlation[~torch.eye(len(std), dtype=torch.bool, device=z.device)]
    found = {"mean": z.mean(0), "spread": std - 1, "correlation": off, "kurtosis": whitened.pow(4).mean(0) - 3}
    return {name: v.square().mean().sqrt() if v.numel() else v.new_zeros(()) for name, v in found.items()}
