"""How many images a second the training loop takes, against a bare PyTorch loop, and against pythae.

    python benchmarks/training_throughput.py MNIST_FOLDER --recipes mnist-ae mnist-vae-standard

All have the same network (built from one seed), batch, precision and optimiser, on the same images in memory, in one
process, in turns: a round of one, a round of the next, again and again. What counts is the median over the rounds of
the ratio to the bare loop, which does nothing that is not needed: no log, no norm of the gradient, no averages.

"imprior, same work" is our loop without clipping and averaging (it still measures the gradient's norm, checks that the
loss is a number, and draws noise that can be drawn again after a kill). "imprior, as the recipe" has both where the
recipe has them. pythae is measured where it is installed (its own trainer and loss; it takes the grey images as they
are, since it binarizes nothing); only float32 VAEs with a standard prior can be put before it.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from show import finish, versions
from torch import Tensor, nn
from torch.nn import functional as F

from imprior import loading, recipes
from imprior.data import prepare
from imprior.data.batches import Batches, Images
from imprior.models import autoencoder, vae
from imprior.recipes import Recipe
from imprior.training import loop, state
from imprior.training.schedule import optimiser_for
from imprior.training.settings import Gradient

Round = Callable[[int], float]  # trains on so many more images, returns seconds


def ours(recipe: Recipe, images: Images) -> Round:
    """Our loop, going on from round to round."""
    settings = recipe.training
    assert isinstance(settings, Gradient)
    model = loading.build(recipe)
    batches = Batches(images, recipe.data, batch=settings.batch, seed=recipe.seed)
    training = state.begin(model, settings)

    def go(count: int) -> float:
        training.counters.finished = False
        target = replace(settings, images=training.counters.images + count, check=10**15)
        started = time.perf_counter()
        loop.train(training, target, batches, seed=recipe.seed)
        return time.perf_counter() - started

    return go


def bare(recipe: Recipe, images: Images) -> Round:
    """What one would write by hand."""
    settings = recipe.training
    assert isinstance(settings, Gradient) and isinstance(images.pixels, Tensor)
    model: Any = loading.build(recipe)
    optimiser = optimiser_for(list(model.parameters()), settings.optimiser)
    loss_of = {vae.Config: _vae_loss, autoencoder.Config: _autoencoder_loss}[type(recipe.model)]
    pixels, half = images.pixels, settings.precision == "bfloat16"
    model.train()

    def go(count: int) -> float:
        started = time.perf_counter()
        order = torch.randperm(len(pixels))
        for step in range(count // settings.batch):
            at = step * settings.batch % (len(order) - settings.batch)
            x = pixels[order[at : at + settings.batch]].float() / 255
            if recipe.data.binarize:
                x = torch.bernoulli(x)
            optimiser.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                loss = loss_of(model, x)
            loss.backward()
            optimiser.step()
        return time.perf_counter() - started

    return go


def _vae_loss(model: Any, x: Tensor) -> Tensor:
    mean, log_variance = model.encoder(x).float().chunk(2, 1)
    log_variance = log_variance.clamp(-7, 2)
    z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    logits = model.decoder(z).float()
    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl) / len(x)


def _autoencoder_loss(model: Any, x: Tensor) -> Tensor:
    made = model.decoder(model.squash(model.encoder(x).float())).float().sigmoid()
    return F.mse_loss(made[..., : x.shape[-2], : x.shape[-1]], x, reduction="sum") / len(x)


def pythae(recipe: Recipe, images: Images, place: str) -> Round:
    """pythae's own trainer around the same network; its epochs are as long as a round."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    settings, model = recipe.training, loading.build(recipe)
    assert isinstance(settings, Gradient) and isinstance(model, vae.VAE)

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = model.encoder

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.network(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance.clamp(-7, 2))

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(model.decoder, nn.Sigmoid())

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.network(z))

    latent = model.config.latent
    config = VAEConfig(input_dim=tuple(recipe.model.shape), latent_dim=latent, reconstruction_loss="bce")
    optimiser = {"betas": settings.optimiser.betas, "weight_decay": settings.optimiser.weight_decay}
    theirs = BaseTrainerConfig(
        output_dir=place,
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.optimiser.rate,
        optimizer_cls="AdamW",
        optimizer_params=optimiser,
        no_cuda=True,
    )
    trainers: dict[int, Any] = {}

    def go(count: int) -> float:
        if count not in trainers:
            part = slice(0, count)
            labels = images.labels[part] if images.labels is not None else torch.zeros(count)
            network = VAE(config, encoder=Encoder(), decoder=Decoder())
            trainers[count] = BaseTrainer(network, BaseDataset(images.x(part), labels), training_config=theirs)
            trainers[count].prepare_training()
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            started = time.perf_counter()
            trainers[count].train_step(1)
            return time.perf_counter() - started

    return go


def contestants(recipe: Recipe, images: Images, place: str) -> dict[str, Round]:
    """Who takes part, the bare loop first."""
    assert isinstance(recipe.training, Gradient)
    plain = replace(recipe, training=replace(recipe.training, clip=None, average=None))
    found = {
        "bare PyTorch": bare(recipe, images),
        "imprior, same work": ours(plain, images),
        "imprior, as the recipe": ours(recipe, images),
    }
    if recipe.name == "mnist-vae-standard":
        single = replace(plain, training=replace(plain.training, precision="float32"))
        if recipe.training.precision != "float32":
            found["bare PyTorch, float32"] = bare(single, images)
            found["imprior, float32"] = ours(single, images)
        try:
            found["pythae, float32"] = pythae(single, images, place)
        except ImportError:
            print("pythae is not installed here: left out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images to train on")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings that all recipes share")
    parser.add_argument("--recipes", nargs="+", default=["mnist-ae", "mnist-ae-conv", "mnist-vae-standard"])
    parser.add_argument("--images", type=int, default=25_600, help="of a round")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()

    rows: list[dict[str, Any]] = []
    for name in asked.recipes:
        recipe = recipes.find(name).with_overrides(asked.settings)
        images = prepare.load(asked.source, recipe.data, "train")
        channels, height, width = images.shape
        assert channels and height and width
        recipe = recipe.with_overrides(["objective.importance=1"] if name.startswith("mnist-vae") else [])
        recipe = recipe.with_shape((channels, height, width))
        assert isinstance(recipe.training, Gradient)
        count = asked.images // recipe.training.batch * recipe.training.batch
        with tempfile.TemporaryDirectory() as place:
            takes_part = contestants(recipe, images, place)
            for go in takes_part.values():
                go(recipe.training.batch * 4)  # memory is taken, kernels are chosen
            seconds = {who: [] for who in takes_part}
            for _ in range(asked.rounds):
                for who, go in takes_part.items():
                    seconds[who].append(go(count))
        for who, own in seconds.items():
            rival = (
                "bare PyTorch, float32" if "float32" in who and "bare PyTorch, float32" in seconds else "bare PyTorch"
            )
            ratio = statistics.median(b / a for a, b in zip(own, seconds[rival], strict=True))
            row = {"recipe": name, "loop": who, "images_per_second": count / statistics.median(own)}
            row |= {"over_bare": ratio}
            if "pythae, float32" in seconds:
                theirs = seconds["pythae, float32"]
                row["over_pythae"] = statistics.median(b / a for a, b in zip(own, theirs, strict=True))
            rows.append(row)
            print(row, flush=True)
    print()
    protocol = {"images": asked.images, "rounds": asked.rounds, "settings": asked.settings}
    finish("training_throughput", protocol | versions("pythae"), rows)


if __name__ == "__main__":
    main()
