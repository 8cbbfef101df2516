"""The two players: losses and penalties against closed forms, who moves when, what stands in the saved weights."""

import math

import pytest
import torch
from torch import nn

from imprior.errors import DataError, RecipeError
from imprior.models import gan
from imprior.nn.generator import Residual, SelfAttention
from imprior.objectives.adversarial import Adversarial
from imprior.parts import Batch
from imprior.training import state
from imprior.training.loop import train
from imprior.training.settings import Gradient, Optimiser, Schedule

DOUBLE = torch.float64
LOSSES = ("relativistic", "non-saturating", "minimax", "hinge", "wgan-gp")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(x, labels=None):
    return Batch(x, labels, None, None, torch.arange(len(x)))


class Linear(nn.Module):
    """Critic a·x + b·x² (of pixels summed) and a generator that always draws c."""

    def __init__(self, a=0.7, b=-0.3, c=0.2):
        super().__init__()
        self.critic = nn.ParameterDict({"a": nn.Parameter(torch.tensor(a)), "b": nn.Parameter(torch.tensor(b))})
        self.c = nn.Parameter(torch.tensor(c))
        self.double()

    def generate(self, n, rng, labels):
        return self.c.expand(n, 1, 2, 1)

    def judge(self, x, labels):
        return (self.critic["a"] * x + self.critic["b"] * x**2).sum((1, 2, 3))


X = torch.tensor([[[[0.1], [0.9]]], [[[0.6], [0.3]]]], dtype=DOUBLE)


def outputs(model):
    return model.judge(X, None).detach().float().tolist(), model.judge(model.generate(2, rng(), None), None).tolist()


def softplus(t):
    return math.log1p(math.exp(t))


