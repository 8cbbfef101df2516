"""The sections of the demonstration's report: each a function from the `Stage` to a title and what stands below it.

A new section is a new function here, listed in `SECTIONS` at the end; it returns None where its models are not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imprior import face, opening, recipes, runs
from imprior.data.corrupt import corrupt
from imprior.data.settings import Corruption
from imprior.demo import photographs
from imprior.metrics.psnr import psnr_db
from imprior.promises import Encodes, Samples, Scores, kept
from imprior.randomness import generator
from imprior.report import figures, grid
from imprior.report.overlay import overlay
from imprior.report.page import Cell, Code, Part, Picture, Section, Table
from imprior.tasks import denoise, embed

SHOWN = 10  # images in a row
JUDGED = 500  # images that figures are means over
SLOW = 100  # images, for methods that take long
NOISE = 0.5  # of digits, on the [0, 1] scale
JUST_NOW = "trained just now"


@dataclass(frozen=True)
class Stage:
    """What sections show things with.

    Attributes:
        run: of the VAE that was trained just now.
        command: that trains such a one.
        digits: embedded test digits [N, 1, 28, 28].
        first: positions of the first digit of each kind.
        models: embedded models of digits by name.
        photographs: embedded photographs [1, 3, H, W] by name.
    """

    run: runs.Run
    command: str
    digits: Tensor
    first: Tensor
    models: dict[str, Any]
    photographs: dict[str, Tensor]

    def keeping(self, promise: str) -> dict[str, Any]:
        """Models of digits that keep a promise, the one that was just trained first."""
        every = {JUST_NOW: face.load(self.run.path)} | self.models
        return {name: model for name, model in every.items() if promise in kept(model)}


def training(stage: Stage) -> Section:
    """What was trained, and how its loss fell."""
    card = stage.run.read("card.json")
    told = (
        f"A variational autoencoder of {card['parameters']:,} weights saw {card['training']['images']:,} images in "
        f"{card['training']['seconds']:.0f} seconds. Its loss is minus the evidence lower bound, the sum of two parts: "
        "how badly the images are explained by their codes, and how far the codes are from the prior. Both are in nats "
        "per image."
    )
    curves = Picture(figures.curves(stage.run.log()), "Loss, its parts, learning rate and gradients")
    return Section("A VAE, trained just now", [told, Code(stage.command), curves])


def reconstructions(stage: Stage) -> Section:
    """What is left of digits after the code."""
    x = stage.digits[stage.first]
    found = {name: face.reconstruct(model, x) for name, model in stage.keeping("Encodes").items()}
    names = [f"{name}\n{float(one.psnr_db.mean()):.1f} dB" for name, one in found.items()]
    told = (
        "Each model turns a digit into a short code and the code back into a digit. Size of the code, kind of network "
        "and loss differ from row to row; PSNR is the mean over these ten."
    )
    recovered = _picture([x, *(one.mean for one in found.values())], ["original", *names], "Originals, reconstructions")
    errors = [(one.x - one.mean).abs() for one in found.values()]
    return Section(
        "Originals, reconstructions, errors",
        [
            told,
            recovered,
            _picture(errors, list(found), "Absolute errors: white is wrong"),
            Code("imprior reconstruct mnist-ae-conv --data digits -o reconstructed.png"),
        ],
    )


def noisy_digits(stage: Stage) -> Section:
    """Noisy digits, cleaned by every model that can."""
    clean = stage.digits[:JUDGED]
    noisy, _ = corrupt(clean, Corruption("gaussian", NOISE, NOISE), generator(0, "demo noise"))
    table: list[list[Cell]] = [["noisy", float(psnr_db(clean, noisy).mean()), len(clean)]]
    rows, names = [clean[stage.first], noisy[stage.first]], ["clean", "noisy"]
    for name, model in (stage.keeping("Denoises") | {"non-local-means": face.load("non-local-means")}).items():
        n = SLOW if name in opening.CLASSICAL else JUDGED
        table.append([name, float(psnr_db(clean[:n], denoise.run(model, noisy[:n], sigma=NOISE)).mean()), n])
        rows.append(denoise.run(model, noisy[stage.first], sigma=NOISE))
        names.append(name)
    told = (
        f"Gaussian noise of standard deviation {NOISE:g} (white is 1). Denoising autoencoders were trained to undo it; "
        "the others only know what digits look like, or, like non-local means, not even that."
    )
    commands = "imprior corrupt digit.png -o noisy.png --amount 127.5\nimprior denoise noisy.png -o clean.png"
    return Section(
        "Noisy, cleaned, clean: digits",
        [
            told,
            _picture(rows, names, "The same digits: clean, noisy, cleaned"),
            Table(["model", "PSNR [dB]", "images"], table, "Mean over embedded test digits"),
            Code(f"{commands} --model mnist-dae"),
        ],
    )


def noisy_photographs(stage: Stage) -> Section:
    """Photographs with white noise, cleaned."""
    return photographs.noisy(stage.photographs)


def photographs_at_night(stage: Stage) -> Section | None:
    """Photographs with the noise of a sensor, cleaned."""
    return photographs.taken_at_night(stage.photographs)


def photographs_in_few_bytes(stage: Stage) -> Section | None:
    """Photographs compressed, beside other codecs."""
    return photographs.in_few_bytes(stage.photographs)


def samples(stage: Stage) -> Section:
    """Digits that nobody wrote."""
    models = stage.keeping("Samples")
    drawn = [face.sample(model, SHOWN, seed=1) for model in models.values()]
    told = (
        "Models with a code draw one and decode it. A VAE draws from its prior, which its codes were held to; for a "
        "plain autoencoder or PCA a Gaussian fitted to the codes has to stand in, and it shows. Autoregressive models "
        "draw pixel after pixel, each given those before; of models of binarized digits every dot is drawn."
    )
    command = Code("imprior sample mnist-vae mnist-ae -o samples.png")
    return Section("Samples", [told, _picture(drawn, list(models), "Ten draws of each model"), command])


def completions(stage: Stage) -> Section | None:
    """Lower halves, several times over."""
    names = [name for name in ("mnist-pixelcnn", "mnist-vae") if name in stage.models]
    if not names:
        return None
    x = stage.digits[stage.first[[2, 3, 4, 8, 9]]]
    found = {name: face.complete(stage.models[name], x, hide="bottom", n=2, seed=1) for name in names}
    one = found[names[0]]
    rows = [x, one.masked, *(found[name].images[:, turn] for name in names for turn in range(2))]
    captions = ["original", "seen", *(name for name in names for _ in range(2))]
    ways = "; ".join(f"{name} by {filled.how}" for name, filled in found.items())
    told = (
        "The lower half is hidden and drawn anew, twice by each model. What was seen stays bit for bit; what was not "
        f"differs from draw to draw, and fits. {ways}."
    )
    command = Code("imprior complete mnist-pixelcnn --data digits --hide bottom -n 2 -o completed.png")
    return Section("Completed", [told, _picture(rows, captions, "Halves of digits, filled in"), command])


def edits(stage: Stage) -> Section | None:
    """A direction that labels give, and two digits made one."""
    if "mnist-vae" not in stage.models:
        return None
    model, steps = stage.models["mnist-vae"], (0.0, 0.25, 0.5, 0.75, 1.0)
    seven, three, eights = (stage.digits[stage.first[[label]]] for label in (7, 3, 8))
    moved = face.edit(model, seven, direction="label:7-1", examples="digits", strengths=[2 * step for step in steps])
    nearer = face.edit(model, three, like=eights, strengths=steps)
    below = torch.ones(1, 1, *seven.shape[2:], dtype=torch.bool)
    below[:, :, seven.shape[2] // 2 :] = False
    composed = face.edit(model, three, compose=seven, mask=below)
    told = (
        "Above, a 7 goes the way from the mean code of 7s to that of 1s, and as far again; a 3 goes to an 8's code. "
        "Below, the lower half of a 7 is pasted under a 3, and the code of the result makes one digit of both."
    )
    verbs = (
        "edit mnist-vae seven.png --direction label:7-1 --data digits -o moved.png",
        "edit mnist-vae three.png --compose seven.png --mask lower-half.png -o composed.png",
    )
    return Section(
        "Edited",
        [
            told,
            _picture([moved.images[0], nearer.images[0]], ["7 to 1", "3 to 8"], "Moved in the code"),
            _picture(composed.rows(), (), "A 3, a 7, pasted, composed"),
            Code("\n".join(f"imprior {verb}" for verb in verbs)),
        ],
    )


def anomalies(stage: Stage) -> Section | None:
    """Clothes among digits."""
    if "mnist-vae" not in stage.models or "fashion-vae" not in runs.embedded():
        return None
    clothes = face.sample("fashion-vae", JUDGED, seed=0)
    x = torch.cat([stage.digits[stage.first[:5]], clothes[:5]])
    found = face.anomaly(stage.models["mnist-vae"], "digits", x, against=clothes, limit=JUDGED)
    assert found.separation is not None
    area = found.separation.auroc.value
    told = (
        f"A model of digits is shown {JUDGED} digits and as many clothes (drawn by fashion-vae: real ones don't come "
        f"with the package), and scores how strange each is. The area under the ROC curve is {area:.4f}. Red is where "
        "an image is strange."
    )
    command = Code("imprior anomaly mnist-vae scans/ --data digits -o heat.png")
    shown = _picture([x, overlay(x, found.heat()[0])], ["image", "strange"], "Where images are unlike digits")
    return Section("Found to be strange", [told, shown, command])


def latent_map(stage: Stage) -> Section:
    """Every digit as a point of the code's space."""
    found = face.embed(stage.run.path, "digits", split="test")
    drawn = figures.latent_map(embed.plane(found.codes), found.labels, classes=found.classes)
    told = (
        f"Every test digit as a point: its {found.codes.shape[1]} numbers, seen from the side on which they vary most. "
        "The training never saw a label, and still the digits of a kind lie together."
    )
    command = Code("imprior embed runs/vae --data digits -o codes.npz --map map.png")
    return Section("A map of the codes", [told, Picture(drawn, "Codes of the VAE"), command])


