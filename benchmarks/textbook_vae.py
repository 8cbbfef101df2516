"""Pictures about the VAE: its loss as printed and mended, what beta does, where its samples come from."""

import math
from collections.abc import Callable
from typing import Any

import torch
from textbook import SHOWN, Made, Stage
from textbook_autoencoder import mean
from torch import Tensor

import imprior
from imprior import runs
from imprior.bounds import collect
from imprior.data.batches import Batches
from imprior.data.settings import Data
from imprior.distributions.gaussian import DiagonalGaussian, kl
from imprior.models import observations, vae
from imprior.nn.dense import Dense
from imprior.objectives.elbo import Elbo
from imprior.randomness import generator
from imprior.report import figures, grid
from imprior.tasks import embed, reconstruct
from imprior.tasks.evaluate import run as evaluate

SMALL = ("model.latent=16", "objective.importance=1")
GREY = ("data.binarize=false", "model.likelihood=gaussian", *SMALL)


def beta(stage: Stage) -> Made:
    """beta = 0 beside beta = 1: reconstructions, samples."""
    rows, captions, table = [stage.shown], ["original"], []
    for weight in (0, 1):
        model = _of_beta(stage, weight)
        found = evaluate(model, stage.test, samples=50, limit=1000).record()
        rows += [reconstruct.run(model, stage.shown).mean, imprior.sample(model, SHOWN, seed=1)]
        captions += [f"beta = {weight}:\nrecovered", f"beta = {weight}:\nsampled"]
        gap = found["aggregate_gap"]
        row = {"beta": weight, "psnr_db": found["psnr_db"], "nats": found["nats"], "kl": found["parts"]["kl"]}
        table.append(
            row | {"prior_misfit_from": gap["from"], "prior_misfit_to": gap["to"], "active": found["active_units"]}
        )
    protocol = {"samples": 50, "images": 1000, "bits_sha256": found["protocol"]["sha256"]}
    return grid.encoded(grid.rows(rows, captions=captions)), {"rows": table, "protocol": protocol}


def parts(stage: Stage) -> Made:
    """The parts of the ELBO over time."""
    _of_beta(stage, 1)
    log = runs.Run(stage.runs / f"beta-1-{stage.images(600_000)}").log()
    kept = ("images", "reconstruction", "kl", "elbo")
    drawn = figures.curves(
        [{key: line[key] for key in kept} for line in log if "kl" in line], title="Parts of the ELBO"
    )
    last = log[-1]
    return drawn, {key: last[key] for key in kept}


def sum_and_mean(stage: Stage) -> Made:
    """Squared error summed over pixels, averaged over them, and a variance that is learned."""
    tried = {
        "mean over pixels": ("model.likelihood.sigma=0.70710678", "objective.beta=784"),
        "sum over pixels": ("model.likelihood.sigma=0.70710678", "objective.beta=1"),
        "learned variance": ("model.likelihood.scale=shared", "model.likelihood.sigma=0.3"),
    }
    rows, table = [stage.shown], []
    for name, overrides in tried.items():
        given = (*GREY, *overrides)
        model = stage.trained(f"scale-{name.split()[0]}", "mnist-vae-standard", *given, images=600_000)
        posterior = collect(model, stage.judged.split(500))
        units = kl(posterior, DiagonalGaussian.standard((posterior.mean.shape[1],))).mean(0)
        rows.append(reconstruct.run(model, stage.shown).mean)
        quality = float(reconstruct.run(model, stage.judged).psnr_db.mean())
        table.append(
            {
                "squared_error": name,
                "psnr_db": quality,
                "kl": float(units.sum()),
                "units_above_0.1_nat": int((units > 0.1).sum()),
            }
        )
    drawn = grid.rows(rows, captions=["original", *(name.replace(" ", "\n", 1) for name in tried)])
    return grid.encoded(drawn), {"rows": table}


