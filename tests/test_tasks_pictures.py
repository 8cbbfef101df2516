"""Tasks on batches that end in pictures: on toys, where the answer is known, and on a small model of each family."""

import math

import pytest
import torch
from torch import nn

from imprior.data.batches import Images
from imprior.errors import CapabilityError, DataError
from imprior.metrics.psnr import psnr_db
from imprior.models import autoencoder, pca, vae
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.promises import Encodes, Samples
from imprior.tasks import denoise, embed, interpolate, reconstruct, sample, traverse
from toys import TOYS, Identity, LinearGaussian, Pixels


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed))


def small(config):
    torch.manual_seed(0)
    return config.build().eval()


DENSE = Dense((16,))
CONVOLUTIONAL = Convolutional((4, 8), width=16)
SMALL = {
    "ae": lambda: small(autoencoder.Config((1, 8, 8), DENSE, 3)),
    "ae-conv": lambda: small(autoencoder.Config((3, 9, 7), CONVOLUTIONAL, 3)),
    "ae-spatial": lambda: small(autoencoder.Config((1, 8, 8), Convolutional((4, 8), spatial=True), 2)),
    "dae": lambda: small(autoencoder.Config((1, 8, 8), DENSE, 3, denoises=True)),
    "vae": lambda: small(vae.Config((1, 8, 8), DENSE, 3)),
    "pca": lambda: small(pca.Config((1, 8, 8), 3)),
    "ppca": lambda: small(pca.Config((1, 8, 8), 3, probabilistic=True)),
}
ENCODERS = {name: make for name, make in (TOYS | SMALL).items() if isinstance(make(), Encodes)}
encoders = pytest.mark.parametrize("name", ENCODERS)


def images_for(model, n=6):
    """Random images of the model's shape, of an odd size where any will do."""
    channels, height, width = model.shape
    return batch(n, channels or 1, height or 11, width or 13)


# --- reconstruct


@encoders
def test_reconstruct_decodes_the_code(name):
    model = ENCODERS[name]()
    x = images_for(model)
    found = reconstruct.run(model, x)
    assert found.mean.shape == found.x.shape == x.shape
    with torch.no_grad():
        alone = torch.cat([model.decode(model.encode(i[None]))[..., : x.shape[2], : x.shape[3]] for i in x])
    assert torch.allclose(found.mean, alone, atol=1e-6)
    assert torch.equal(found.psnr_db, psnr_db(x, found.mean))


def test_what_comes_back_whole_has_no_error():
    found = reconstruct.run(Identity(), batch(3, 1, 3, 3))
    assert torch.equal(found.mean, found.x) and found.psnr_db.tolist() == [math.inf] * 3
    assert found.record() == {"n": 3, "psnr_db": None}  # JSON has no infinity


def test_the_record_holds_the_mean_of_the_psnrs():
    found = reconstruct.run(LinearGaussian(), batch(5, 1, 3, 3))
    assert found.record() == {"n": 5, "psnr_db": pytest.approx(found.psnr_db.mean().item())}


def test_tasks_leave_the_model_as_it_was_and_run_it_in_evaluation_mode():
    class Noisy(nn.Module):
        shape, levels, classes = (1, 3, 3), None, None

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.drop = nn.Dropout(0.9)

        def encode(self, x):
            return self.drop(x.flatten(1)) * self.scale

        def decode(self, z, labels=None):
            return z.view(-1, 1, 3, 3)

        def latent(self, n, rng):
            return torch.zeros(n, 9)

    model, x = Noisy().train(), batch(4, 1, 3, 3)
    found = reconstruct.run(model, x)
    assert torch.equal(found.mean, x) and not found.mean.requires_grad
    assert model.training


@pytest.mark.parametrize(
    "task",
    [
        lambda model, x: reconstruct.run(model, x),
        lambda model, x: interpolate.run(model, x, x),
        lambda model, x: traverse.run(model, x[0]),
        lambda model, x: embed.run(model, Images(x, None, (), "")),
        lambda model, x: denoise.run(model, x),
        lambda model, x: denoise.denoise_picture(model, x[0, 0].numpy()).picture,
        lambda model, x: sample.run(Identity(), 3, rng=seeded(), draw=True),
    ],
)
def test_a_model_without_the_promise_is_refused(task):
    with pytest.raises(CapabilityError, match="does not keep the promise"):
        task(Pixels(), batch(2, 1, 3, 3))


