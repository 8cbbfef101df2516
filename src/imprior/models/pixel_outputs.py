"""What an autoregressive model predicts at a position: the distribution of a patch of pixels given features.

| class         | the pixels of a patch                            | levels            |
|---------------|--------------------------------------------------|-------------------|
| `Joint`       | all at once: one softmax over their joint states | 2                 |
| `Categorical` | in turn, each black or not, then by a softmax    | `levels` [256]    |
| `Logistics`   | in turn, each by a mixture over the levels       | `levels` [256]    |

"In turn" is row by row within the patch, and the channels of a pixel one after another:

    features, values before ──► hidden ──► hidden ──► parameters       [M,width], [M,i] → [M,hidden] → p(value i | …)

A patch is [M, values] in [0, 1]; M counts the positions of all images. Networks may run in bfloat16 (autocast); the
last layer and everything after it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.distributions.draws import uniform
from imprior.distributions.likelihoods import DiscretisedLogisticMixture
from imprior.errors import RecipeError
from imprior.nn.dense import GAINS, linear

# Values whose parameters are computed at a time. Those of a batch are tens of megabytes, which would be had from the
# system anew at each step; parts that stay in the cache take less than half the time.
AT_ONCE = 4096
MOST_STATES = 4096  # of a joint softmax: twelve binary values


class PatchOutput(Protocol):
    """What the model needs of its output."""

    told: int  # numbers that `tell` makes of a value

    def tell(self, patches: Tensor) -> Tensor:
        """Values [..., V] in [0, 1] as networks are shown them: [..., V · told], those of a value side by side."""
        ...

    def log_prob(self, features: Tensor, patches: Tensor) -> Tensor:
        """[M, width], [M, values] -> [M] nats, differentiable."""
        ...

    def sample(
        self,
        features: Tensor,
        rng: torch.Generator,
        *,
        temperature: float = 1.0,
        known: Tensor | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """Draw patches, [M, values], given those of `values` [M, values] that are `known` (bool [M, values]).

        `Joint` draws from the conditional distribution given all of them, the others given those that come before.
        """
        ...


@dataclass(frozen=True)
class Joint:
    """One softmax over the joint states of a patch of binary pixels: 16 of 2x2.

    Attributes:
        hidden: units of the hidden layer between features and logits.
    """

    hidden: int = 64
    levels: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _at_least_one("hidden", self.hidden)

    def build(self, width: int, values: int) -> PatchOutput:
        """The output for patches of so many values.

        Raises:
            RecipeError: they have too many states.
        """
        if 2**values > MOST_STATES:
            raise RecipeError(
                f"a patch of {values} binary values has 2^{values} states, too many for a joint softmax: "
                "use a smaller patch, or output=categorical with output.levels=2"
            )
        return JointOutput(self, width, values)


@dataclass(frozen=True)
class Categorical:
    """For each value in turn, whether it is black, and a softmax over the other levels.

    As general as one softmax over all levels. But most pixels of digits and clothes are black, and for those the other
    levels need not be computed, which would be most of a training step.

    Attributes:
        levels: of the images.
        hidden: units of the head's hidden layers.
        ends: whether networks are told, beside a value, whether it is exactly black and exactly white.
    """

    levels: int = 256
    hidden: int = 64
    ends: bool = True

    def __post_init__(self) -> None:
        _at_least_one("hidden", self.hidden)
        _levels(self.levels)

    def build(self, width: int, values: int) -> PatchOutput:
        """The output for patches of so many values."""
        return CategoricalOutput(self, width, values)


@dataclass(frozen=True)
class Logistics:
    """For each value in turn, a mixture of logistic densities over the levels' bins, and of black and white exactly.

    Four fifths of the pixels of a digit are exactly black: a level of its own gives them their probability without a
    density that must become a spike.

    Attributes:
        components: logistic densities in the mixture.
        levels: of the images.
        hidden: units of the head's hidden layers.
        ends: whether networks are told, beside a value, whether it is exactly black and exactly white.
    """

    components: int = 5
    levels: int = 256
    hidden: int = 64
    ends: bool = True

    def __post_init__(self) -> None:
        _at_least_one("components", self.components)
        _at_least_one("hidden", self.hidden)
        _levels(self.levels)

    def build(self, width: int, values: int) -> PatchOutput:
        """The output for patches of so many values."""
        return LogisticsOutput(self, width, values)


class JointOutput(nn.Module):
    """features ──► silu ──► hidden ──► silu ──► logits of the states          [M,width] → [M,hidden] → [M,2^values]."""

    told = 1
    states: Tensor
    places: Tensor

    def __init__(self, settings: Joint, width: int, values: int) -> None:
        super().__init__()
        self.hidden = linear(width, settings.hidden, GAINS["silu"])
        self.last = linear(settings.hidden, 2**values, 0.1)
        places = torch.arange(values - 1, -1, -1)
        self.register_buffer("places", 2**places, persistent=False)
        states = (torch.arange(2**values)[:, None] >> places) & 1
        self.register_buffer("states", states.to(self.last.weight.dtype), persistent=False)  # [2^values, values]

    def tell(self, patches: Tensor) -> Tensor:
        """Black is -1, white 1: [..., values] -> the same."""
        return 2 * patches - 1

    def logits(self, features: Tensor) -> Tensor:
        """[M, width] -> [M, 2^values]."""
        return _exactly(self.last, F.silu(self.hidden(F.silu(features))))

    def log_prob(self, features: Tensor, patches: Tensor) -> Tensor:
        """[M, width], [M, values] of zeros and ones -> [M] nats."""
        state = (patches.round().long() * self.places).sum(1)
        return -F.cross_entropy(self.logits(features), state, reduction="none")

    def sample(
        self,
        features: Tensor,
        rng: torch.Generator,
        *,
        temperature: float = 1.0,
        known: Tensor | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """Draw patches; those that contradict what is known have no probability."""
        logits = self.logits(features) / temperature
        if known is not None and values is not None:
            contradicts = (known[:, None] & (self.states != values[:, None])).any(2)  # [M, 2^values]
            logits = logits.masked_fill(contradicts, -math.inf)
        return self.states[categorical(logits, rng)]


class InTurn(nn.Module):
    """Predicts the values of a patch one after another; what a value's parameters mean is a subclass's.

    All values share the layers after the first, which sees the features and the values before.

    Args:
        width: features of a patch.
        values: of a patch.
        hidden: units of the hidden layers.
        parameters: of the distribution of a value.
        ends: whether it matters if a value is exactly black or white. A network smooth in a value learns but slowly
            that an untouched pixel means something else than a dark one: in short trainings on digits this gained more
            than wider networks did.
    """

    before: Tensor

    def __init__(self, width: int, values: int, hidden: int, parameters: int, ends: bool) -> None:
        super().__init__()
        self.values = values
        self.told = 3 if ends else 1
        self.features = linear(width, values * hidden, GAINS["silu"])
        # [value, hidden, what is told of the values before]
        self.among = nn.Parameter(torch.zeros(values, hidden, values * self.told))
        self.second = linear(hidden, hidden, GAINS["silu"])
        self.last = linear(hidden, parameters, 0.1)
        before = torch.ones(values, values).tril(-1)[:, None].repeat_interleave(self.told, 2)
        self.register_buffer("before", before, persistent=False)

    def tell(self, patches: Tensor) -> Tensor:
        """2v - 1 of a value v, and perhaps whether v > 0 and whether v = 1, as 1 or -1: [..., V] -> [..., V · told]."""
        told = [patches] if self.told == 1 else [patches, (patches > 0).to(patches), (patches == 1).to(patches)]
        return 2 * torch.stack(told, -1).flatten(-2) - 1

    def log_prob(self, features: Tensor, patches: Tensor) -> Tensor:
        """[M, width], [M, values] -> [M] nats."""
        among = (self.among * self.before).flatten(0, 1)
        u = self.features(F.silu(features)) + F.linear(self.tell(patches), among)
        h = self._hidden(u.view(len(features) * self.values, -1))
        return self.values_log_prob(h, patches.flatten()).view(patches.shape).sum(1)

    def values_log_prob(self, h: Tensor, value: Tensor) -> Tensor:
        """Of values [B] in [0, 1] given the last hidden layer [B, hidden]: [B] nats."""
        raise NotImplementedError

    def sample(
        self,
        features: Tensor,
        rng: torch.Generator,
        *,
        temperature: float = 1.0,
        known: Tensor | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """Draw the values in turn, [M, values]; what is known is put in its place when its turn comes."""
        patch = features.new_zeros(len(features), self.values)
        first = self.features(F.silu(features)).view(len(features), self.values, -1)  # [M, values, hidden]
        for i in range(self.values):
            u = first[:, i] + F.linear(self.tell(patch[:, :i]), self.among[i, :, : i * self.told])
            parameters = _exactly(self.last, self._hidden(u))
            patch[:, i] = self.value_sample(parameters, rng, temperature).to(patch.dtype)
            if known is not None and values is not None:
                patch[:, i] = torch.where(known[:, i], values[:, i], patch[:, i])
        return patch

    def value_sample(self, parameters: Tensor, rng: torch.Generator, temperature: float) -> Tensor:
        """[B, parameters] -> [B] in [0, 1]."""
        raise NotImplementedError

    def _hidden(self, u: Tensor) -> Tensor:
        return F.silu(self.second(F.silu(u)))


class CategoricalOutput(InTurn):
    """The parameters are the logit of black (level 0), and the logits of the other levels, given that it is not."""

    def __init__(self, settings: Categorical, width: int, values: int) -> None:
        super().__init__(width, values, settings.hidden, settings.levels, settings.ends)
        self.levels = settings.levels

    def values_log_prob(self, h: Tensor, value: Tensor) -> Tensor:
        """[B, hidden], [B] -> [B] nats; the softmax is computed of values that are not black, and of no others."""
        level = (value * (self.levels - 1)).round().long()
        weight, bias = self.last.weight, self.last.bias
        black = (h * weight[0]).sum(1) + bias[0]  # in its own precision; a product of one column takes longer
        log_prob = F.logsigmoid(torch.where(level == 0, black, -black))
        other = (level != 0).nonzero().flatten()
        if not len(other):
            return log_prob
        there, target = h[other], level[other] - 1

        def of_level(part: slice) -> Tensor:
            logits = _exactly_linear(there[part], weight[1:], bias[1:])
            return -F.cross_entropy(logits, target[part], reduction="none")

        return log_prob.index_add(0, other, _in_parts(of_level, len(other)))

    def value_sample(self, parameters: Tensor, rng: torch.Generator, temperature: float) -> Tensor:
        """[B, levels] -> [B] in [0, 1]."""
        black, others = parameters[:, :1], parameters[:, 1:]
        log_prob = torch.cat((F.logsigmoid(black), F.logsigmoid(-black) + others.log_softmax(1)), 1)
        return categorical(log_prob / temperature, rng).to(parameters.dtype) / (self.levels - 1)


class LogisticsOutput(InTurn):
    """The parameters are three logits (black, white, mixture), then those of the mixture: logits, places, log-scales.

    At another temperature than 1 the logits are divided by it and the scales multiplied by it.
    """

    def __init__(self, settings: Logistics, width: int, values: int) -> None:
        super().__init__(width, values, settings.hidden, 3 + 3 * settings.components, settings.ends)
        self.levels, self.components = settings.levels, settings.components
        with torch.no_grad():
            # Components spread over the levels, each a fifth of their range wide: from one place they'd hardly part.
            places, log_scales = self.last.bias[3 + settings.components :].chunk(2)
            places.copy_(torch.linspace(-0.9, 0.9, settings.components) if settings.components > 1 else places)
            log_scales.fill_(-2.0)

    def values_log_prob(self, h: Tensor, value: Tensor) -> Tensor:
        """[B, hidden], [B] -> [B] nats."""
        return _in_parts(lambda part: self.value_log_prob(_exactly(self.last, h[part]), value[part]), len(value))

    def value_log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """[B, parameters], [B] -> [B] nats."""
        black, white, mixed = parameters[:, :3].log_softmax(1).unbind(1)
        level = (value * (self.levels - 1)).round()
        spread = mixed + self._mixture(parameters).log_prob(level.view(-1, 1, 1, 1) / (self.levels - 1))
        exact = torch.where(level == 0, black, torch.where(level == self.levels - 1, white, -math.inf))
        return torch.logaddexp(spread, exact)

    def value_sample(self, parameters: Tensor, rng: torch.Generator, temperature: float) -> Tensor:
        """[B, parameters] -> [B] in [0, 1]."""
        kind = categorical(parameters[:, :3] / temperature, rng)
        spread = self._mixture(parameters, temperature).sample(1, rng).flatten()
        level = (spread * (self.levels - 1)).round()
        level = torch.where(kind == 2, level, (self.levels - 1) * (kind == 1))
        return level / (self.levels - 1)

    def _mixture(self, parameters: Tensor, temperature: float = 1.0) -> DiscretisedLogisticMixture:
        mixture = parameters[:, 3:]
        if temperature != 1:
            logits, places, log_scales = mixture.chunk(3, 1)
            mixture = torch.cat((logits / temperature, places, log_scales + math.log(temperature)), 1)
        return DiscretisedLogisticMixture(mixture[:, :, None, None], 1, self.levels)


def categorical(logits: Tensor, rng: torch.Generator) -> Tensor:
    """An index for each row of logits [B, K], with probability softmax: [B], by the inverse of its distribution.

    An index whose logit is -inf is never drawn.
    """
    cumulative = logits.double().softmax(1).cumsum(1)
    u = uniform((len(logits), 1), rng, cumulative) * cumulative[:, -1:]
    return (cumulative <= u).sum(1).clamp_max(logits.shape[1] - 1)


def _exactly(layer: nn.Linear, h: Tensor) -> Tensor:
    """The layer in its own precision, also where the rest runs in bfloat16: logits feed exponentials."""
    return _exactly_linear(h, layer.weight, layer.bias)


def _exactly_linear(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    with torch.autocast(h.device.type, enabled=False):
        return F.linear(h.to(weight.dtype), weight, bias)


def _in_parts(of: Callable[[slice], Tensor], n: int) -> Tensor:
    """Results of `of` over n values, so many `AT_ONCE`."""
    return torch.cat([of(slice(start, start + AT_ONCE)) for start in range(0, n, AT_ONCE)])


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise RecipeError(f"{name} must be at least 1, not {value}")


def _levels(levels: int) -> None:
    if levels not in (2, 256):
        raise RecipeError(f"levels must be 2 or 256, not {levels}")
