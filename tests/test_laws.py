"""Laws that every kind of model keeps, over the zoo: what its promises mean, whatever the family."""

from __future__ import annotations

import math

import pytest
import torch

from imprior.errors import DataError
from imprior.objectives.likelihood import LogProb
from imprior.parts import Batch
from imprior.promises import Completes, Decodes, Denoises, Encodes, LatentVariable, Samples, Scores, kept, space_of
from imprior.runs import read_tensors, write_tensors
from imprior.settings import from_json, to_json
from imprior.training.state import players_of
from toys import every_image
from zoo import EXAMPLES, build, images, labels

DOUBLE = torch.float64


def where(wanted):
    """The examples that keep a promise, as a parametrisation."""
    return pytest.mark.parametrize("name", [name for name, e in EXAMPLES.items() if wanted(e)])


def keeps(promise):
    return where(lambda e: promise.__name__ in e.promises)


def binary(example):
    """Whether all images can be enumerated."""
    shape = getattr(example.config, "shape", (0,))
    return 0 < math.prod(shape) <= 12 and "Scores" in example.promises


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(model, n):
    """Images on their way to an objective, noisy as well where the model denoises."""
    x = images(model, n)
    noisy = x + 0.1 * torch.randn(x.shape, generator=rng(9)) if isinstance(model, Denoises) else None
    return Batch(x, labels(model, n), noisy, None if noisy is None else torch.full((n,), 0.1), torch.arange(n))


each = where(lambda e: True)
trained = where(lambda e: e.objectives)
enumerable = where(lambda e: binary(e) and build(e).levels == 2)


@each
def test_promises(name):
    model = build(EXAMPLES[name])
    assert tuple(kept(model)) == EXAMPLES[name].promises
    assert len(model.shape) == 3 and model.levels in (None, 2, 256)
    assert model.classes is None or model.classes >= 2


@each
def test_saved_and_loaded_is_the_same(name, tmp_path):
    example = EXAMPLES[name]
    model = build(example)
    assert from_json(to_json(example.config)) == example.config
    left_out = tuple(getattr(model, "training_only", ()))
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(left_out or ("\0",))}
    write_tensors(tmp_path / "weights.safetensors", state)
    torch.manual_seed(5)
    other = from_json(to_json(example.config)).build()
    missing, unexpected = other.load_state_dict(read_tensors(tmp_path / "weights.safetensors")[0], strict=False)
    assert not unexpected and all(key.startswith(left_out or ("\0",)) for key in missing)
    other.eval()
    x, given = images(model, 3), labels(model, 3)
    with torch.no_grad():
        if isinstance(model, Samples):
            assert torch.equal(model.sample(3, rng(), given), other.sample(3, rng(), given))
        if isinstance(model, Scores):
            assert torch.equal(model.score(x, given).nats, other.score(x, given).nats)
        if isinstance(model, Encodes):
            assert torch.equal(model.encode(x), other.encode(x))
        if isinstance(model, Denoises):
            assert torch.equal(model.denoise(x, 0.1), other.denoise(x, 0.1))


@each
def test_batch_is_a_loop_of_singles(name):
    model = build(EXAMPLES[name], dtype=DOUBLE)
    x, given = images(model, 3, dtype=DOUBLE), labels(model, 3)

    def alike(call):
        """Float64 sums in another order are all that may differ."""
        singles = [call(x[i : i + 1], None if given is None else given[i : i + 1]) for i in range(3)]
        torch.testing.assert_close(call(x, given), torch.cat(singles), atol=1e-9, rtol=1e-9)

    with torch.no_grad():
        if isinstance(model, Scores):
            alike(lambda x, given: model.score(x, given).nats)
        if isinstance(model, Encodes):
            alike(lambda x, given: model.encode(x))
            alike(lambda x, given: model.decode(model.encode(x), given))
        if isinstance(model, Denoises):
            alike(lambda x, given: model.denoise(x, 0.1))


@trained
def test_every_parameter_gets_a_gradient(name):
    example = EXAMPLES[name]
    for objective in example.objectives:
        model = build(example).train()
        batch = batch_of(model, 16)
        players = players_of(model)
        reached = set()
        for player, parameters in players.items():
            model.zero_grad()
            turn = None if len(players) == 1 else player
            objective(model, batch, rng=rng(), progress=0.95, player=turn).loss.backward()
            for p in parameters:
                assert p.grad is None or p.grad.isfinite().all(), (objective, player)
                if p.grad is not None and p.grad.abs().max() > 0:
                    reached.add(p)
        missed = [key for key, p in model.named_parameters() if p.requires_grad and p not in reached]
        assert not missed, (objective, missed)


