"""A model's figures on a test set, with the protocol that they were measured by.

What is measured follows from the promises that the model keeps: `Scores` gives nats and bits per dimension with a
standard error; `LatentVariable` their parts, active units and collapse; `Encodes` the PSNR of its reconstructions;
`Denoises`, with a corruption, the PSNR before and after. Each image counts once, alone: a result depends neither on
the batch size nor on the order of the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from imprior.bounds import Diagnosis, diagnose, elbo
from imprior.data.batches import Images, as_float
from imprior.data.corrupt import corrupt
from imprior.data.settings import Corruption
from imprior.distributions.gaussian import DiagonalGaussian
from imprior.errors import CapabilityError, DataError, RunError
from imprior.metrics.psnr import psnr_db
from imprior.promises import Denoises, Encodes, LatentVariable, Scores, Space, keepers, kept
from imprior.randomness import generator
from imprior.settings import to_json
from imprior.tasks.protocol import Digest, evaluating, fits, plain, presentation, same_size


@dataclass(frozen=True)
class Likelihood:
    """Minus log-likelihoods.

    Attributes:
        nats: [N] float64, by image.
        kind: "exact" or "bound".
        space: of the images as they were presented.
        dimensions: pixels times channels, which bits per dimension divide by.
        dequantised: whether 8-bit levels were made continuous, so that a density bounds their probability.
    """

    nats: Tensor
    kind: Literal["exact", "bound"]
    space: Space
    dimensions: int
    dequantised: bool

    def bits_per_dim(self) -> Tensor | None:
        """[N] bits per dimension; None for a density on images that never had levels, where the unit is arbitrary.

        Of a probability, nats / (D log 2). The density of (k + u) / 256 is 256^D times that of k + u, whose integral
        over a level is the level's probability: (nats / D + log 256) / log 2.
        """
        if self.space == "continuous" and not self.dequantised:
            return None
        return (self.nats / self.dimensions + (math.log(256) if self.dequantised else 0.0)) / math.log(2)


@dataclass(frozen=True)
class Latents:
    """What the latent variables do, averaged over the images.

    Attributes:
        reconstruction: -E log p(x | z), nats per image.
        kl: KL(q ‖ p), nats per image; the sum of both is minus the ELBO.
        kl_steps: the KL of each step, where latents are drawn in steps: the rungs of a ladder from the top, turns in
            time; else empty.
        diagnosis: active units, KL per unit, collapse, gap between aggregate posterior and prior; None where the
            posterior's units are not independent.
    """

    reconstruction: float
    kl: float
    kl_steps: tuple[float, ...]
    diagnosis: Diagnosis | None

    def record(self) -> dict[str, Any]:
        """JSON values."""
        values: dict[str, Any] = {"parts": {"reconstruction": self.reconstruction, "kl": self.kl}}
        if self.kl_steps:
            values["kl_steps"] = list(self.kl_steps)
        if self.diagnosis is not None:
            values |= {
                "units": self.diagnosis.active.numel(),
                "active_units": int(self.diagnosis.active.sum()),
                "collapsed": self.diagnosis.collapsed,
                "kl_units": self.diagnosis.kl_units.tolist(),
                "aggregate_gap": dict(zip(("from", "to"), self.diagnosis.gap, strict=True)),
            }
        return values


@dataclass(frozen=True)
class Denoising:
    """PSNR of each image, in dB, against the clean one: corrupted and denoised, [N] float64 each."""

    corruption: Corruption
    corrupted_db: Tensor
    denoised_db: Tensor


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one set of images; None where the model makes no such promise.

    Attributes:
        n: images counted.
        protocol: how the figures were measured: draws, samples, seed, fingerprint and hashes of the images.
        likelihood, latents, denoising: see their classes.
        psnr_db: [N] float64, of reconstructions of the images as they are (grey levels, not bits).
    """

    n: int
    protocol: dict[str, Any]
    likelihood: Likelihood | None = None
    latents: Latents | None = None
    psnr_db: Tensor | None = None
    denoising: Denoising | None = None

    def per_image(self) -> dict[str, Tensor]:
        """The figures that exist for each image, [N] float64, by their key in the record."""
        found: dict[str, Tensor | None] = {}
        if self.likelihood is not None:
            found |= {"nats": self.likelihood.nats, "bits_per_dim": self.likelihood.bits_per_dim()}
        found["psnr_db"] = self.psnr_db
        if self.denoising is not None:
            found |= {"corrupted_db": self.denoising.corrupted_db, "denoised_db": self.denoising.denoised_db}
        return {key: values for key, values in found.items() if values is not None}

    def record(self) -> dict[str, Any]:
        """JSON values: means, standard errors (sd / √N; null for one image), and the protocol."""
        values: dict[str, Any] = {"n": self.n}
        if self.likelihood is not None:
            bits = self.likelihood.bits_per_dim()
            values |= _mean(self.likelihood.nats, "nats", "standard_error")
            values["bits_per_dim"] = None if bits is None else _number(bits.mean())
            values |= {"kind": self.likelihood.kind, "space": self.likelihood.space}
        if self.latents is not None:
            values |= self.latents.record()
        if self.psnr_db is not None:
            values |= _mean(self.psnr_db, "psnr_db", "psnr_standard_error")
        if self.denoising is not None:
            values |= _mean(self.denoising.corrupted_db, "corrupted_db", "corrupted_standard_error")
            values |= _mean(self.denoising.denoised_db, "denoised_db", "denoised_standard_error")
        return values | {"protocol": self.protocol}


