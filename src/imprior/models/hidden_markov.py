"""A hidden Markov model that writes a binary image row by row: each row has a state, and each state a row of pixels.

    state_1 ──► state_2 ──► … ──► state_H          S states, transitions [S, S], the same for every step or one each
       │           │                 │
     row_1       row_2             row_H           pixels [C, W] of a row, drawn each by itself given its state

One of S^H paths through the states explains an image, and their sum is exact by dynamic programming. All quantities
are logarithms in float64. Fitted by expectation-maximisation (Baum and Welch) with priors worth `smoothing`
observations, so that no probability becomes 0 or 1.

References: L. Rabiner, "A tutorial on hidden Markov models and selected applications in speech recognition", 1989
(equations by its numbers below); S. Scott, "Bayesian methods for hidden Markov models", 2002 (sampling a path).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.bounds import check_levels
from imprior.distributions.draws import categorical, uniform
from imprior.errors import RecipeError
from imprior.models.bernoulli_mixture import bernoulli_log_prob
from imprior.models.seeding import gathered, spread
from imprior.promises import Score, Shape, check_shape
from imprior.randomness import generator


@dataclass(frozen=True)
class Config:
    """Settings of a hidden Markov model.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        states: number of states of a row, S.
        shared: whether all steps down the image have the same transitions, or each its own.
        smoothing: weight of the priors, in rows a state.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    states: int = 100
    shared: bool = False
    smoothing: float = 1.0

    def __post_init__(self) -> None:
        if self.states < 1:
            raise RecipeError(f"states must be at least 1, not {self.states}")
        if not self.smoothing > 0:
            raise RecipeError(f"smoothing must be above 0, not {self.smoothing}")

    def build(self) -> HiddenMarkov:
        """The model before it has seen an image."""
        return HiddenMarkov(self)


