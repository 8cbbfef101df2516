"""Tasks that end in pictures: on toys, where the answer is known, and on a small model of each family."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from imprior.data.batches import Images
from imprior.errors import CapabilityError, DataError
from imprior.metrics.psnr import psnr_db
from imprior.models import autoencoder, pca, vae
from imprior.models.classical import BY_NAME
from imprior.nn.convolutional import Convolutional
from imprior.nn.dense import Dense
from imprior.promises import Encodes, Samples
from imprior.tasks import corrupt, denoise, embed, interpolate, reconstruct, sample, traverse
from toys import TOYS, Identity, LinearGaussian, Pixels, Shrinkage


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
        lambda model, x: denoise.denoise_picture(model, x[0, 0].numpy()),
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


# --- denoise


class Untouched:
    """Denoises by doing nothing."""

    shape, levels, classes = (None, None, None), None, None

    def denoise(self, y, sigma=None):
        return y


FORMS = [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)]
TYPES = [np.uint8, np.uint16, np.float16, np.float32, np.float64]


def picture(form, kind, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(kind).kind == "u":
        return rng.integers(0, np.iinfo(kind).max, form, kind, endpoint=True)
    return rng.uniform(0, 1, form).astype(np.float32).astype(kind)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", TYPES)
def test_a_picture_that_needs_nothing_comes_back_bit_for_bit(form, kind):
    given = picture(form, kind)
    kept = given.copy()
    for result in (
        denoise.denoise_picture(Untouched(), given),
        corrupt.corrupt_picture(given, "gaussian", 0),
        corrupt.corrupt_picture(given, "masking", 0),
    ):
        assert result.dtype == given.dtype and np.array_equal(result, given)
    assert np.array_equal(given, kept)  # and the argument is left alone


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", TYPES)
def test_sigma_is_on_the_8_bit_scale_for_every_type_and_alpha_is_left_alone(form, kind):
    given = picture(form, kind)
    result = denoise.denoise_picture(Shrinkage(spread=0.2), given, sigma=51.0)  # 0.2: shrinks by a half
    colours = slice(None) if len(form) == 2 or form[2] in (1, 3) else slice(0, -1)
    top = np.iinfo(kind).max if np.dtype(kind).kind == "u" else 1
    expected = 0.5 + 0.5 * (given / top - 0.5) if top > 1 else 0.5 + 0.5 * (given.astype(float) - 0.5)
    error = np.abs(result / top - expected)[..., colours]
    assert (
        error.max() <= {"u": 0.51 / top, "f": np.finfo(kind).eps if kind == np.float16 else 1e-6}[np.dtype(kind).kind]
    )
    if colours != slice(None):
        assert np.array_equal(result[..., -1], given[..., -1])


def test_whole_levels_are_cut_and_floats_are_not():
    class Brighter(Untouched):
        def denoise(self, y, sigma=None):
            return y + 0.5

    assert denoise.denoise_picture(Brighter(), np.full((2, 2), 200, np.uint8)).tolist() == [[255, 255], [255, 255]]
    assert denoise.denoise_picture(Brighter(), np.full((1, 1), 0.75, np.float32)).item() == 1.25


def test_without_sigma_the_model_is_not_told_one():
    given = picture((4, 4), np.float32)
    own = denoise.denoise_picture(Shrinkage(trained_at=0.1), given)
    assert np.array_equal(own, denoise.denoise_picture(Shrinkage(trained_at=0.3), given, sigma=25.5))


def test_a_grey_model_cleans_colours_one_by_one():
    model = SMALL["dae"]()
    given = picture((8, 8, 3), np.uint8)
    result = denoise.denoise_picture(model, given)
    for channel in range(3):
        assert np.array_equal(result[..., channel], denoise.denoise_picture(model, given[..., channel]))


@pytest.mark.parametrize("name", BY_NAME)
def test_classical_denoisers_clean_grey_and_colour(name):
    x = np.zeros((30, 33, 3))
    x[8:20, 8:25] = (0.9, 0.6, 0.3)
    for clean in (x, x[..., 0]):
        noisy = corrupt.corrupt_picture(clean.astype(np.float32), "gaussian", 25, seed=1)
        cleaned = denoise.denoise_picture(BY_NAME[name](), noisy, sigma=25)
        assert np.square(cleaned - clean).mean() < 0.4 * np.square(noisy - clean).mean()


@pytest.mark.parametrize(
    ("model", "given", "line"),
    [
        (SMALL["dae"](), np.zeros((9, 8), np.uint8), "cleans pictures of 8x8 pixels, and the picture is 9x8"),
        (Untouched(), np.zeros((4, 4), np.int32), "uint8, uint16 or floating"),
        (Untouched(), np.zeros((4, 4, 5), np.uint8), "a picture is"),
        (Untouched(), np.zeros((0, 4), np.uint8), "a picture is"),
        (Untouched(), np.full((4, 4), np.nan), "NaN"),
    ],
)
def test_pictures_that_a_model_can_t_take_are_refused(model, given, line):
    with pytest.raises(DataError, match=line) as told:
        denoise.denoise_picture(model, given)
    assert "\n" not in str(told.value)


def test_a_colour_model_refuses_grey_pictures():
    class Colour(Untouched):
        shape = (3, None, None)

    with pytest.raises(DataError, match="of 3 channels, and the picture has 1"):
        denoise.denoise_picture(Colour(), np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("sigma", [-1.0, math.nan, math.inf])
def test_sigma_is_a_standard_deviation(sigma):
    with pytest.raises(DataError, match="8-bit scale"):
        denoise.denoise_picture(Untouched(), np.zeros((4, 4), np.uint8), sigma=sigma)


# --- corrupt

GREY = np.full((200, 150), 0.5, np.float32)


def test_gaussian_noise_has_the_deviation_that_was_asked_for():
    noise = corrupt.corrupt_picture(GREY, "gaussian", 25) - GREY
    assert noise.std() == pytest.approx(25 / 255, rel=0.02)  # 30,000 pixels: standard error 0.4 %
    assert noise.mean() == pytest.approx(0, abs=0.003)


def test_poisson_noise_has_that_deviation_at_white_and_its_root_at_grey():
    white = np.ones_like(GREY)
    assert corrupt.corrupt_picture(white, "poisson", 25).std() == pytest.approx(25 / 255, rel=0.02)
    assert corrupt.corrupt_picture(GREY, "poisson", 25).std() == pytest.approx(25 / 255 * math.sqrt(0.5), rel=0.02)
    assert corrupt.corrupt_picture(0 * GREY, "poisson", 25).max() == 0


@pytest.mark.parametrize(("kind", "lost"), [("masking", {0}), ("salt-pepper", {0, 255})])
def test_lost_pixels_are_lost_in_all_channels_and_the_others_are_kept(kind, lost):
    given = np.random.default_rng(0).integers(1, 255, (200, 150, 3), np.uint8)
    result = corrupt.corrupt_picture(given, kind, 0.3)
    changed = (result != given).any(2)
    assert changed.mean() == pytest.approx(0.3, abs=0.015)  # five standard errors
    assert set(np.unique(result[changed])) == lost
    assert ((result != given).all(2) == changed).all()


@pytest.mark.parametrize("kind", corrupt.KINDS)
def test_a_seed_says_it_all_and_alpha_is_left_alone(kind):
    given = picture((20, 20, 4), np.uint8)
    amount = 0.4 if kind in corrupt.FRACTIONS else 40
    first, again, other = (corrupt.corrupt_picture(given, kind, amount, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(first[..., 3], given[..., 3]) and not np.array_equal(first[..., :3], given[..., :3])


def test_types_agree_on_the_noise():
    small = corrupt.corrupt_picture(np.full((20, 20), 128, np.uint8), "gaussian", 20, seed=3)
    large = corrupt.corrupt_picture(np.full((20, 20), 128 * 257, np.uint16), "gaussian", 20, seed=3)
    assert np.abs(small * 257.0 - large).max() <= 129


@pytest.mark.parametrize(
    ("kind", "amount", "line"),
    [
        ("gausian", 25, "did you mean 'gaussian'"),
        ("gaussian", -1, "0 or more"),
        ("gaussian", math.nan, "0 or more"),
        ("masking", 25, "fraction of the pixels"),
    ],
)
def test_corruptions_that_can_t_be_are_refused(kind, amount, line):
    with pytest.raises(DataError, match=line):
        corrupt.corrupt_picture(GREY, kind, amount)
