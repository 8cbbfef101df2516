"""Reconstruction: how far an image is from its way through the code, and two penalties on the code.

    loss = mean over images of ( error(x, decode(z)) + sparse · Σ|z| + contractive · ‖∂z/∂x‖² ),    z = encode(input)

The error is summed over pixels. The encoder is given the corrupted image where there is one (a denoising autoencoder);
the target is the clean one. With a squared error the loss is, up to a constant, minus the log-likelihood of Gaussian
pixels of variance 1/2; cross-entropy is computed from logits, so it is finite and exact however sure the decoder is.

References: Vincent et al. 2008 (denoising); Rifai et al. 2011, Contractive auto-encoders, eq. 5; Hutchinson 1989, A
stochastic estimator of the trace of the influence matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from imprior.distributions.draws import normal
from imprior.errors import RecipeError
from imprior.parts import Batch, Parts
from imprior.promises import Encodes


@dataclass(frozen=True)
class Reconstruction:
    """Settings of the objective, which is also the objective: call it.

    Attributes:
        error: `squared`, or `cross-entropy` for a decoder that ends in a sigmoid.
        sparse: weight of the code's L1 norm. A decoder can undo it by growing, so give the optimiser a weight decay.
        contractive: weight of the squared Frobenius norm of the encoder's Jacobian.
    """

    error: Literal["squared", "cross-entropy"] = "squared"
    sparse: float = 0.0
    contractive: float = 0.0

    def __post_init__(self) -> None:
        if self.sparse < 0 or self.contractive < 0:
            raise RecipeError(f"weights can't be negative: sparse {self.sparse}, contractive {self.contractive}")

    def __call__(
        self, model: Encodes, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a batch.

        Args:
            model: what is trained; for cross-entropy it has `logits` as well (the decoder before its sigmoid).
            batch: images; `corrupted` goes to the encoder where it is there.
            rng: for the estimate of the contractive penalty.
            progress: not used; this objective is the same throughout.
            player: not used; this objective has one.

        Returns:
            Report: `error` and each penalty that has a weight, before weighting.

        Raises:
            RecipeError: cross-entropy for a model whose decoder does not end in a sigmoid.
        """
        given = batch.x if batch.corrupted is None else batch.corrupted
        parts: dict[str, Tensor] = {}
        if self.contractive:
            z, parts["contractive"] = contraction(model, given, rng)
        else:
            z = model.encode(given)
        parts = {"error": self.of(model, z, batch.x)} | parts
        loss = parts["error"]
        if self.contractive:
            loss = loss + self.contractive * parts["contractive"]
        if self.sparse:
            parts["sparse"] = z.abs().sum() / len(z)
            loss = loss + self.sparse * parts["sparse"]
        return Parts(loss, {name: value.detach() for name, value in parts.items()})

    def of(self, model: Encodes, z: Tensor, x: Tensor) -> Tensor:
        """The error alone, of codes z [N, …] of images x: summed over pixels, averaged over images, a scalar."""
        height, width = x.shape[-2:]  # networks that pad give larger images back
        if self.error == "squared":
            return F.mse_loss(model.decode(z)[..., :height, :width], x, reduction="sum") / len(x)
        if not isinstance(model, Logits):
            raise RecipeError("objective.error=cross-entropy needs a model whose decoder ends in a sigmoid")
        logits = model.logits(z)[..., :height, :width]
        return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


@runtime_checkable
class Logits(Protocol):
    """Has the decoded pixels before their sigmoid."""

    def logits(self, z: Tensor) -> Tensor:
        """[N, …] -> [N, C, H, W]."""
        ...


def contraction(model: Encodes, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Codes of x, and the squared Frobenius norm of ∂z/∂x averaged over images.

    An unbiased estimate from one random direction v ~ N(0, 1) in the space of codes, E‖vᵀJ‖² = ‖J‖² (Hutchinson):
    one backward pass, where the exact norm takes as many as the code has numbers. In float32, also under autocast.

    Returns:
        (z [N, …], scalar), both differentiable.
    """
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        leaf = x.detach().requires_grad_()
        z = model.encode(leaf)
        direction = normal(z.shape, rng, z)
        (row,) = torch.autograd.grad(z, leaf, direction, create_graph=True)
        return z, row.square().sum() / len(x)
