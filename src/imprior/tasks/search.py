"""Finding latents by optimisation: for models that decode and can't encode, and for images of which a part is known.

    u ──► z = mean + u·factorᵀ ──► decode ──► |x - decoded|² over known pixels / 2σ²  +  -log p(z) ──► Adam on u

The squared error with σ = 0.1 and the prior together make this a maximum a posteriori estimate. Where a model tells
no p(z), a Gaussian with the mean and covariance of latents that it draws itself stands in; the same Gaussian gives u
its scale, so that one step size suits all models.

Reference: Creswell and Bharath, 2018, Inverting the generator of a generative adversarial network; Yeh et al., 2017,
Semantic image inpainting with deep generative models.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imprior.errors import CapabilityError, DataError
from imprior.promises import Decodes, LatentVariable, check_shape, require
from imprior.tasks.protocol import evaluating

DRAWS = 2000  # latents drawn to learn how they are distributed
FULL = 500  # codes of more numbers get a diagonal covariance: 2000 draws say too little about the rest of it
SIGMA = 0.1  # deviation of a pixel from the decoded one, on the [0, 1] scale: what small models leave on digits
RATE = 0.1  # of Adam, falling to 0 as a cosine, in deviations of the latent
BATCH = 512  # candidates optimised together


def run(
    model: object,
    x: Tensor,
    *,
    rng: torch.Generator,
    known: Tensor | None = None,
    labels: Tensor | None = None,
    starts: int = 4,
    steps: int = 300,
) -> tuple[Tensor, Tensor | None]:
    """The latent of each image: of several optimisations, each from another draw of the model's, the best.

    Args:
        model: keeps `Decodes`.
        x: images, [N, C, H, W] in [0, 1].
        rng: where the starts come from.
        known: bool [N, 1, H, W], which pixels count; None counts all.
        labels: int64 [N], of conditional models; None lets each start draw one, so that the best label is found too.
        starts: optimisations for each image.
        steps: of each.

    Returns:
        z, [N, …], and the labels [N] that they are decoded with (None of an unconditional model).

    Raises:
        CapabilityError: the model can't decode, or its decoder has no gradient.
        DataError: images of another shape than the model's.
    """
    decodes = require(model, Decodes)
    check_shape(x, decodes.shape)
    weight = torch.ones_like(x[:, :1]) if known is None else known.to(x)  # [N, 1, H, W]
    classes = decodes.classes
    best, best_labels = [], []
    group = max(1, BATCH // starts)
    with evaluating(model) as device:
        space = Space(decodes, rng, device)
        for part in (slice(i, i + group) for i in range(0, len(x), group)):
            target, counts = (t[part].to(device).repeat_interleave(starts, 0) for t in (x, weight))  # [n·starts, …]
            tried = None
            if classes is not None:
                tried = torch.randint(classes, (len(target),), generator=rng, device=rng.device).to(device)
                if labels is not None:
                    tried = labels[part].to(device).repeat_interleave(starts, 0)
            z, loss = _optimise(decodes, space, target, counts, tried, steps, rng)
            rows = len(z) // starts
            winner = loss.view(rows, starts).argmin(1) + starts * torch.arange(rows, device=device)
            best.append(z[winner])
            best_labels += [] if tried is None else [tried[winner]]
    return torch.cat(best), torch.cat(best_labels) if best_labels else None


class Space:
    """How the latents of a model are distributed: z = mean + u·factorᵀ with u ~ N(0, 1), nearly."""

    def __init__(self, model: Decodes, rng: torch.Generator, device: torch.device) -> None:
        self.model, self.device = model, device
        draws = model.latent(DRAWS, rng).to(device)
        self.shape = draws.shape[1:]
        flat = draws.flatten(1).double()
        self.mean = flat.mean(0)
        if flat.shape[1] > FULL:
            self.deviation: Tensor | None = flat.std(0).clamp_min(1e-6)
        else:
            self.deviation = None
            values, vectors = torch.linalg.eigh((flat - self.mean).T @ (flat - self.mean) / len(flat))
            # Idle directions keep a little room: a start must be able to leave the plane of the draws' rounding.
            deviations = values.clamp_min(0).sqrt().clamp_min(1e-6)
            self.factor = vectors * deviations  # [D, D]
            self.back = (vectors / deviations).T
        self.prior = model.prior() if isinstance(model, LatentVariable) else None

    def z(self, u: Tensor) -> Tensor:
        """u [n, D] -> latents [n, …]."""
        moved = u * self.deviation.to(u) if self.deviation is not None else u @ self.factor.to(u).T
        return (self.mean.to(u) + moved).view(-1, *self.shape)

    def u(self, z: Tensor) -> Tensor:
        """The other way round."""
        centred = z.flatten(1) - self.mean.to(z)
        return centred / self.deviation.to(z) if self.deviation is not None else centred @ self.back.to(z).T

    def nats(self, u: Tensor, z: Tensor) -> Tensor:
        """-log p(z) up to a constant, [n]."""
        return 0.5 * u.square().sum(1) if self.prior is None else -self.prior.log_prob(z)


def _optimise(
    model: Decodes,
    space: Space,
    target: Tensor,
    weight: Tensor,
    labels: Tensor | None,
    steps: int,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Latents [n, …] and their losses [n]; the candidates do not feel each other."""
    height, width = target.shape[2:]
    u = space.u(model.latent(len(target), rng).to(target)).detach()

    def loss(u: Tensor) -> tuple[Tensor, Tensor]:
        z = space.z(u)
        decoded = model.decode(z, labels)[..., :height, :width]
        if decoded.shape != target.shape:
            raise DataError(
                f"this model's latents are for images of {tuple(decoded.shape[1:])}, and these are "
                f"{tuple(target.shape[1:])}"
            )
        error = (weight * (decoded - target)).square().flatten(1).sum(1)
        return z, error / (2 * SIGMA**2) + space.nats(u, z)

    optimiser = torch.optim.Adam([u], lr=RATE, betas=(0.9, 0.99))
    with torch.enable_grad():
        u.requires_grad_()
        try:  # decoders that draw, round, or fill a cache in place as they go
            torch.autograd.grad(model.decode(space.z(u[:1]), None if labels is None else labels[:1]).sum(), u)
        except RuntimeError as error:
            raise CapabilityError(
                f"this model's decoder passes no gradient, so it can't be searched ({error})"
            ) from None
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            (u.grad,) = torch.autograd.grad(loss(u)[1].sum(), u)
            optimiser.step()
    with torch.no_grad():
        return loss(u)