CRITIC = {
    "relativistic": lambda r, f: softplus(f - r),
    "non-saturating": lambda r, f: softplus(-r) + softplus(f),
    "minimax": lambda r, f: softplus(-r) + softplus(f),
    "hinge": lambda r, f: max(0, 1 - r) + max(0, 1 + f),
    "wgan-gp": lambda r, f: f - r,
}
GENERATOR = {
    "relativistic": lambda r, f: softplus(r - f),
    "non-saturating": lambda r, f: softplus(-f),
    "minimax": lambda r, f: -softplus(f),
    "hinge": lambda r, f: -f,
    "wgan-gp": lambda r, f: -f,
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_textbook_ones(name):
    model, objective = Linear(), Adversarial(name, penalty="none")
    real, fake = outputs(model)
    for player, formulas in (("critic", CRITIC), ("generator", GENERATOR), (None, CRITIC)):
        loss = objective(model, batch(X), rng=rng(), progress=0.0, player=player).loss.item()
        expected = sum(formulas[name](r, f) for r, f in zip(real, fake, strict=True)) / 2
        assert loss == pytest.approx(expected, abs=1e-6)  # losses are in float32


def test_minimax_gives_the_generator_what_it_takes_from_the_critic():
    real, fake = torch.randn(5, generator=rng()), torch.randn(5, generator=rng(1))
    objective = Adversarial("minimax")
    total = objective.critic_loss(real, fake) + objective.generator_loss(real, fake)
    torch.testing.assert_close(total, torch.nn.functional.softplus(-real).mean())  # what the generator can't change


def slope_squared(model, x):
    return ((model.critic["a"] + 2 * model.critic["b"] * x) ** 2).sum((1, 2, 3))


def test_penalties_are_the_squared_slopes_and_their_gradients_are_exact():
    model = Linear()
    drawn = model.generate(2, rng(), None).detach()
    objective, bare = Adversarial(weight=3.0, share=1.0), Adversarial(penalty="none")
    expected = bare(model, batch(X), rng=rng(), progress=0.0, player="critic").loss
    expected = expected + 1.5 * (slope_squared(model, X).mean() + slope_squared(model, drawn).mean())
    parts = objective(model, batch(X), rng=rng(), progress=0.0, player="critic")
    assert parts.report["r1"].item() == pytest.approx(0.5 * slope_squared(model, X).mean().item())
    assert parts.report["r2"].item() == pytest.approx(0.5 * slope_squared(model, drawn).mean().item())
    theirs = torch.autograd.grad(expected, list(model.critic.values()))
    ours = torch.autograd.grad(parts.loss, list(model.critic.values()))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    only = Adversarial(penalty="r1", share=1.0)(model, batch(X), rng=rng(), progress=0.0, player="critic").report
    assert only["r1"] == parts.report["r1"] and "r2" not in only


def test_slope_penalty_is_between_images_and_drawn_ones():
    model = Linear(b=0.0)  # the slope is a in each of two pixels, wherever it is taken
    parts = Adversarial("wgan-gp", weight=10.0)(model, batch(X), rng=rng(), progress=0.0, player="critic")
    assert parts.report["slope"].item() == pytest.approx(
        (0.7 * math.sqrt(2) - 1) ** 2, abs=1e-6
    )  # weights began in float32
    curved = Linear(a=0.0, b=0.5)  # the slope is the place
    values = [
        Adversarial("wgan-gp")(curved, batch(X[:1]), rng=rng(s), progress=0.0, player="critic").report["slope"].item()
        for s in range(30)
    ]
    places = [curved.generate(1, rng(), None).detach() * (1 - t) + t * X[:1] for t in torch.linspace(0, 1, 200)]
    possible = [(p.norm().item() - 1) ** 2 for p in places]
    assert min(possible) - 1e-9 <= min(values) and max(values) <= max(possible) + 1e-9 and len(set(values)) == 30


def test_a_share_of_the_batch_is_penalised():
    x = torch.rand(8, 1, 2, 1, generator=rng(), dtype=DOUBLE)
    model = Linear()
    parts = Adversarial(share=0.25)(model, batch(x), rng=rng(), progress=0.0, player="critic")
    assert parts.report["r1"].item() == pytest.approx(0.5 * slope_squared(model, x[:2]).mean().item())


def small(**changes):
    torch.manual_seed(0)
    settings = {"network": Residual((4, 6), features=5), "latent": 3, "classes": 3, "embedding": 2}
    return gan.Config(shape=(1, 6, 5), **(settings | changes)).build()


def test_each_player_moves_alone():
    model = small()
    x, labels = torch.rand(6, 1, 6, 5, generator=rng()), torch.arange(6) % 3
    players = model.players()
    assert sum(map(len, players.values())) == len(list(model.parameters()))
    for player, parameters in players.items():
        model.zero_grad(set_to_none=True)
        Adversarial()(model, batch(x, labels), rng=rng(), progress=0.0, player=player).loss.backward()
        with_gradient = {id(p) for p in model.parameters() if p.grad is not None}
        assert with_gradient == {id(p) for p in parameters}
    assert all(p.requires_grad for p in model.parameters())


def test_the_term_of_labels_is_their_cross_entropy_under_the_critics_outputs():
    """Of images of the data for the critic, of drawn ones for the generator."""
    model = small().double()
    x, labels = torch.rand(6, 1, 6, 5, generator=rng(), dtype=DOUBLE), torch.arange(6) % 3
    drawn = model.generate(6, rng(4), labels)
    for player, of in (("critic", x), ("generator", drawn)):
        plain, asked = (
            Adversarial(penalty="none", labels=weight)(
                model, batch(x, labels), rng=rng(4), progress=0.0, player=player
            ).loss
            for weight in (0.0, 0.7)
        )
        outputs = torch.stack([model.judge(of, torch.full((6,), k)) for k in range(3)], 1)
        expected = 0.7 * torch.nn.functional.cross_entropy(outputs, labels)
        torch.testing.assert_close((asked - plain).double(), expected, atol=1e-6, rtol=1e-6)
    with pytest.raises(RecipeError, match="without labels"):
        Adversarial(labels=1.0)(small(classes=None), batch(x.float()), rng=rng(), progress=0.0, player="generator")


def test_the_critic_is_no_part_of_the_result():
    model = small()
    began = state.begin(model, Gradient(Adversarial(), average=10.0))
    assert not any(name.startswith("critic.") for name in began.result())
    assert {name.split(".")[0] for name in began.result()} == {"embedding", "generator"}


def test_penalties_stay_in_float32_under_autocast():
    model, exact = small(), small()
    x, labels = torch.rand(6, 1, 6, 5, generator=rng()), torch.arange(6) % 3
    for m in (model, exact):
        with torch.no_grad():
            for p in m.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=rng()))
    objective = Adversarial("non-saturating", share=1.0)  # R1 alone: at the very same images
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = objective(model, batch(x, labels), rng=rng(), progress=0.0, player="critic")
    full = objective(exact, batch(x, labels), rng=rng(), progress=0.0, player="critic")
    torch.testing.assert_close(low.report["r1"], full.report["r1"], rtol=1e-5, atol=0)
    assert low.loss.dtype == torch.float32