def run(
    model: object,
    images: Images,
    *,
    samples: int = 1,
    seed: int = 0,
    limit: int | None = None,
    corruption: Corruption | None = None,
    batch: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure what the model's promises allow.

    Args:
        model: keeps at least one of `Scores`, `Encodes`, `Denoises`.
        images: the test set.
        samples: draws per image where the likelihood is a bound by sampling.
        seed: of all draws.
        limit: count only the first so many images.
        corruption: what a denoiser is judged on; None leaves denoising out.
        batch: images at a time; only speed and memory depend on it.
        progress: told (images done, images in all) after each batch; every promise goes through the images once.

    Raises:
        DataError: no images, images of different sizes, of another shape than the model's, or of another space.
        CapabilityError: the model keeps none of these promises.
        RunError: the model gives an image no number.
    """
    if not isinstance(model, Scores | Encodes | Denoises):
        raise CapabilityError(
            f"there is nothing to measure: the model keeps {', '.join(kept(model)) or 'no promise'}, "
            f"and evaluate wants Scores, Encodes or Denoises{keepers(Scores, Encodes, Denoises)}"
        )
    n = len(images) if limit is None else min(limit, len(images))
    if n < 1:
        raise DataError("no images to evaluate on")
    fits(model, images)
    denoises = isinstance(model, Denoises) and corruption is not None
    passes = sum((isinstance(model, Scores), isinstance(model, LatentVariable), isinstance(model, Encodes), denoises))
    if not passes:
        raise CapabilityError("the model only denoises: say at which noise it is to be judged (--sigma)")
    seen = 0

    def tell(count: int) -> None:
        nonlocal seen
        seen += count
        if progress is not None:
            progress(seen, n * passes)

    with evaluating(model) as device:
        tests = _Tests(images, same_size(images), n, seed, batch, device, tell)
        protocol: dict[str, Any] = {"n": n, "data": images.fingerprint, "seed": seed, "images_sha256": tests.sha256()}
        likelihood = latents = psnr = denoising = None
        if isinstance(model, Scores):
            likelihood = _likelihood(model, tests, samples, protocol)
        if isinstance(model, LatentVariable):
            latents = _latents(model, tests)
        if isinstance(model, Encodes):
            psnr = torch.cat([psnr_db(x, _reconstruct(model, x)).cpu() for x in tests.grey()])
        if isinstance(model, Denoises) and corruption is not None:
            denoising = _denoising(model, tests, corruption)
            protocol["corruption"] = to_json(corruption)
    return Evaluation(n, protocol, likelihood, latents, psnr, denoising)


@dataclass(frozen=True)
class _Tests:
    """The images that count, in batches."""

    images: Images
    pixels: Tensor
    n: int
    seed: int
    batch: int
    device: torch.device
    tell: Callable[[int], None]  # how many images of a pass are done

    def stored(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Pixels as they are stored, and labels."""
        for start in range(0, self.n, self.batch):
            part = slice(start, min(start + self.batch, self.n))
            yield self.pixels[part], None if self.images.labels is None else self.images.labels[part]
            self.tell(part.stop - part.start)

    def grey(self) -> Iterator[Tensor]:
        """Images as they are, float32."""
        return (as_float(stored).to(self.device) for stored, _ in self.stored())

    def sha256(self) -> str:
        digest = Digest()
        for start in range(0, self.n, self.batch):
            digest.add(as_float(self.pixels[start : min(start + self.batch, self.n)]))
        return digest.hex()


def _likelihood(model: Scores, tests: _Tests, samples: int, protocol: dict[str, Any]) -> Likelihood:
    """Scores of all images; what was scored, and how, goes into `protocol`."""
    shown = presentation(model, tests.images, seed=tests.seed)
    digest, nats = Digest(), []
    for stored, labels in tests.stored():
        x = shown.x(stored)
        digest.add(x, binary=shown.space == "binary")
        given = None if model.classes is None or labels is None else labels.to(tests.device)
        # The same generator for every batch: bounds by sampling derive an image's noise from it and from the image.
        rng = generator(tests.seed, "score", device=tests.device)
        score = model.score(x.to(tests.device), given, samples=samples, rng=rng)
        nats.append(score.nats.double().cpu())
    found = torch.cat(nats)
    if not bool(found.isfinite().all()):
        bad = (~found.isfinite()).nonzero().flatten()
        raise RunError(f"the model gives {len(bad):,} of {tests.n:,} images no finite score (the first: {int(bad[0])})")
    dimensions = tests.pixels[0].numel()
    protocol |= plain(shown) | {"samples": samples if score.kind == "bound" else None, "score": score.protocol}
    protocol |= {"conditional": given is not None, "dimensions": dimensions, "sha256": digest.hex()}
    return Likelihood(found, score.kind, score.space, dimensions, shown.dequantisation == "uniform")


def _latents(model: LatentVariable, tests: _Tests) -> Latents:
    shown = presentation(model, tests.images, seed=tests.seed)
    totals, steps = torch.zeros(2, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    means, log_variances, event_dims = [], [], 0
    for turn, (stored, _) in enumerate(tests.stored()):
        x = shown.x(stored).to(tests.device)
        parts = elbo(model, x, rng=generator(tests.seed, "elbo", turn, device=tests.device))
        totals += torch.stack([-parts.reconstruction.double().sum(), parts.kl.double().sum()]).cpu()
        if parts.in_steps:
            kl = parts.kl_units.double().sum(0).cpu()
            steps = steps + kl if len(steps) else kl
        posterior = model.posterior(x)
        if isinstance(posterior, DiagonalGaussian):
            means.append(posterior.mean)
            log_variances.append(posterior.log_variance.expand_as(posterior.mean))
            event_dims = posterior.event_dims
    diagnosis = None
    if means:
        everything = DiagonalGaussian(torch.cat(means), torch.cat(log_variances), event_dims)
        diagnosis = diagnose(everything, model.prior(), rng=generator(tests.seed, "diagnose", device=tests.device))
    reconstruction, kl = (totals / tests.n).tolist()
    return Latents(reconstruction, kl, tuple((steps / tests.n).tolist()), diagnosis)


def _reconstruct(model: Encodes, x: Tensor) -> Tensor:
    """decode(encode(x)), cut to the size of x: networks with strides give sides that are multiples of them."""
    return model.decode(model.encode(x))[..., : x.shape[-2], : x.shape[-1]]


def _denoising(model: Denoises, tests: _Tests, corruption: Corruption) -> Denoising:
    # A denoiser that wants the strength is told it where all images share one; out of a range it must judge it itself.
    told = corruption.low if corruption.kind == "gaussian" and corruption.low == corruption.high else None
    before, after = [], []
    for stored, _ in tests.stored():
        clean = as_float(stored)
        own = [generator(tests.seed, "corrupt", image.numpy().tobytes().hex()) for image in clean]
        noisy = torch.cat([corrupt(x[None], corruption, rng)[0] for x, rng in zip(clean, own, strict=True)])
        before.append(psnr_db(clean, noisy))
        after.append(psnr_db(clean, model.denoise(noisy.to(tests.device), told).cpu()))
    return Denoising(corruption, torch.cat(before), torch.cat(after))


def _mean(values: Tensor, name: str, error: str) -> dict[str, float | None]:
    """Mean and standard error of per-image figures."""
    single = len(values) == 1
    return {name: _number(values.mean()), error: None if single else _number(values.std() / math.sqrt(len(values)))}


def _number(value: Tensor) -> float | None:
    """A JSON number; JSON has no infinity, so the PSNR of a perfect copy is null."""
    return float(value) if math.isfinite(value) else None
