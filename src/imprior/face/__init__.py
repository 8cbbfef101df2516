"""The Python face: one flat function a task, each also a command.

    import imprior
    imprior.train("mnist-vae", "digits/", "runs/vae", overrides=["objective.beta=4"], minutes=10)
    model = imprior.load("runs/vae")                    # or an embedded name: imprior.load("mnist-vae")
    print(imprior.evaluate("runs/vae", "digits/", samples=100).record()["nats"])

A model is given by embedded name, by run folder, or as an object that keeps promises. Images are given as a source
(a path or the name of an embedded set), as a list of picture files, as prepared `Images`, or as a batch
[N, C, H, W] in [0, 1]; sources and files are prepared as the model's recipe says. `sigma` and `amount` are on the
8-bit scale here, as papers and people quote them.
"""

from __future__ import annotations

from imprior.face.choosing import choose
from imprior.face.comparing import judge, judging_page, tally
from imprior.face.completing import complete, fill
from imprior.face.compressing import compress, decompress
from imprior.face.detecting import anomaly
from imprior.face.editing import edit
from imprior.face.explaining import influence
from imprior.face.judging import compare, evaluate, probe, rd_curve
from imprior.face.labelling import augment, classify
from imprior.face.making import info, inspect_data, list_models, list_recipes, load, plan, train, tune
from imprior.face.pictures import corrupt, denoise
from imprior.face.quality import quality
from imprior.face.using import embed, interpolate, reconstruct, sample, traverse

__all__ = [
    "anomaly",
    "augment",
    "choose",
    "classify",
    "compare",
    "complete",
    "compress",
    "corrupt",
    "decompress",
    "denoise",
    "edit",
    "embed",
    "evaluate",
    "fill",
    "influence",
    "info",
    "inspect_data",
    "interpolate",
    "judge",
    "judging_page",
    "list_models",
    "list_recipes",
    "load",
    "plan",
    "probe",
    "quality",
    "rd_curve",
    "reconstruct",
    "sample",
    "tally",
    "train",
    "traverse",
    "tune",
]
