"""Autoregressive models: each patch of an image predicted from those before it, so that the likelihood is exact.

    x ──► patches ──► causal network ──► features ──► output ──► log p(patch | patches before) ──► sum
    [N,C,H,W] → [N,C·p·p,H/p,W/p]    →  [N,width,H/p,W/p]     →  [N·H/p·W/p]                      [N]

    p(x | label) = Π p(patch i | patches before i, label)          in raster order of the patches

Patches of p x p pixels make the sequence p² times shorter; within one the pixels are predicted jointly or in turn, so
nothing is lost. Network and output are parts: `model.network.width=96`, `model.output=categorical`.

References: van den Oord, Kalchbrenner & Kavukcuoglu 2016, Pixel recurrent neural networks; van den Oord et al. 2016,
Conditional image generation with PixelCNN decoders; Salimans et al. 2017, PixelCNN++.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from imprior import bounds
from imprior.errors import DataError, RecipeError
from imprior.models.labelled import checked, drawn, marginal
from imprior.models.pixel_outputs import Categorical, Joint, Logistics, PatchOutput, categorical
from imprior.nn.causal import CausalNetwork, MaskedConvolution
from imprior.nn.recurrent import RowLSTM
from imprior.nn.transformer import Transformer
from imprior.promises import Score, Shape, check_shape, space_of

# Patches at a time, which bounds the memory whatever the number of images: scoring holds the layer at work and the
# parameters of all of them, drawing the caches of all layers.
SCORED, DRAWN = 50_000, 100_000


@dataclass(frozen=True)
class Config:
    """Settings of an autoregressive model.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        patch: side of the square patches, in pixels; it divides height and width.
        network: from the patches before a position to features.
        output: from features to the distribution of a patch; it decides what the likelihood is over (binary or 8-bit
            images).
        classes: labels of a class-conditional model; None of one without.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    patch: int = 2
    network: MaskedConvolution | RowLSTM | Transformer = field(default_factory=MaskedConvolution)
    output: Joint | Categorical | Logistics = field(default_factory=Joint)
    classes: int | None = None

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise RecipeError(f"patch must be at least 1, not {self.patch}")
        if self.classes is not None and self.classes < 2:
            raise RecipeError(f"classes must be at least 2 (or none), not {self.classes}")
        _, height, width = self.shape
        if height % self.patch or width % self.patch:
            raise RecipeError(f"images of {height}x{width} can't be cut into patches of {self.patch}x{self.patch}")

    def build(self) -> Autoregressive:
        """The model, with fresh weights."""
        return Autoregressive(self)


