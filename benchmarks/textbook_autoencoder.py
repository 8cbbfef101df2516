"""Pictures about plain, deep and denoising autoencoders."""

import math

import torch
from textbook import Made, Stage
from torch import Tensor, nn

import imprior
from imprior.data.batches import Batches
from imprior.data.settings import Data
from imprior.metrics.psnr import psnr_db
from imprior.models import pca
from imprior.randomness import generator
from imprior.report import figures, grid
from imprior.tasks import denoise, embed, reconstruct

NOISE = 0.5
BLOCKS = ("plain", "normalised", "residual")


class LastAxis(nn.Module):
    """The listing as printed: dense layers put on 28x28 images that nobody flattened, so they act on rows."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(28, 128), nn.ReLU())
        self.decoder = nn.Sequential(nn.Linear(128, 28), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def fitted(model: nn.Module, stage: Stage, images: int, *, batch: int = 256) -> nn.Module:
    """A bare loop: Adam, mean squared error, as tutorials print it."""
    batches = Batches(stage.train, Data(), batch=batch, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(stage.images(images) // batch):
        x = batches.at(step).x
        optimiser.zero_grad()
        (model(x) - x).square().mean().backward()
        optimiser.step()
    return model.eval()


def plain(stage: Stage) -> Made:
    """A "code" of 28 x 128 numbers, one of 128, and PCA with as many."""
    torch.manual_seed(0)
    printed = fitted(LastAxis(), stage, 300_000)
    ours = stage.trained("plain", "mnist-ae", images=1_000_000)
    linear = pca.Config((1, 28, 28), 128).build()
    linear.update(stage.train.chunks())
    with torch.no_grad():
        code = printed.encoder(stage.shown[:1]).numel()
        found = {
            f"as printed\n{code:,} numbers": printed(stage.judged),
            "mnist-ae\n128 numbers": None,
            "PCA\n128": None,
        }
    found["mnist-ae\n128 numbers"] = reconstruct.run(ours, stage.judged).mean
    found["PCA\n128"] = reconstruct.run(linear, stage.judged).mean
    place = [int((stage.judged == x).flatten(1).all(1).nonzero()[0]) for x in stage.shown]
    rows = [
        stage.shown,
        *(one[place] for one in found.values()),
        (stage.shown - found["mnist-ae\n128 numbers"][place]).abs(),
    ]
    picture = grid.rows(rows, captions=["original", *found, "error of\nmnist-ae"])
    table = [
        {
            "model": name.split("\n")[0],
            "numbers": count,
            "times_the_image": count / 784,
            "psnr_db": mean(stage.judged, one),
        }
        for (name, one), count in zip(found.items(), (code, 128, 128), strict=True)
    ]
    return grid.encoded(picture), {"rows": table}


def sizes(stage: Stage) -> Made:
    """Real files: the same autoencoder's code beside general codecs."""
    ours = stage.trained("plain", "mnist-ae", images=1_000_000)
    found = imprior.rd_curve(stage.test, [ours], ["png", "jpeg", "huffman", "lzw", "rle"], modes=["image"], limit=200)
    curves, table = [], []
    for name in dict.fromkeys(point.codec for point in found.points):
        points = [p for p in found.points if p.codec == name]
        shown = "mnist-ae" if points[0].learned else name
        for lossless in (False, True):
            some = [p for p in points if p.lossless == lossless]
            if some:
                heights = [math.inf if lossless else p.psnr_db for p in some]
                curves.append(figures.RatePoints(shown, [p.bits_per_pixel for p in some], heights))
        for p in points:
            size = p.bits_per_pixel * 784 / 8
            table.append(
                {"codec": shown, "setting": p.setting, "bytes_an_image": size, "psnr_db": p.record()["psnr_db"]}
            )
    drawn = figures.rate_distortion(curves, title=f"{found.images} digits, a file for each")
    return drawn, {"rows": table, "note": "No PSNR: lossless."}


def deep(stage: Stage) -> Made:
    """784-128-64-32-16 and back: plain, normalised, residual, the same budget."""
    rows, table = [stage.shown], []
    for block in BLOCKS:
        model = stage.trained(f"deep-{block}", "mnist-ae-deep", f"model.network.block={block}", images=600_000)
        rows.append(reconstruct.run(model, stage.shown).mean)
        table.append({"layers": block, "psnr_db": float(reconstruct.run(model, stage.judged).psnr_db.mean())})
    return grid.encoded(grid.rows(rows, captions=["original", *BLOCKS])), {"rows": table}


