"""Pictures about flows, attention, and classes told apart by likelihoods."""

import math

import torch
from textbook import Made, Stage
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.distributions.flow import RealNVP
from imprior.errors import DataError
from imprior.models import pca
from imprior.randomness import generator
from imprior.report import figures, grid

SIDE, REACH = 120, 4.0


def flow(stage: Stage) -> Made:
    """A flow in two dimensions on two half moons: with the log-determinant a density, without it none."""
    torch.manual_seed(0)
    model = RealNVP(2, couplings=8, hidden=64)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(max(50, round(1500 * stage.scale))):
        optimiser.zero_grad()
        (-model.log_prob(_moons(256, step)).mean()).backward()
        optimiser.step()
    at = (torch.arange(SIDE) + 0.5) / SIDE * 2 * REACH - REACH
    y, x = torch.meshgrid(at.flip(0), at, indexing="ij")  # rows from above
    with torch.no_grad():
        u, log_det = model(torch.stack([x, y], -1))
        base = -0.5 * u.square().sum(-1) - math.log(2 * math.pi)
    area = (2 * REACH / SIDE) ** 2
    mass = {"with log-determinant": (base + log_det).exp(), "without": base.exp()}
    drawn = torch.histogramdd(_moons(20_000, -1), SIDE, range=[-REACH, REACH, -REACH, REACH]).hist.T.flip(0)
    panels = torch.stack([(p / p.max()).sqrt()[None] for p in (drawn, *mass.values())])
    picture = grid.rows([1 - panels], columns=["points", "density", "log-determinant left out"], scale=2)
    table = [{"density": name, "integral_over_the_plane": float(p.sum() * area)} for name, p in mass.items()]
    return grid.encoded(picture), {"rows": table}


def attention(stage: Stage) -> Made:
    """Which output depends on which input: attention without a mask, with one, and with one and a shift."""
    torch.manual_seed(0)
    length, width = 24, 8
    embed, mix, head = nn.Linear(1, width), nn.Linear(width, 3 * width), nn.Linear(width, 1)
    place = torch.randn(length, width)
    kinds = {"no mask": (False, False), "causal mask": (True, False), "mask and shift": (True, True)}
    pictures, table = [], []
    for name, (causal, shift) in kinds.items():

        def outputs(x: Tensor, causal: bool = causal, shift: bool = shift) -> Tensor:
            given = torch.cat([x.new_zeros(1), x[:-1]]) if shift else x
            h = embed(given[:, None]) + place
            q, k, v = mix(h).chunk(3, -1)
            return head(h + F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=causal)[0])[:, 0]

        jacobian = torch.autograd.functional.jacobian(outputs, torch.randn(length, generator=generator(0))).abs()
        leaks = (jacobian > 0) & (torch.arange(length)[None] >= torch.arange(length)[:, None])
        pictures.append((jacobian > 0).float().view(1, 1, length, length))
        table.append(
            {"attention": name, "outputs_that_see_what_they_predict": int(leaks.any(1).sum()), "outputs": length}
        )
    return grid.encoded(grid.rows([1 - 0.75 * torch.cat(pictures)], columns=list(kinds), scale=7)), {"rows": table}


def classes(stage: Stage) -> Made:
    """Bayes' rule with a density for each class beside a small network that learns to classify, by labels a class."""
    labels, truth = stage.train.labels, stage.test.labels
    if labels is None or truth is None:
        raise DataError(f"{stage.data}: labels are needed to tell classes apart")
    x_test, known = stage.test.x(slice(0, 2000)), truth[:2000]
    most = int(torch.bincount(labels).min())
    counts = [k for k in (10, 30, 100, 300, 1000, 5000) if k <= most]
    right: dict[str, list[float]] = {"density for each class": [], "small CNN": []}
    for count in counts:
        index = torch.cat([(labels == k).nonzero()[:count, 0] for k in range(10)])
        x, y = stage.train.x(index), labels[index]
        scores = []
        for k in range(10):
            model = pca.Config((1, 28, 28), min(30, count // 2), probabilistic=True).build()
            model.update([x[y == k]])
            model.noise.clamp_(min=0.005)  # few images span few directions: the rest is not known to be empty
            scores.append(model.score(x_test).nats)
        right["density for each class"].append(float((torch.stack(scores).argmin(0) == known).double().mean()))
        right["small CNN"].append(_network(x, y, x_test, known, steps=max(30, round(1500 * stage.scale))))
    series = [figures.Series(name, counts, [100 * v for v in values]) for name, values in right.items()]
    rows = [{"labels_a_class": c} | {name: values[i] for name, values in right.items()} for i, c in enumerate(counts)]
    drawn = figures.lines(series, x="labels a class", y="test images classified rightly [%]", logarithmic="x")
    return drawn, {
        "rows": rows,
        "protocol": {"test_images": len(x_test), "network_steps": max(30, round(1500 * stage.scale))},
    }


def _network(x: Tensor, y: Tensor, x_test: Tensor, truth: Tensor, *, steps: int) -> float:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)]
    model = nn.Sequential(*layers)
    model(x[:1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    for step in range(steps):
        index = torch.randint(len(x), (64,), generator=generator(0, "network", step))
        optimiser.zero_grad()
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimiser.step()
    with torch.no_grad():
        return float((model(x_test).argmax(1) == truth).double().mean())


def _moons(count: int, step: int) -> Tensor:
    rng = generator(0, "moons", step)
    angle = math.pi * torch.rand(count, generator=rng)
    lower = torch.rand(count, generator=rng) < 0.5
    x = torch.where(lower, 1 - angle.cos(), angle.cos()) - 0.5
    y = torch.where(lower, 0.5 - angle.sin(), angle.sin()) - 0.25
    return 2 * torch.stack([x, y], 1) + 0.15 * torch.randn(count, 2, generator=rng)