def test_projection_changes_with_the_label_as_the_formula_says():
    model = small().double()
    critic, x = model.critic, torch.rand(3, 1, 6, 5, generator=rng(), dtype=DOUBLE)
    features = critic.features(2 * x - 1)
    for label in range(3):
        out = model.judge(x, torch.full((3,), label))
        expected = features @ critic.output + features @ critic.embedding.weight[label] / math.sqrt(5)
        torch.testing.assert_close(out, expected)


def test_labels_change_the_image_and_temperature_the_code():
    model = small().eval()
    z = model.latent(4, rng())
    with torch.no_grad():
        assert not torch.equal(model.decode(z, torch.zeros(4).long()), model.decode(z, torch.ones(4).long()))
    model.temperature = 0.5
    torch.testing.assert_close(model.latent(4, rng()), 0.5 * z)
    with pytest.raises(DataError, match="conditional"):
        model.decode(z)
    with pytest.raises(DataError, match="labels 0 to 2"):
        model.decode(z, torch.full((4,), 3))


def test_attention_is_that_of_the_formula_and_nothing_at_the_start():
    torch.manual_seed(0)
    layer, h = SelfAttention(16).double(), torch.randn(2, 16, 3, 2, generator=rng(), dtype=DOUBLE)
    assert torch.equal(layer(h), h)
    with torch.no_grad():
        layer.strength.fill_(0.8)
    q, k, v = layer.queries(h).flatten(2).mT.split((2, 2, 8), 2)
    attended = torch.nn.functional.scaled_dot_product_attention(q, k, v).mT.unflatten(2, (3, 2))
    torch.testing.assert_close(layer(h), h + 0.8 * layer.out(attended))


def test_attention_stands_in_both_networks():
    for stage, place in ((1, (4, 4)), (2, (2, 2))):
        model = small(network=Residual((4, 6), features=5, attention=stage))
        for part in (model.generator, model.critic.features):
            (layer,) = [m for m in part.modules() if isinstance(m, SelfAttention)]
            seen = []
            layer.register_forward_hook(lambda _, given, __, seen=seen: seen.append(given[0].shape[2:]))
            with torch.no_grad():
                model.judge(model.generate(2, rng(), torch.zeros(2).long()), torch.zeros(2).long())
            assert tuple(seen[0]) == place


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Residual(()),
        lambda: Residual((4, 1)),
        lambda: Residual((4,), attention=2),
        lambda: Residual((4,), blocks=-1),
        lambda: gan.Config(latent=0),
        lambda: gan.Config(classes=1),
        lambda: Adversarial(weight=-1.0),
        lambda: Adversarial(labels=-1.0),
        lambda: Adversarial(share=0.0),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(RecipeError):
        wrong()


class Patches:
    """A training set of two kinds of image: dark with label 0, bright with label 1, each with a little noise."""

    batch, steps_per_epoch = 32, 10**9

    def at(self, step):
        g = rng(step)
        labels = torch.randint(2, (32,), generator=g)
        grey = 0.2 + 0.6 * labels.view(-1, 1, 1, 1) + 0.05 * torch.randn(32, 1, 1, 1, generator=g)
        return batch((grey + torch.zeros(32, 1, 4, 4)).clamp(0, 1), labels)


# The other two are known for what they do here: minimax stalls, and wgan-gp wants several steps of the critic to one of
# the generator.
@pytest.mark.parametrize("loss", ["relativistic", "non-saturating", "hinge"])
def test_training_finds_both_kinds_of_image(loss):
    torch.manual_seed(0)
    model = gan.Config((1, 4, 4), Residual((8,), features=8), latent=4, classes=2, embedding=4).build()
    settings = Gradient(
        Adversarial(loss, share=1.0),
        Optimiser("adam", rate=5e-3, betas=(0.0, 0.99)),
        Schedule("cosine"),
        images=32 * 150,
        batch=32,
        clip=None,
        average=500,
    )
    training = state.begin(model, settings)
    train(training, settings, Patches(), seed=0)
    model.load_state_dict(training.result(), strict=False)
    with torch.no_grad():
        dark, bright = (model.sample(200, rng(), torch.full((200,), label)) for label in (0, 1))
    assert dark.mean().item() == pytest.approx(0.2, abs=0.1)
    assert bright.mean().item() == pytest.approx(0.8, abs=0.1)