# --- sample


def test_without_draw_the_mean_image_of_a_latent_is_shown():
    model = LinearGaussian()
    drawn = sample.run(model, 400, rng=seeded()).flatten(1) - model.offset
    directions = model.weight / model.weight.norm(dim=0)
    assert torch.allclose(drawn @ directions @ directions.T, drawn, atol=1e-5)  # in the plane of the means
    assert torch.allclose((drawn @ directions).var(0), model.weight.square().sum(0), rtol=0.25)


def test_with_draw_the_pixels_are_drawn_too():
    model = LinearGaussian(sigma=0.3)
    drawn = sample.run(model, 2000, rng=seeded(), draw=True).flatten(1)
    expected = model.weight @ model.weight.T + 0.09 * torch.eye(9)
    assert torch.allclose(drawn.T.cov(), expected, atol=0.05)


def test_models_without_latents_are_drawn_from():
    drawn = sample.run(Pixels(), 3000, rng=seeded())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(drawn.mean(0), Pixels().logits.sigmoid(), atol=0.05)  # five standard errors


@pytest.mark.parametrize("name", [name for name, make in (TOYS | SMALL).items() if isinstance(make(), Samples)])
@pytest.mark.parametrize("draw", [False, True])
def test_the_same_seed_draws_the_same_images(name, draw):
    model = (TOYS | SMALL)[name]()
    first, second, other = (sample.run(model, 3, rng=seeded(seed), draw=draw) for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert len(first) == 3 and first.dim() == 4


def test_labels_reach_the_image_that_they_belong_to():
    class Conditional(Identity):
        classes = 3

        def decode(self, z, labels=None):
            return labels.float().view(-1, 1, 1, 1).expand(-1, 1, 3, 3)

    labels = torch.arange(1100) % 3  # more than are drawn at a time
    drawn = sample.run(Conditional(), 1100, rng=seeded(), labels=labels)
    assert torch.equal(drawn[:, 0, 0, 0], labels.float())


def test_nothing_to_draw_is_refused():
    with pytest.raises(DataError, match="not 0"):
        sample.run(Identity(), 0, rng=seeded())


# --- interpolate


def test_between_identical_codes_and_images_the_way_is_a_blend():
    a, b = batch(4, 1, 3, 3, seed=1), batch(4, 1, 3, 3, seed=2)
    walk = interpolate.run(Identity(), a, b, steps=5)
    for step in range(5):
        assert torch.allclose(walk[:, step], (1 - step / 4) * a + step / 4 * b, atol=1e-6)


@encoders
def test_a_walk_begins_and_ends_with_the_reconstructions(name):
    model = ENCODERS[name]()
    a, b = images_for(model).split(3)
    walk = interpolate.run(model, a, b, steps=4)
    assert walk.shape == (3, 4, *a.shape[1:])
    assert torch.allclose(walk[:, 0], reconstruct.run(model, a).mean, atol=1e-5)
    assert torch.allclose(walk[:, -1], reconstruct.run(model, b).mean, atol=1e-5)


def test_walks_that_can_t_be_walked_are_refused():
    with pytest.raises(DataError, match="can't be joined"):
        interpolate.run(Identity(), batch(1, 1, 3, 3), batch(2, 1, 3, 3))
    with pytest.raises(DataError, match="at least 2 steps"):
        interpolate.run(Identity(), batch(1, 1, 3, 3), batch(1, 1, 3, 3), steps=1)


# --- traverse


def test_one_unit_moves_by_so_many_deviations_and_the_others_stay():
    others = batch(50, 1, 3, 3)
    x = batch(1, 3, 3, seed=5)
    moved = traverse.run(Identity(), x, units=[4, 0], span=2.0, steps=5, others=others)
    deviation = others.flatten(1).std(0, correction=0)
    for row, unit in enumerate((4, 0)):
        for step, t in enumerate((-2, -1, 0, 1, 2)):
            expected = x.flatten().clone()
            expected[unit] += t * deviation[unit]
            assert torch.allclose(moved[row, step].flatten(), expected, atol=1e-6)


def test_the_units_that_vary_most_come_first():
    spread = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.0, 0.2, 0.3, 0.4, 0.6]).view(1, 1, 3, 3)
    others = 0.5 + spread * (batch(200, 1, 3, 3) - 0.5)
    x = batch(1, 3, 3)
    found = traverse.run(Identity(), x, units=3, others=others)
    assert torch.equal(found, traverse.run(Identity(), x, units=[1, 3, 8], others=others))