@trained
def test_the_loss_is_a_function_of_its_generator(name):
    example = EXAMPLES[name]
    model = build(example).train()
    for objective in example.objectives:
        for player in players_of(model):
            turn = None if len(players_of(model)) == 1 else player
            losses = []
            for seed, mode in ((1, True), (2, False)):
                model.train(mode)
                torch.manual_seed(seed)
                losses.append(objective(model, batch_of(model, 4), rng=rng(), progress=0.95, player=turn).loss.detach())
            assert torch.equal(*losses)


@keeps(Samples)
def test_samples_are_images_and_follow_their_generator(name):
    model = build(EXAMPLES[name])
    given = labels(model, 5)
    with torch.no_grad():
        torch.manual_seed(1)
        x = model.sample(5, rng(3), given)
        torch.manual_seed(2)
        assert torch.equal(x, model.sample(5, rng(3), given))
        assert not torch.equal(x, model.sample(5, rng(4), given))
    assert x.dtype == torch.float32 and x.isfinite().all() and len(x) == 5
    assert all(want is None or want == have for want, have in zip(model.shape, x.shape[1:], strict=True))
    if model.levels is not None and "Decodes" not in EXAMPLES[name].promises:
        assert ((x * (model.levels - 1)).round() / (model.levels - 1) == x).all() and x.min() >= 0 and x.max() <= 1


@keeps(Decodes)
def test_latents_decode_to_images(name):
    model = build(EXAMPLES[name])
    given = labels(model, 4)
    with torch.no_grad():
        z = model.latent(4, rng())
        x = model.decode(z, given)
        assert len(z) == len(x) == 4 and x.ndim == 4 and x.isfinite().all()
        if isinstance(model, Encodes):
            assert model.encode(images(model, 4)).shape == z.shape


@keeps(Scores)
def test_scores_are_per_image_in_float64_over_the_stated_space(name):
    example = EXAMPLES[name]
    model = build(example)
    x, given = images(model, 5), labels(model, 5)
    for samples in (1, 20):
        score = model.score(x, given, samples=samples, rng=rng())
        assert score.nats.shape == (5,) and score.nats.dtype == DOUBLE and not score.nats.requires_grad
        assert score.nats.isfinite().all() and score.space == space_of(model)
        assert (score.kind == "exact") == example.exact
    assert torch.equal(model.score(x, given, samples=20).nats, model.score(x, given, samples=20).nats)


@where(lambda e: "Scores" in e.promises and e.exact)
def test_an_exact_score_is_the_log_probability_that_is_trained(name):
    model = build(EXAMPLES[name])
    if not isinstance(model, LogProb):
        pytest.skip("fitted by passes")
    x, given = images(model, 4), labels(model, 4)
    with torch.no_grad():
        log_prob = model.log_prob(x, given, rng=rng())
    torch.testing.assert_close(-log_prob.double(), model.score(x, given).nats, atol=1e-3, rtol=1e-4)  # float32


@keeps(Scores)
def test_the_score_without_a_label_is_that_of_the_mixture_over_labels(name):
    model = build(EXAMPLES[name], dtype=DOUBLE)
    if model.classes is None or not EXAMPLES[name].exact:
        pytest.skip("not conditional, or a bound")
    x = images(model, 3, dtype=DOUBLE)
    each_label = [model.score(x, torch.full((3,), label)).nats for label in range(model.classes)]
    mixture = math.log(model.classes) - (-torch.stack(each_label)).logsumexp(0)
    torch.testing.assert_close(model.score(x).nats, mixture)


@where(lambda e: {"Samples", "Scores"} & {*e.promises})
def test_labels_that_the_model_does_not_know_are_refused(name):
    model = build(EXAMPLES[name])
    if model.classes is None:
        pytest.skip("not conditional")
    unknown, few = torch.full((3,), model.classes), torch.zeros(2, dtype=torch.int64)
    for wrong in (unknown, few, -unknown):
        with pytest.raises(DataError, match="label"):
            if isinstance(model, Samples):
                model.sample(3, rng(), wrong)
        if isinstance(model, Scores):
            with pytest.raises(DataError, match="label"):
                model.score(images(model, 3), wrong)


