"""Mixtures, hidden Markov models and kernel densities, fitted by passes."""

from __future__ import annotations

from imprior.models import bernoulli_mixture, gaussian_mixture, hidden_markov, kernel_density, patch_mixture
from zoo.example import Example

BINARY = ("Scores", "Samples", "Completes")
CONTINUOUS = ("Scores", "Samples", "Denoises", "Completes")

EXAMPLES = {
    "bernoulli-mixture": Example(bernoulli_mixture.Config((1, 3, 3), 4), BINARY, exact=True),
    "hidden-markov": Example(hidden_markov.Config((1, 3, 3), 4), BINARY, exact=True),
    "hidden-markov-shared": Example(hidden_markov.Config((1, 4, 2), 3, shared=True), BINARY, exact=True),
    "hidden-markov-colour": Example(hidden_markov.Config((3, 5, 4), 3), BINARY, exact=True),
    "gaussian-mixture": Example(gaussian_mixture.Config((1, 5, 4), 3, rank=2), CONTINUOUS, exact=True),
    "gaussian-mixture-full": Example(gaussian_mixture.Config((1, 4, 3), 2, rank=None), CONTINUOUS, exact=True),
    "gaussian-mixture-colour": Example(gaussian_mixture.Config((3, 3, 2), 2, rank=1), CONTINUOUS, exact=True),
    "kernel-density": Example(kernel_density.Config((1, 4, 3), 10), CONTINUOUS, exact=True),
    "kernel-density-bits": Example(kernel_density.Config((1, 3, 3), 10, "bernoulli"), BINARY, exact=True),
    "patch-mixture": Example(patch_mixture.Config((1, 8, 8), 3, patch=4), ("Denoises",)),
}