def variance(stage: Stage) -> Made:
    """sigma over time, with the normaliser of the Gaussian and without."""
    steps = stage.images(128_000) // 128
    curves, table = [], []
    for name in ("with log sigma", "log sigma dropped"):
        config = vae.Config((1, 28, 28), Dense((200,), block="gated"), 16, observations.Gaussian("shared", sigma=0.3))
        torch.manual_seed(0)
        model = config.build()
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        batches, at, sigmas = Batches(stage.train, Data(), batch=128, seed=0), [], []
        for step in range(steps):
            batch, rng = batches.at(step), generator(0, "variance", step)
            loss = Elbo()(model, batch, rng=rng, progress=0.0).loss
            sigma = _sigma(model)
            if name == "log sigma dropped":
                loss = loss - 784 * (sigma.log() + 0.5 * math.log(2 * math.pi))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            at.append(128 * (step + 1))
            sigmas.append(float(sigma.detach()))
        every = max(1, steps // 60)
        curves.append(figures.Series(name, at[::every], sigmas[::every]))
        table.append({"loss": name, "sigma_at_the_end": sigmas[-1], "images": at[-1]})
    return figures.lines(curves, x="images seen", y="sigma", logarithmic="y"), {"rows": table}


def clipped(stage: Stage) -> Made:
    """d/dmu of E z², z ~ N(mu, 1): with z clipped to [-2, 2], and as it is."""
    at = torch.linspace(0, 4, 33, dtype=torch.float64)
    noise = torch.randn(200_000, dtype=torch.float64, generator=generator(0, "clipped"))
    z = at[:, None] + noise
    cut = torch.where(z.abs() < 2, 2 * z, torch.zeros_like(z)).mean(1)  # clamp passes no gradient outside
    curves = [
        figures.Series("z as it is", at.tolist(), (2 * at).tolist()),
        figures.Series("z clipped to [-2, 2]", at.tolist(), cut.tolist()),
    ]
    shown = [0, 1, 2, 3, 4]
    table = [{"mu": m, "gradient": 2.0 * m, "gradient_when_clipped": float(cut[8 * m])} for m in shown]
    return figures.lines(curves, x="mu", y="gradient of E z² with respect to mu"), {"rows": table}


def holes(stage: Stage) -> Made:
    """Samples of an autoencoder (Gaussian, mixture fitted to its codes) and of a VAE; ways between two images."""
    from sklearn.mixture import GaussianMixture

    plain = stage.trained(
        "holes", "mnist-ae", "model.network.widths=256", "model.latent=16", "model.code=linear", images=1_000_000
    )
    ours = _of_beta(stage, 1)
    codes = embed.run(plain, stage.train).codes.double().numpy()
    mixture = GaussianMixture(50, covariance_type="full", reg_covar=1e-4, random_state=0).fit(codes)
    drawn = torch.from_numpy(mixture.sample(SHOWN)[0]).float()[torch.randperm(SHOWN, generator=generator(0))]
    with torch.no_grad():
        by_mixture = plain.decode(drawn)
    blind = plain.decode(3 * torch.randn(SHOWN, 16, generator=generator(0, "blind"))).detach()
    rows = [blind, imprior.sample(plain, SHOWN, seed=1), by_mixture, imprior.sample(ours, SHOWN, seed=1)]
    captions = ["autoencoder,\nblindly", "autoencoder,\nGaussian", "autoencoder,\nmixture", "VAE,\nprior"]
    distance = {name.replace("\n", " "): _to_nearest(row, stage) for name, row in zip(captions, rows, strict=True)}
    table = [{"samples_of": name, "distance_to_nearest_training_image": value} for name, value in distance.items()]
    note = "Root of the mean squared distance of pixels, over ten samples: small values of samples that are digits."
    return grid.encoded(grid.rows(rows, captions=captions)), {"rows": table, "note": note}


def tuned(stage: Stage) -> Made:
    """Grid search over beta by two criteria."""
    values = ("0.1", "0.3", "1", "3")
    images = stage.images(100_000)
    series, table = [], {value: {"beta": float(value)} for value in values}
    for criterion in ("psnr", "probe"):
        place = stage.runs / f"tune-{criterion}-{images}"
        overrides = (*SMALL, f"training.images={images}", f"training.check={images}")
        found = imprior.tune(
            "mnist-vae-standard",
            stage.data,
            [("objective.beta", values)],
            place,
            overrides=overrides,
            folds=3,
            criterion=criterion,
        )
        best = max(cell.mean for cell in found.cells)
        gaps = [100 * (cell.mean / best - 1) for cell in found.cells]
        series.append(figures.Series(found.unit, [float(v) for v in values], gaps))
        for value, cell in zip(values, found.cells, strict=True):
            table[value] |= {found.unit: cell.mean, f"{found.unit}, standard error": cell.standard_error}
    drawn = figures.lines(series, x="beta", y="behind the best [%]", logarithmic="x")
    return drawn, {"rows": list(table.values()), "protocol": {"folds": 3, "images_a_training": images}}


def nearest(stage: Stage) -> Made:
    """Samples of the embedded VAE, each above the training image that is nearest to it."""
    samples = imprior.sample("mnist-vae", SHOWN, seed=1)
    own = torch.cat([x.flatten(1) for x in stage.train.chunks()])
    place = torch.cdist(samples.flatten(1), own).argmin(1)
    rows = [samples, stage.train.x(place)]
    figure = {"mean_psnr_db_to_the_nearest": mean(rows[0], rows[1]), "training_images_looked_at": len(own)}
    return grid.encoded(grid.rows(rows, captions=["sample", "nearest\ntraining image"])), figure


def _of_beta(stage: Stage, weight: int) -> Any:
    return stage.trained(f"beta-{weight}", "mnist-vae-standard", *SMALL, f"objective.beta={weight}", images=600_000)


def _sigma(model: Any) -> Tensor:
    """The one standard deviation of a Gaussian likelihood with a shared scale."""
    likelihood: Callable[[Tensor], Any] = model.likelihood
    return (0.5 * likelihood(torch.zeros(1, 16)).log_variance).exp().reshape(-1)[0]


def _to_nearest(samples: Tensor, stage: Stage) -> float:
    own = torch.cat([x.flatten(1) for x in stage.train.chunks()])
    return float((torch.cdist(samples.flatten(1), own).min(1).values.square() / own.shape[1]).mean().sqrt())