@each
def test_images_of_another_shape_are_refused(name):
    model = build(EXAMPLES[name])
    channels = model.shape[0] or 1
    wrong = torch.zeros(2, channels, 13, 7) if model.shape[1] is not None else torch.zeros(2, channels + 1, 13, 7)
    known = torch.zeros(2, 1, 13, 7, dtype=torch.bool)
    calls = {
        "Encodes": lambda: model.encode(wrong),
        "Scores": lambda: model.score(wrong, labels(model, 2)),
        "Completes": lambda: model.complete(wrong, known, rng()),
    }
    for promise, call in calls.items():
        if promise in EXAMPLES[name].promises:
            with pytest.raises(DataError, match="this model is for"):
                call()


@where(lambda e: "Scores" in e.promises)
def test_values_between_the_levels_have_no_score(name):
    model = build(EXAMPLES[name])
    if model.levels is None:
        pytest.skip("continuous")
    with pytest.raises(DataError):
        model.score(torch.full_like(images(model, 2), 0.3001), labels(model, 2))


@enumerable
def test_all_binary_images_together_have_probability_one_or_less(name):
    example = EXAMPLES[name]
    model = build(example, dtype=DOUBLE)
    channels, height, width = model.shape
    assert channels == 1
    x = every_image(height, width)
    for given in [None] if model.classes is None else [None, 0, model.classes - 1]:
        label = None if given is None else torch.full((len(x),), given)
        if example.exact:
            mass = (-model.score(x, label).nats).exp().sum().item()
            assert mass == pytest.approx(1, abs=1e-9)
        else:
            bounded = (-model.score(x, label, samples=100, rng=rng()).nats).exp().sum().item()
            # E of the estimate of p(x) is p(x), so of their sum 1; the draws' noise at 100 samples an image.
            assert bounded == pytest.approx(1, abs=0.1)


@enumerable
def test_drawn_binary_images_come_as_often_as_their_probability_says(name):
    model = build(EXAMPLES[name])
    if not isinstance(model, Samples):
        pytest.skip("draws nothing")
    _, height, width = model.shape
    x, n = every_image(height, width, dtype=torch.float32), 20_000
    given = None if model.classes is None else torch.full((n,), model.classes - 1)
    with torch.no_grad():
        drawn = model.sample(n, rng(), given)
    place = (2 ** torch.arange(height * width - 1, -1, -1)).double()
    counts = (drawn.flatten(1).double() @ place).long().bincount(minlength=len(x)).double()
    p = probabilities(model, x, None if given is None else given[: len(x)])
    # Deviations in standard errors. Over some hundred cells the largest is near 3.5; 6 is one test in a million. An
    # average over draws has an error of its own, a few per cent of p.
    error = (n * p).clamp_min(1).sqrt() + (0 if EXAMPLES[name].exact else 0.05 * n * p)
    assert ((counts - n * p).abs() / error).max() < 6


def probabilities(model, x, given):
    """p(x), [n]: by the score, or of latent-variable models as the likelihood's mean over the prior.

    An importance-weighted bound will not do: the posterior of a random model is so far from the exact one that even
    a thousand draws from it miss most of p.
    """
    if not isinstance(model, LatentVariable):
        return (-model.score(x, given, samples=1000, rng=rng()).nats).exp()
    with torch.no_grad():
        likelihood = model.likelihood(model.prior().sample(4000, rng(1)))
        each = [likelihood.log_prob(image.expand(4000, *image.shape)).double() for image in x]
    return (torch.stack(each).logsumexp(1) - math.log(4000)).exp()


@keeps(Completes)
def test_completing_keeps_what_is_known_bit_for_bit(name):
    model = build(EXAMPLES[name])
    x = images(model, 4)
    _, height, width = x.shape[1:]
    prefix = (torch.arange(height * width) < height * width // 2).view(1, 1, height, width).expand(4, -1, -1, -1)
    with torch.no_grad():
        filled = model.complete(x, prefix, rng())
        again = model.complete(x, prefix, rng())
    assert filled.shape == x.shape and torch.equal(filled, again)
    assert torch.equal(torch.where(prefix, filled, 0), torch.where(prefix, x, 0))


@keeps(Denoises)
def test_denoising_keeps_the_shape(name):
    model = build(EXAMPLES[name])
    y = images(model, 2) + 0.1
    with torch.no_grad():
        assert model.denoise(y, 0.1).shape == y.shape