class Autoregressive(nn.Module):
    """Keeps Scores (exact), Samples and Completes.

    `temperature` divides the logits of everything that `sample` and `complete` draw; 1 is the model's distribution.
    """

    # Levels apart by one of 255 meet here: of 8-bit models, rounding this layer to 7 bits costs more than all others.
    precise = ("network.first.weight",)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.shape: Shape = config.shape
        self.levels: int | None = config.output.levels
        self.classes = config.classes
        self.temperature = 1.0
        channels, height, width = config.shape
        values, self.grid = channels * config.patch**2, (height // config.patch, width // config.patch)
        output = config.output.build(config.network.width, values)
        self.network = config.network.build(values * output.told, *self.grid, config.classes)
        self.output = cast(nn.Module, output)

    def patches(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, H/p, W/p, p·p·C]: row by row within a patch, the channels of a pixel together."""
        p = self.config.patch
        cut = x.reshape(*x.shape[:2], self.grid[0], p, self.grid[1], p)  # [N, C, H/p, p, W/p, p]
        return cut.permute(0, 2, 4, 3, 5, 1).flatten(3)

    def images(self, patches: Tensor) -> Tensor:
        """The inverse of `patches`."""
        p, (channels, height, width) = self.config.patch, self.config.shape
        cut = patches.reshape(-1, *self.grid, p, p, channels)
        return cut.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, height, width)

    def log_prob(self, x: Tensor, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """log p(x | label), differentiable: [N, C, H, W] -> [N] nats. `rng` is not used: nothing here is noisy.

        Raises:
            DataError: images of another shape than the model's, or labels that it does not know.
        """
        check_shape(x, self.shape)
        return self.patch_log_prob(self.patches(x), checked(labels, len(x), self.classes)).flatten(1).sum(1)

    def patch_log_prob(self, patches: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p of each patch given those before it, differentiable.

        Args:
            patches: [N, H/p, W/p, p·p·C] of whole levels, as `patches` cuts them.
            labels: int64 [N], of a conditional model.

        Returns:
            [N, H/p, W/p] nats; their sum over an image is its log-probability.
        """
        network, output = cast(CausalNetwork, self.network), cast(PatchOutput, self.output)
        labels = None if labels is None else labels.to(patches.device)
        features = network(output.tell(patches).permute(0, 3, 1, 2), labels).permute(0, 2, 3, 1)
        return output.log_prob(features.flatten(0, 2), patches.flatten(0, 2)).view(patches.shape[:3])

    @torch.no_grad()
    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log p(x | label), exactly; without labels, of a conditional model, that of the mixture over labels.

        Args:
            x: [N, C, H, W] of whole levels.
            labels: int64 [N].
            samples, rng: not used.

        Raises:
            DataError: images of another shape or of other levels than the model's, or labels that it does not know.
        """
        check_shape(x, self.shape)
        bounds.check_levels(x, self.levels)

        def nats(given: Tensor | None) -> Tensor:
            found = [
                -self.patch_log_prob(self.patches(x[part]), None if given is None else given[part]).double()
                for part in self._parts(len(x), SCORED)
            ]
            return torch.cat(found).flatten(1).sum(1) if found else x.new_zeros(0, dtype=torch.float64)

        return Score(marginal(nats, len(x), labels, self.classes), "exact", space_of(self), "exact, by the chain rule")

    @torch.no_grad()
    def pixel_nats(self, x: Tensor) -> Tensor:
        """What each pixel adds to `score`: [N, C, H, W] -> [N, H, W] float64 nats; pixels of a patch share equally.

        Raises:
            DataError: as `score`.
        """
        check_shape(x, self.shape)
        bounds.check_levels(x, self.levels)
        patches, given = self.patches(x), [None] if self.classes is None else list(range(self.classes))
        each = [
            self.patch_log_prob(patches, None if label is None else torch.full((len(x),), label)).double().flatten(1)
            for label in given
        ]
        # Of the mixture over labels the images up to each patch, whose differences are the patches: [K, N, L] → [N, L].
        upto = torch.stack(each).cumsum(2).logsumexp(0) - math.log(len(given))
        nats = -upto.diff(dim=1, prepend=upto.new_zeros(len(x), 1)).view(len(x), *self.grid) / self.config.patch**2
        return nats.repeat_interleave(self.config.patch, 1).repeat_interleave(self.config.patch, 2)

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n images patch by patch: [n, C, H, W]. Labels that a conditional model isn't given are drawn, too."""
        labels = drawn(labels, n, self.classes, rng)
        parts = [self._drawn(len(range(n)[part]), _of(labels, part), rng) for part in self._parts(n, DRAWN)]
        return self.images(torch.cat(parts)) if parts else self._like().new_zeros(0, *self.config.shape)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw what is unknown, patch by patch, with what is known in its place: [N, C, H, W].

        Exact, that is a draw from p(unknown | known), where the known pixels come before the unknown ones in the
        model's order: whole patches in raster order, then any pixels of the next patch with the output `Joint`, or its
        first ones with those that go in turn. For any other mask a pixel is drawn given what comes before it alone,
        and known pixels after it don't count.

        Args:
            x: [N, C, H, W]; what stands at unknown pixels is not looked at.
            known: bool [N, 1, H, W].
            rng: where the draws come from.
            labels: int64 [N]; those that a conditional model isn't given are drawn from their posterior given the
                known patches before the first unknown pixel.

        Raises:
            DataError: images or a mask of another shape than the model's, known pixels between its levels, or labels
                that it does not know.
        """
        check_shape(x, self.shape)
        if known.shape != (len(x), 1, *x.shape[2:]):
            raise DataError(f"a mask of shape {tuple(known.shape)} for images of shape {tuple(x.shape)}")
        filled = torch.where(known, x, 0)
        bounds.check_levels(filled, self.levels)
        values = self.patches(filled).to(self._like())
        given = self.patches(known.expand_as(x))
        parts = []
        for part in self._parts(len(x), SCORED):
            label = checked(_of(labels, part), len(values[part]), self.classes) if labels is not None else None
            if self.classes is not None and label is None:
                label = self._likely_labels(values[part], given[part], rng)
            parts.append(self._drawn(len(values[part]), label, rng, given[part], values[part]))
        return torch.where(known, x, self.images(torch.cat(parts)).to(x.dtype)) if parts else x

    def completes_exactly(self, known: Tensor) -> Tensor:
        """For which masks `complete` is a draw from p(unknown | known): bool [N, 1, H, W] -> bool [N]."""
        given = self.patches(known.expand(-1, self.config.shape[0], -1, -1)).flatten(1, 2)  # [N, L, values]
        begun, whole = given, given
        if isinstance(self.config.output, Joint):  # within a patch any order will do
            begun, whole = given.any(2), given.all(2)
        begun, whole = begun.flatten(1), whole.flatten(1).cumprod(1).bool()
        return ~(begun[:, 1:] & ~whole[:, :-1]).any(1)

    def _drawn(
        self,
        n: int,
        labels: Tensor | None,
        rng: torch.Generator,
        known: Tensor | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """n images as patches, [n, H/p, W/p, values], each patch drawn given those before and what of it is known."""
        network, output = cast(CausalNetwork, self.network), cast(PatchOutput, self.output)
        labels = None if labels is None else labels.to(self._like().device)
        state = network.begin(n, labels, self._like())
        patches: list[Tensor] = []
        for position in range(math.prod(self.grid)):
            i, j = divmod(position, self.grid[1])
            features = network.step(state, position, output.tell(patches[-1]) if patches else None)
            here = (None, None) if known is None or values is None else (known[:, i, j], values[:, i, j])
            patches.append(output.sample(features, rng, temperature=self.temperature, known=here[0], values=here[1]))
        return torch.stack(patches, 1).view(n, *self.grid, -1)

    def _likely_labels(self, values: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Labels [N] drawn from p(label | the patches before the first that isn't wholly known)."""
        assert self.classes is not None
        before = known.all(3).flatten(1).cumprod(1).bool()  # [N, L]
        log_prob = [
            self.patch_log_prob(values, torch.full((len(values),), label, device=values.device)).double()
            for label in range(self.classes)
        ]
        nats = torch.stack([torch.where(before, each.flatten(1), 0).sum(1) for each in log_prob], 1)
        return categorical(nats, rng)

    def _parts(self, n: int, positions: int) -> Iterator[slice]:
        """Slices of n images, of about so many positions each."""
        step = max(1, positions // math.prod(self.grid))
        return (slice(start, start + step) for start in range(0, n, step))

    def _like(self) -> Tensor:
        return next(self.parameters())


def _of(labels: Tensor | None, part: slice) -> Tensor | None:
    return None if labels is None else labels[part]
