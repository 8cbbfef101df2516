"""The loop: what a step is, schedules, averages, early stopping; resumed, interrupted and shared trainings."""

import math
import platform
from dataclasses import replace

import pytest
import torch
from torch import nn

from imprior.data.batches import Batches, Images, binarize, dequantise
from imprior.data.corrupt import corrupt
from imprior.data.settings import Corruption, Data
from imprior.errors import DataError, RecipeError, RunError
from imprior.parts import Parts
from imprior.randomness import generator
from imprior.training import loop, state
from imprior.training.allocation import keep_freed_memory
from imprior.training.schedule import rate_factor
from imprior.training.settings import Gradient, Optimiser, Schedule


class Mean(nn.Module):
    """Learns the mean image: the least squares solution is known."""

    def __init__(self):
        super().__init__()
        self.image = nn.Parameter(torch.zeros(1, 2, 2))


class Squared:
    """Squared error, with noise of a stated strength on the target."""

    def __init__(self, noise=0.0):
        self.noise = noise

    def __call__(self, model, batch, *, rng, progress, player=None):
        noise = self.noise * torch.randn(batch.x.shape, generator=rng)
        loss = (model.image - batch.x - noise).square().sum((1, 2, 3)).mean()
        return Parts(loss, {"squared": loss.detach()})


def images(n=40):
    return Images((torch.rand(n, 1, 2, 2, generator=generator(0)) * 255).byte(), None, (), "test")


def settings(**changes):
    plain = Gradient(Squared(), Optimiser("adam", rate=0.05), Schedule("cosine"), images=2000, batch=10, check=100)
    return replace(plain, **changes)


def run(given, *, until=None, begun=None, hooks=(), data=None, seed=0):
    """Train, stopping after `until` steps."""
    begun = begun or state.begin(Mean(), given)
    batches = Batches(data or images(), Data(), batch=given.batch, seed=seed)
    held_out = Batches(data or images(), Data(), batch=1, seed=seed, train=False)
    validate = loop.objective_mean(begun.model, given, held_out, seed=seed)
    stop = (lambda: begun.counters.step >= until - 1) if until else (lambda: False)
    loop.train(begun, given, batches, seed=seed, validate=validate, hooks=hooks, stop=stop)
    return begun


def test_freed_memory_is_kept_where_the_library_knows_how_to():
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    resource = pytest.importorskip("resource")
    assert keep_freed_memory()
    faults = []
    for _ in range(5):  # after the first time all is there already, wherever other memory lies
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [torch.ones(24 << 20, dtype=torch.uint8) for _ in range(6)]
        del blocks
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert min(faults) < 3 * 6144  # pages, of six blocks of 6,144


def test_it_finds_the_least_squares_solution():
    data = images()
    found = run(settings(images=20_000), data=data).model.image
    assert torch.allclose(found, data.x(slice(None)).mean(0), atol=2e-3)


