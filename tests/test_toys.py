"""The toys keep the promises that they state, and their closed forms are right."""

from __future__ import annotations

import pytest
import torch

from imprior.errors import CapabilityError
from imprior.promises import (
    PROMISES,
    Classifies,
    Codes,
    Completes,
    Denoises,
    Encodes,
    LatentVariable,
    Samples,
    Scores,
    kept,
    require,
)
from toys import TOYS, BernoulliVae, LinearGaussian, Pixels, Shrinkage, every_image

KEPT = {
    "linear-gaussian": ["Decodes", "Encodes", "LatentVariable", "Scores", "Samples"],
    "bernoulli-vae": ["Decodes", "Encodes", "LatentVariable", "Scores", "Samples"],
    "pixels": ["Scores", "Samples", "Completes"],
    "identity": ["Decodes", "Encodes"],
    "linear-decoder": ["Decodes"],
    "levels": ["Codes"],
    "tiled-levels": ["Codes", "CodesTiles"],
    "shrinkage": ["Denoises"],
    "local-shrinkage": ["Denoises", "DenoisesLocally"],
    "brightness": ["Classifies"],
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", KEPT)
def test_a_toy_keeps_these_promises_and_no_other(name: str) -> None:
    toy = TOYS[name]()
    assert kept(toy) == KEPT[name]
    for promise in PROMISES:
        if promise.__name__ in KEPT[name]:
            assert require(toy, promise) is toy
        else:
            with pytest.raises(CapabilityError, match=f"{name} does not keep the promise {promise.__name__}"):
                require(toy, promise, name=name)


def test_every_promise_has_a_toy() -> None:
    found = {promise for name in TOYS for promise in kept(TOYS[name]())}
    assert found >= {promise.__name__ for promise in PROMISES}


@pytest.mark.parametrize("name", TOYS)
def test_what_a_toy_gives_has_the_shape_that_its_promise_says(name: str) -> None:
    toy, x = TOYS[name](), every_image(dtype=torch.float32)[[3, 77, 500]]
    if isinstance(toy, Encodes):
        z = toy.encode(x)
        assert z.shape[1:] == toy.latent(5, rng()).shape[1:]
        assert toy.decode(z).shape == x.shape
    if isinstance(toy, LatentVariable):
        assert torch.equal(toy.posterior(x).mean, toy.encode(x))
        assert torch.equal(toy.likelihood(toy.encode(x)).mean, toy.decode(toy.encode(x)))
    if isinstance(toy, Scores):
        assert toy.score(x).nats.shape == (3,)
        assert toy.score(x).nats.dtype == torch.float64
    if isinstance(toy, Samples):
        assert toy.sample(4, rng()).shape == (4, 1, 3, 3)
    if isinstance(toy, Denoises):
        assert toy.denoise(x, 0.1).shape == x.shape
    if isinstance(toy, Codes):
        latents = toy.analyse(x, 0)
        assert latents.shape == tuple(x.shape)
        assert torch.equal(toy.synthesise(latents, 0), x) == toy.lossless
    if isinstance(toy, Classifies):
        assert len(toy.features(x)) == 3 and toy.classify(x).shape == (3, 2)
        assert torch.allclose(toy.classify(x).exp().sum(1), torch.ones(3))
    if isinstance(toy, Completes):
        known = torch.rand(3, 1, 3, 3, generator=rng()) < 0.5
        assert torch.equal(toy.complete(x, known, rng())[known], x[known])


@pytest.mark.parametrize("latents", [1, 2])
def test_the_probabilities_of_all_images_sum_to_one(latents: int) -> None:
    x = every_image()
    assert abs(float(BernoulliVae(latents, dtype=torch.float64).evidence(x).exp().sum()) - 1) < 1e-10
    assert abs(float((-Pixels().score(x).nats).exp().sum()) - 1) < 1e-6  # its logits are float32


def test_joint_and_evidence_agree_through_the_exact_posterior() -> None:
    """Bayes: p(x) = p(z) p(x | z) / p(z | x), at any z."""
    toy = LinearGaussian(dtype=torch.float64)
    x, z = toy.sample(20, rng()), toy.latent(20, rng(1))
    bayes = toy.prior().log_prob(z) + toy.likelihood(z).log_prob(x) - toy.posterior(x).log_prob(z)
    assert float((bayes + toy.score(x).nats).abs().max()) < 1e-8


def test_shrinkage_reaches_the_smallest_error() -> None:
    toy = Shrinkage(spread=0.2)
    clean = 0.5 + 0.2 * torch.randn(400, 1, 16, 16, generator=rng(), dtype=torch.float64)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=rng(1), dtype=torch.float64)
    error = float((toy.denoise(noisy, 0.1) - clean).square().mean())
    assert abs(error / (0.04 * 0.01 / 0.05) - 1) < 0.02  # 102,400 pixels: 0.4 % by chance