class HiddenMarkov(nn.Module):
    """Keeps Scores (exact), Samples and Completes (exact, any mask)."""

    levels: int | None = 2
    classes: int | None = None

    log_initial: Tensor  # [S]
    log_transitions: Tensor  # [1 or H-1, S, S], from the state of a row to that of the next
    logits: Tensor  # [S, C·W], log p / (1 - p) of a row's pixels
    passes: Tensor  # [], how often `update` has been called

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.shape: Shape = config.shape
        self.seed = int(torch.randint(2**31, ()))  # of the first states; it follows the recipe's seed
        channels, height, width = config.shape
        states, steps = config.states, 1 if config.shared else max(1, height - 1)
        even = -math.log(states)
        self.register_buffer("log_initial", torch.full((states,), even))
        self.register_buffer("log_transitions", torch.full((steps, states, states), even))
        self.register_buffer("logits", torch.zeros(states, channels * width))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, batches: Iterable[Tensor]) -> float:
        """One step of expectation-maximisation, over all images; the first one draws rows to begin with.

        Args:
            batches: all training images, binary, [N, C, H, W] at a time; the first call goes through them twice.

        Returns:
            What the step lowered: minus the mean log-likelihood in nats per image, plus the priors' part, both of the
            model before the step.

        Raises:
            DataError: no images, images of another shape, or grey ones.
        """
        if not int(self.passes):
            rows = gathered((self._rows(x).flatten(0, 1) for x in batches), self.logits)
            # Halfway between an image's row and grey: no row is impossible in any state.
            self.logits.copy_((0.25 + 0.5 * spread(rows, self.config.states, generator(self.seed, "rows"))).logit())
        initial, transitions, on, off = self._log_probabilities()
        count, total = 0, torch.zeros((), dtype=torch.float64, device=on.device)
        first = torch.zeros_like(initial)  # expected counts: of states of the first row,
        moves = torch.zeros_like(transitions)  # of transitions,
        share = torch.zeros_like(initial)  # of rows of each state, and of the ones among their pixels
        ones = torch.zeros_like(on)
        for x in batches:
            rows = self._rows(x)
            emitted = bernoulli_log_prob(rows, torch.ones_like(rows), on, off)  # [N, H, S]
            forward, evidence = self._forward(emitted, initial, transitions)
            state, moved = self._backward(emitted, forward, evidence, transitions)
            count, total = count + len(rows), total + evidence.sum()
            first += state[:, 0].sum(0)
            moves += moved
            share += state.sum((0, 1))
            ones += state.flatten(0, 1).T @ rows.flatten(0, 1)
        prior, height = self.config.smoothing, self.config.shape[1]
        centre = (ones.sum(0) + 0.5) / (count * height + 1)  # [C·W], mean of each pixel of a row, within (0, 1)
        even = 1 / len(initial)  # the mean of the other priors
        penalty = -prior * ((centre * on + (1 - centre) * off).sum() + even * (initial.sum() + transitions.sum()))
        self.log_initial.copy_(((first + prior * even) / (count + prior)).log())
        left = moves.sum(2, keepdim=True)  # [steps, S, 1], how often each state is left
        self.log_transitions.copy_(((moves + prior * even) / (left + prior)).log())
        self.logits.copy_(((ones + prior * centre) / (share[:, None] + prior)).logit())
        self.passes += 1
        return float((penalty - total) / count)

    @torch.no_grad()
    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log-probability, exact and in float64.

        Raises:
            DataError: images of another shape, or grey ones.
        """
        initial, transitions, on, off = self._log_probabilities()
        rows = self._rows(x)
        emitted = bernoulli_log_prob(rows, torch.ones_like(rows), on, off)
        return Score(-self._forward(emitted, initial, transitions)[1], "exact", "binary", "exact")

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n binary images [n, C, H, W]."""
        initial, transitions, _, _ = self._log_probabilities()
        path = [categorical(initial.expand(n, -1), rng)]
        for step in range(self.config.shape[1] - 1):
            path.append(categorical(self._step(transitions, step)[path[-1]], rng))
        return self._drawn(torch.stack(path, 1), rng)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Draw what is missing from its exact distribution given the rest: a path of states backwards, then pixels.

        Args:
            x: [N, C, H, W], binary where known; what stands elsewhere is not looked at.
            known: bool [N, 1, H, W], any mask.
            rng: of the path and the pixels.

        Raises:
            DataError: images of another shape, or grey ones.
        """
        initial, transitions, on, off = self._log_probabilities()
        seen = known.expand(x.shape)
        rows = self._rows(torch.where(seen, x, 0))
        emitted = bernoulli_log_prob(rows, seen.transpose(1, 2).flatten(2).to(rows), on, off)
        forward, _ = self._forward(emitted, initial, transitions)
        path = [categorical(forward[:, -1], rng)]
        for step in reversed(range(self.config.shape[1] - 1)):
            # p(state | next state, rows so far) is proportional to the forward variable times the transition.
            path.append(categorical(forward[:, step] + self._step(transitions, step).T[path[-1]], rng))
        return torch.where(seen, x, self._drawn(torch.stack(path[::-1], 1), rng).to(x))

    def _forward(self, emitted: Tensor, initial: Tensor, transitions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of states and all rows so far [N, H, S] (19, 20), and of the images [N] (21)."""
        forward = [initial + emitted[:, 0]]
        for row in range(1, emitted.shape[1]):
            forward.append(emitted[:, row] + _log_product(forward[-1], self._step(transitions, row - 1)))
        return torch.stack(forward, 1), forward[-1].logsumexp(1)

    def _backward(
        self, emitted: Tensor, forward: Tensor, evidence: Tensor, transitions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Posterior of the states [N, H, S] (27), and expected counts of the transitions [steps, S, S] (37)."""
        moved = torch.zeros_like(transitions)
        backward = torch.zeros_like(forward)
        for row in reversed(range(emitted.shape[1] - 1)):
            step = self._step(transitions, row)
            after = emitted[:, row + 1] + backward[:, row + 1]
            backward[:, row] = _log_product(after, step.T)
            # The products below stay within range: each side is at most 1 and the rest is put where it is small.
            top, low = forward[:, row].amax(1, keepdim=True), after.amax(1, keepdim=True)
            scale = (top + low - evidence[:, None]).exp()
            here, there = (forward[:, row] - top).exp() * scale, (after - low).exp()
            moved[row if len(transitions) > 1 else 0] += (here.T @ there) * step.exp()
        return (forward + backward - evidence[:, None, None]).exp(), moved

    def _step(self, transitions: Tensor, row: int) -> Tensor:
        """Transitions [S, S] from a row to the next."""
        return transitions[row if len(transitions) > 1 else 0]

    def _drawn(self, path: Tensor, rng: torch.Generator) -> Tensor:
        """Images of paths [n, H]."""
        channels, height, width = self.config.shape
        p = self.logits[path].sigmoid()  # [n, H, C·W]
        bits = (uniform(p.shape, rng, p) < p).to(p.dtype)
        return bits.view(-1, height, channels, width).transpose(1, 2)  # → [n, C, H, W]

    def _log_probabilities(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Initial and transition log-probabilities, and those of a one and of a zero [S, C·W], float64."""
        logits = self.logits.double()
        initial, transitions = self.log_initial.double(), self.log_transitions.double()
        return initial.log_softmax(0), transitions.log_softmax(2), F.logsigmoid(logits), F.logsigmoid(-logits)

    def _rows(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> float64 [N, H, C·W]."""
        check_shape(x, self.config.shape)
        check_levels(x, 2)
        return x.transpose(1, 2).flatten(2).to(self.logits.device, torch.float64).round()


def _log_product(log_vector: Tensor, log_matrix: Tensor) -> Tensor:
    """Log of (vectors times matrix), by their logs [N, S] and [S, S]: [N, S].

    Each vector is divided by its largest entry first, so that one matrix product serves for the sum. What underflows
    is below 1e-300 of the largest entry, and no transition is that improbable.
    """
    top = log_vector.amax(1, keepdim=True)
    return top + ((log_vector - top).exp() @ log_matrix.exp()).log()