@pytest.mark.parametrize("name", ["adamw", "adam", "adagrad", "muon", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
@pytest.mark.parametrize("average", [None, 50.0])
def test_stopped_anywhere_and_restored_equals_uninterrupted(name, schedule, average):
    given = settings(
        objective=Squared(0.3), optimiser=Optimiser(name), schedule=Schedule(schedule, patience=1), average=average
    )
    whole = run(given, until=60)
    first = run(given, until=23)
    saved = {k: v.clone() for k, v in first.tensors().items()}, first.metadata()
    second = state.begin(Mean(), given)
    second.restore(*saved)
    run(given, until=60, begun=second)
    for key, tensor in whole.tensors().items():
        assert torch.equal(tensor, second.tensors()[key]), key
    assert whole.counters.step == second.counters.step == 60
    assert whole.counters.drops == second.counters.drops


def test_the_batch_of_a_step_does_not_depend_on_what_was_asked_before():
    data = Data(binarize=True, corruption=Corruption("gaussian", 0.1, 0.5))
    one, other = (Batches(images(), data, batch=10, seed=3) for _ in range(2))
    for step in (7, 0, 5):
        one.at(step)
    a, b = one.at(6), other.at(6)
    assert torch.equal(a.x, b.x) and torch.equal(a.corrupted, b.corrupted) and torch.equal(a.index, b.index)
    assert not torch.equal(Batches(images(), data, batch=10, seed=4).at(6).x, b.x)


def test_an_epoch_shows_every_image_once_and_processes_share_each_batch():
    batches = Batches(images(), Data(), batch=10, seed=0)
    seen = torch.cat([batches.at(step).index for step in range(4)])
    assert sorted(seen.tolist()) == list(range(40))
    shares = [Batches(images(), Data(), batch=10, seed=0, rank=rank, world=2).at(2).index for rank in range(2)]
    assert torch.equal(torch.cat(shares), batches.at(2).index)
    with pytest.raises(DataError, match="shared equally"):
        Batches(images(), Data(), batch=9, seed=0, world=2)


def test_noise_is_drawn_afresh_at_each_presentation():
    batches = Batches(images(10), Data(corruption=Corruption("gaussian", 0.5, 0.5)), batch=0, seed=0)
    first, second = ((b.corrupted - b.x)[b.index.argsort()] for b in (batches.at(0), batches.at(1)))
    assert (first - second).abs().min() > 0


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt-pepper", "poisson"])
def test_corruption_has_the_amount_that_it_states(kind):
    x = torch.full((4, 1, 100, 100), 0.6)
    y, amount = corrupt(x, Corruption(kind, 0.1, 0.3), generator(1))
    assert amount.min() >= 0.1 and amount.max() <= 0.3
    for clean, noisy, a in zip(x, y, amount.tolist(), strict=True):
        if kind == "gaussian":
            assert abs((noisy - clean).std().item() - a) < 0.01
        elif kind == "poisson":  # variance = mean · amount²
            assert abs(noisy.mean().item() - 0.6) < 0.01
            assert abs((noisy - clean).std().item() - a * math.sqrt(0.6)) < 0.01
        else:
            assert abs((noisy != clean).float().mean().item() - a) < 0.02


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_amounts_are_drawn_by_the_power_that_is_set(power):
    _, amount = corrupt(torch.zeros(4000, 1, 1, 1), Corruption("gaussian", 0.1, 0.3, power), generator(1))
    for share in (0.25, 0.5, 0.75):
        below = (amount < 0.1 + 0.2 * share**power).float().mean().item()
        assert abs(below - share) < 0.03
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(RecipeError, match="power"):
            Corruption("gaussian", 0.1, 0.3, wrong)


def test_dequantised_levels_fill_their_bins_and_stay_below_one():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(50, 1, 1, 1)
    batches = Batches(Images(levels, None, (), ""), Data(dequantise=True), batch=50, seed=0)
    first, second = batches.at(0).x, batches.at(1).x
    assert torch.equal((256 * first).floor(), levels.float()) and not torch.equal(first, second)
    assert abs((256 * first - levels).mean().item() - 0.5) < 0.01
    assert dequantise(torch.ones(1000, 1000), generator(0)).max() < 1
    with pytest.raises(DataError, match="8-bit levels"):
        Batches(Images(levels.float() / 255, None, (), ""), Data(dequantise=True), batch=50, seed=0)
    with pytest.raises(RecipeError, match="exclude"):
        Data(binarize=True, dequantise=True)


def test_binarization_has_the_grey_level_as_probability():
    assert abs(binarize(torch.full((200, 200), 0.3), generator(0)).mean().item() - 0.3) < 0.01


def test_an_8_bit_level_is_exactly_k_over_255():
    levels = Images(torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1), None, (), "")
    assert torch.equal(levels.x(slice(None)).flatten(), torch.tensor([k / 255 for k in range(256)]))


def test_early_stopping_takes_the_best_weights():
    # A rate that grows without end: the loss improves first and then explodes.
    given = settings(optimiser=Optimiser("sgd", rate=0.4, momentum=0.0), patience=3, images=10_000, clip=None)
    losses, weights = [], []

    def spoil(moment):
        if moment.validation is not None:
            losses.append(moment.validation)
            weights.append(moment.state.model.image.detach().clone())
            if len(losses) > 2:
                moment.state.model.image.data.add_(1.0)

    ended = run(given, hooks=[spoil])
    assert ended.counters.finished and ended.counters.images < 10_000
    best = min(range(len(losses)), key=losses.__getitem__)
    assert torch.equal(ended.result()["image"], weights[best])


def test_a_loss_that_is_not_a_number_keeps_the_last_good_state():
    class Breaks(Squared):
        def __call__(self, model, batch, *, rng, progress, player=None):
            parts = super().__call__(model, batch, rng=rng, progress=progress)
            return Parts(parts.loss * (float("nan") if progress > 0.5 else 1.0), {})

    begun = state.begin(Mean(), settings(objective=Breaks()))
    with pytest.raises(RunError, match="not a number at image 1010"):
        run(settings(objective=Breaks()), begun=begun)
    assert begun.counters.images == 1010 and begun.model.image.isfinite().all()


def test_players_are_stepped_in_turn():
    class Two(nn.Module):
        training_only = ("critic",)

        def __init__(self):
            super().__init__()
            self.generator, self.critic = nn.Linear(1, 1), nn.Linear(1, 1)

        def players(self):
            return {"critic": self.critic.parameters(), "generator": self.generator.parameters()}

    class Duel:
        def __call__(self, model, batch, *, rng, progress, player=None):
            part = getattr(model, player)
            return Parts((part.weight.sum() - 3) ** 2 + 0 * model.critic.weight.sum(), {"loss": torch.tensor(1.0)})

    told = []
    given = settings(objective=Duel(), images=4000)
    begun = state.begin(Two(), given)
    batches = Batches(images(), Data(), batch=10, seed=0)
    loop.train(begun, given, batches, seed=0, hooks=[lambda m: told.append(set(m.report))])
    assert told[0] == {"critic.loss", "generator.loss"}
    assert abs(begun.model.generator.weight.item() - 3) < 0.05 and abs(begun.model.critic.weight.item() - 3) < 0.05
    assert set(begun.result()) == {"generator.weight", "generator.bias"}  # what only training needs stays out


class Parted(nn.Module):
    """Two parts of which the loss depends on both, and one of which it does not."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.idle = nn.Linear(4, 3), nn.Linear(3, 4), nn.Linear(1, 1)
        self.seconds = nn.Parameter(torch.ones(()))  # begins with another's name, and is none of its parts


class Through:
    def __call__(self, model, batch, *, rng, progress, player=None):
        found = model.seconds * model.second(model.first(batch.x.flatten(2)))
        return Parts((found - 1).square().mean(), {})


@pytest.mark.parametrize("name", ["adamw", "muon", "sgd"])
def test_only_the_part_that_is_named_is_trained(name):
    given = settings(objective=Through(), optimiser=Optimiser(name), images=200, average=50.0, only="second")
    begun = state.begin(Parted(), given)
    before = {key: tensor.clone() for key, tensor in begun.model.state_dict().items()}
    loop.train(begun, given, Batches(images(), Data(), batch=10, seed=0), seed=0)
    for result in (begun.model.state_dict(), begun.result()):
        changed = {key for key, tensor in result.items() if not torch.equal(tensor, before[key])}
        assert changed == {"second.weight", "second.bias"}


def test_a_part_that_cannot_be_trained_alone_is_said():
    with pytest.raises(RecipeError, match=r"only=third.*first, second, idle"):
        state.begin(Parted(), settings(only="third"))
    duel = nn.Linear(1, 1)
    duel.players = dict
    with pytest.raises(RecipeError, match="one player"):
        state.begin(duel, settings(only="weight"))
    given = settings(objective=Through(), only="idle")
    begun = state.begin(Parted(), given)
    with pytest.raises(RunError, match="does not depend"):
        loop.train(begun, given, Batches(images(), Data(), batch=10, seed=0), seed=0)
    assert begun.counters.images == 0


def test_the_average_has_the_half_life_that_it_states():
    begun = state.begin(Mean(), settings(average=500.0, optimiser=Optimiser("sgd", rate=1e-12)))
    begun.counters.step = 10_000  # past the warm-up of the average
    begun.model.image.data.fill_(1.0)
    given = settings(average=500.0, optimiser=Optimiser("sgd", rate=1e-12), images=500)
    loop.train(begun, given, Batches(images(), Data(), batch=10, seed=0), seed=0)
    assert torch.allclose(begun.average["image"], torch.tensor(0.5), atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "at", "factor"),
    [
        (Schedule("constant", warmup=0.0), 0.7, 1.0),
        (Schedule("cosine", warmup=0.0, floor=0.1), 1.0, 0.1),
        (Schedule("exponential", warmup=0.0, floor=0.01), 0.5, 0.1),
        (Schedule("step", warmup=0.0, factor=0.5, every=0.25), 0.6, 0.25),
        (Schedule("plateau", warmup=0.0, factor=0.5), 0.6, 0.125),
        (Schedule("cosine", warmup=0.2), 0.1, 0.5),
    ],
)
def test_schedules_are_what_their_names_say(schedule, at, factor):
    assert math.isclose(rate_factor(schedule, at, drops=3), factor)


def test_large_gradients_are_scaled_to_the_clip():
    given = settings(clip=0.1, optimiser=Optimiser("sgd", rate=1.0, momentum=0.0), schedule=Schedule("constant"))
    begun = run(replace(given, schedule=Schedule("constant", warmup=0.0)), until=1)
    assert math.isclose(begun.model.image.detach().norm().item(), 0.1, rel_tol=1e-4)