@encoders
def test_the_middle_of_a_traversal_is_the_reconstruction(name):
    model = ENCODERS[name]()
    x = images_for(model)
    moved = traverse.run(model, x[0], units=2, steps=3, others=x)
    expected = reconstruct.run(model, x[:1]).mean[0]
    assert moved.shape[1:] == (3, *x.shape[1:]) and 1 <= len(moved) <= 2
    assert all(torch.allclose(row[1], expected, atol=1e-5) for row in moved)
    assert all(not torch.allclose(row[0], row[2], atol=1e-6) for row in moved)


def test_without_other_images_the_model_says_how_codes_vary():
    model, x = LinearGaussian(), batch(1, 3, 3)
    moved = traverse.run(model, x, units=[1], span=1.0, steps=3)
    step = (moved[0, 2] - moved[0, 1]).flatten()
    assert torch.allclose(step, model.weight[:, 1], rtol=0.15, atol=1e-6)  # a standard deviation of 500 draws
    assert torch.equal(moved, traverse.run(model, x, units=[1], span=1.0, steps=3))


def test_no_such_unit():
    with pytest.raises(DataError, match="no unit 9: the code has 9, counted from 0"):
        traverse.run(Identity(), batch(1, 3, 3), units=[9])


# --- embed


@encoders
def test_embedding_keeps_order_and_labels(name):
    model = ENCODERS[name]()
    x = images_for(model, 7)
    images = Images(x, torch.arange(7), ("a", "b"), "")
    found = embed.run(model, images, batch=3)
    with torch.no_grad():
        assert torch.allclose(found.codes, model.encode(x).flatten(1), atol=1e-6)
    assert torch.equal(found.labels, torch.arange(7)) and found.classes == ("a", "b")
    assert found.record()["n"] == 7 and len(found.record()["standard_deviation"]) == found.record()["units"]


def test_images_of_different_sizes_are_refused():
    with pytest.raises(DataError, match="different sizes"):
        embed.run(Identity(), Images((torch.zeros(1, 3, 3), torch.zeros(1, 2, 3)), None, (), ""))


def test_codes_that_lie_in_a_plane_keep_their_distances_on_the_map():
    basis = torch.linalg.qr(torch.randn(10, 2, generator=seeded(), dtype=torch.float64))[0]
    flat = torch.randn(50, 2, generator=seeded(1), dtype=torch.float64) * torch.tensor([3.0, 1.0])
    points = embed.plane(flat @ basis.T + 7)
    for_sure = {"compute_mode": "donot_use_mm_for_euclid_dist"}  # the fast way cancels
    assert torch.allclose(torch.cdist(points, points, **for_sure), torch.cdist(flat, flat, **for_sure), atol=1e-9)
    assert points[:, 0].var() > points[:, 1].var()


@pytest.mark.parametrize("dimensions", [1, 2])
def test_codes_of_two_numbers_are_their_own_map(dimensions):
    codes = batch(5, dimensions)
    assert torch.equal(embed.plane(codes)[:, :dimensions].float(), codes)
    assert embed.plane(codes).shape == (5, 2)


def test_tsne_keeps_neighbours_together():
    pytest.importorskip("sklearn")
    labels = torch.arange(60) % 3
    codes = 10 * torch.eye(5)[labels] + 0.1 * torch.randn(60, 5, generator=seeded())
    points = embed.plane(codes, by="tsne")
    distances = torch.cdist(points, points) + 1e9 * torch.eye(60)
    assert torch.equal(labels[distances.argmin(1)], labels)