def plane(stage: Stage) -> Made:
    """784-64-2: the code of an autoencoder as a map."""
    overrides = ("model.network.widths=64", "model.latent=2", "model.code=linear")
    model = stage.trained("plane", "mnist-ae", *overrides, images=1_000_000)
    found = embed.run(model, stage.test)
    drawn = figures.latent_map(
        embed.plane(found.codes), found.labels, classes=found.classes, title="A code of two numbers"
    )
    return drawn, {"psnr_db": float(reconstruct.run(model, stage.judged).psnr_db.mean()), "numbers": 2}


def against_pca(stage: Stage) -> Made:
    """PCA, the linear autoencoder and the convolutional one, 32 numbers each."""
    names = ("mnist-pca", "mnist-ae-linear", "mnist-ae-conv")
    found = {name: imprior.load(name) for name in names}
    rows = [stage.shown, *(reconstruct.run(model, stage.shown).mean for model in found.values())]
    table = [
        {"model": name, "numbers": 32, "psnr_db": float(reconstruct.run(model, stage.judged).psnr_db.mean())}
        for name, model in found.items()
    ]
    return grid.encoded(grid.rows(rows, captions=["original", *names])), {"rows": table}


def denoising(stage: Stage) -> Made:
    """Noisy, cleaned by each, clean."""
    names = ("mnist-dae", "mnist-dvae", "total-variation", "non-local-means")
    found = {name: imprior.load(name) for name in names}
    noisy = noised(stage.judged[:200], "test")
    first = noised(stage.shown, "shown")
    table = [{"by": "(noisy)", "psnr_db": mean(stage.judged[:200], noisy)}]
    rows = [stage.shown, first]
    for name, model in found.items():
        rows.append(denoise.run(model, first, sigma=NOISE))
        table.append({"by": name, "psnr_db": mean(stage.judged[:200], denoise.run(model, noisy, sigma=NOISE))})
    drawn = grid.rows(rows, captions=["clean", "noisy", *names])
    return grid.encoded(drawn), {"rows": table, "protocol": {"sigma": NOISE, "images": len(noisy)}}


def fixed_noise(stage: Stage) -> Made:
    """Noise drawn once and reused, beside noise drawn afresh: a dense denoiser on 2,000 images."""
    x = stage.train.x(slice(0, 2_000))
    noise = noised(x, "once") - x
    steps = stage.images(400_000) // 100
    curves, table = [], []
    noisy = noised(stage.judged, "test")
    for name in ("drawn once", "drawn afresh"):
        torch.manual_seed(0)
        layers = [
            nn.Flatten(),
            nn.Linear(784, 500),
            nn.ReLU(),
            nn.Linear(500, 784),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, 28, 28)),
        ]
        model = nn.Sequential(*layers)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        at, quality = [], []
        for step in range(steps + 1):
            if step % max(1, steps // 20) == 0:
                with torch.no_grad():
                    quality.append(mean(stage.judged, model(noisy)))
                at.append(100 * step)
            index = torch.randint(len(x), (100,), generator=generator(0, "fixed noise", step))
            added = (
                noise[index] if name == "drawn once" else NOISE * torch.randn(100, 1, 28, 28, generator=generator(step))
            )
            optimiser.zero_grad()
            (model(x[index] + added) - x[index]).square().mean().backward()
            optimiser.step()
        curves.append(figures.Series(f"noise {name}", at, quality))
        table.append({"noise": name, "psnr_db": quality[-1], "best_psnr_db": max(quality)})
    drawn = figures.lines(curves, x="images seen", y="PSNR on noisy test images [dB]")
    return drawn, {"rows": table, "protocol": {"sigma": NOISE, "training_images": len(x)}}


def noised(x: Tensor, purpose: str) -> Tensor:
    return x + NOISE * torch.randn(x.shape, generator=generator(0, "textbook", purpose))


def mean(x: Tensor, y: Tensor) -> float:
    return float(psnr_db(x, y).mean())