def traversals(stage: Stage) -> Section:
    """One number of the code at a time, and the ways between digits."""
    rows = face.traverse(stage.run.path, stage.digits, units=6, span=3.0, steps=11)
    ways = face.interpolate(stage.run.path, stage.digits[stage.first], steps=11)
    told = (
        "Above, one number of a digit's code is moved by three of its standard deviations each way, the others stay: a "
        "row for each of the six that vary most. Below, straight ways from one digit to another."
    )
    verbs = ("traverse runs/vae --data digits -o traversals.png", "interpolate runs/vae --data digits -o ways.png")
    return Section(
        "Traversals",
        [
            told,
            _picture(list(rows), (), "One number of the code moves"),
            _picture(list(ways), (), "From digit to digit"),
            Code("\n".join(f"imprior {verb}" for verb in verbs)),
        ],
    )


def photographs_through_a_vae(stage: Stage) -> Section | None:
    """Photographs coded and drawn."""
    return photographs.through_a_vae(stage.photographs)


def comparison(stage: Stage) -> Section:
    """The models side by side, measured now."""
    table: list[list[Cell]] = []
    for name, given in ({JUST_NOW: stage.run.path} | {name: name for name in stage.models}).items():
        run, model = runs.find(given), face.load(given)
        if not isinstance(model, Scores | Encodes | Samples):
            continue  # a classifier
        record: dict[str, Any] = {}
        if isinstance(model, Scores | Encodes):
            record = face.evaluate(given, "digits", samples=20, limit=JUDGED).record()
        numbers = model.encode(stage.digits[:1]).numel() if isinstance(model, Encodes) else None
        row = [name, recipes.read(run.read("recipe.json")).name, run.read("card.json")["parameters"] or None, numbers]
        nats = record.get("nats") if record.get("space") == "binary" else None
        table.append([*row, record.get("psnr_db"), nats, record.get("denoised_db")])
    told = (
        f"Measured now on {JUDGED} embedded test digits. Nats are of binarized digits (exact or an importance-weighted "
        "bound of 20 samples; less is better), empty for models that give images no probability, or one of another "
        "kind. Cleaning is from Gaussian noise of 0.5, for models that were trained to do it. The figures of an "
        "embedded model on the full test set, with their protocol, are in its card: imprior info NAME."
    )
    columns = ["model", "recipe", "weights", "numbers in the code", "reconstruction [dB]", "nats", "cleaned [dB]"]
    command = Code("imprior compare mnist-ae mnist-dae mnist-vae mnist-pca")
    return Section("Side by side", [told, Table(columns, table), command])


SECTIONS: tuple[Callable[[Stage], Section | None], ...] = (
    training,
    reconstructions,
    noisy_digits,
    noisy_photographs,
    photographs_at_night,
    photographs_in_few_bytes,
    samples,
    completions,
    edits,
    anomalies,
    latent_map,
    traversals,
    photographs_through_a_vae,
    comparison,
)


def _picture(rows: list[Tensor], captions: list[str] | tuple[str, ...], caption: str) -> Part:
    return Picture(grid.encoded(grid.rows(rows, captions=captions)), caption)
