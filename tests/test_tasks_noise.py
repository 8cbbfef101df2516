"""Single pictures made noisy and clean: every form and type, on the scales that people use."""

import math

import numpy as np
import pytest

from imprior.errors import DataError
from imprior.models import autoencoder
from imprior.models.classical import BY_NAME
from imprior.nn.dense import Dense
from imprior.tasks import corrupt, denoise
from toys import LocalShrinkage, Shrinkage

DIGITS = autoencoder.Config((1, 8, 8), Dense((16,)), 3, denoises=True).build()  # of one size


class Untouched:
    """Denoises by doing nothing."""

    shape, levels, classes = (None, None, None), None, None

    def denoise(self, y, sigma=None):
        return y


FORMS = [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)]
TYPES = [np.uint8, np.uint16, np.float16, np.float32, np.float64]


def cleaned(model, given, **options):
    return denoise.denoise_picture(model, given, **options).picture


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
        cleaned(Untouched(), given),
        corrupt.corrupt_picture(given, "gaussian", 0),
        corrupt.corrupt_picture(given, "masking", 0),
    ):
        assert result.dtype == given.dtype and np.array_equal(result, given)
    assert np.array_equal(given, kept)  # and the argument is left alone


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", TYPES)
def test_sigma_is_on_the_8_bit_scale_for_every_type_and_alpha_is_left_alone(form, kind):
    given = picture(form, kind)
    result = cleaned(Shrinkage(spread=0.2), given, sigma=51.0)  # 0.2: shrinks by a half
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

    assert cleaned(Brighter(), np.full((2, 2), 200, np.uint8)).tolist() == [[255, 255], [255, 255]]
    assert cleaned(Brighter(), np.full((1, 1), 0.75, np.float32)).item() == 1.25


def test_without_sigma_the_model_is_not_told_one():
    given = picture((4, 4), np.float32)
    own = cleaned(Shrinkage(trained_at=0.1), given)
    assert np.array_equal(own, cleaned(Shrinkage(trained_at=0.3), given, sigma=25.5))


def test_a_grey_model_cleans_colours_one_by_one():
    given = picture((8, 8, 3), np.uint8)
    result = cleaned(DIGITS, given)
    for channel in range(3):
        assert np.array_equal(result[..., channel], cleaned(DIGITS, given[..., channel]))


@pytest.mark.parametrize("name", BY_NAME)
def test_classical_denoisers_clean_grey_and_colour(name):
    x = np.zeros((30, 33, 3))
    x[8:20, 8:25] = (0.9, 0.6, 0.3)
    for clean in (x, x[..., 0]):
        noisy = corrupt.corrupt_picture(clean.astype(np.float32), "gaussian", 25, seed=1)
        result = cleaned(BY_NAME[name](), noisy, sigma=25)
        assert np.square(result - clean).mean() < 0.4 * np.square(noisy - clean).mean()


@pytest.mark.parametrize(
    ("model", "given", "line"),
    [
        (DIGITS, np.zeros((9, 8), np.uint8), "cleans pictures of 8x8 pixels, and the picture is 9x8"),
        (Untouched(), np.zeros((4, 4), np.int32), "uint8, uint16 or floating"),
        (Untouched(), np.zeros((4, 4, 5), np.uint8), "a picture is"),
        (Untouched(), np.zeros((0, 4), np.uint8), "a picture is"),
        (Untouched(), np.full((4, 4), np.nan), "NaN"),
    ],
)
def test_pictures_that_a_model_can_t_take_are_refused(model, given, line):
    with pytest.raises(DataError, match=line) as told:
        cleaned(model, given)
    assert "\n" not in str(told.value)


def test_a_colour_model_refuses_grey_pictures():
    class Colour(Untouched):
        shape = (3, None, None)

    with pytest.raises(DataError, match="of 3 channels, and the picture has 1"):
        cleaned(Colour(), np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("sigma", [-1.0, math.nan, math.inf])
def test_sigma_is_a_standard_deviation(sigma):
    with pytest.raises(DataError, match="8-bit scale"):
        cleaned(Untouched(), np.zeros((4, 4), np.uint8), sigma=sigma)


class Counted(LocalShrinkage):
    """Says how often it was asked."""

    calls = 0

    def denoise(self, y, sigma=None):
        self.calls += 1
        return super().denoise(y, sigma)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("amount", [{"sigma": 0}, {"strength": 0}, {"sigma": 30, "strength": 0}])
def test_at_sigma_0_or_strength_0_no_model_is_asked(form, kind, amount):
    given, model = picture(form, kind), Counted()
    result = cleaned(model, given, **amount)
    assert result.dtype == given.dtype and np.array_equal(result, given) and result is not given
    assert model.calls == 0


def test_a_picture_without_noise_is_found_to_have_none():
    given, model = np.full((9, 9), 100, np.uint8), Counted()
    found = denoise.denoise_picture(model, given)
    assert found.sigma == (0, 0) and found.estimated and model.calls == 0
    assert np.array_equal(found.picture, given)


@pytest.mark.parametrize("model", [Shrinkage(), LocalShrinkage()])
def test_strength_goes_from_the_picture_to_the_clean_one(model):
    given = picture((9, 7, 3), np.float32)
    whole = cleaned(model, given, sigma=30)
    for strength in (0.25, 0.75, 1.0):
        found = cleaned(model, given, sigma=30, strength=strength)
        assert np.abs(found - (given + strength * (whole - given))).max() < 1e-6
    assert np.array_equal(found, whole)


def test_what_the_model_was_told_is_said():
    given = picture((40, 40), np.uint8)
    assert denoise.denoise_picture(Shrinkage(), given).record() == {"sigma": None, "estimated": False}
    told = denoise.denoise_picture(LocalShrinkage(), given, sigma=25).record()
    assert told["sigma"] == pytest.approx([25, 25]) and told["estimated"] is False
    found = denoise.denoise_picture(LocalShrinkage(), given)
    assert found.estimated and found.sigma == pytest.approx((71, 71), abs=4)  # 4x4 blocks of 255 / √12, less 1 / 16


def test_sigma_beyond_the_range_is_clamped_by_choice_only():
    given = picture((8, 8), np.uint8)
    with pytest.raises(DataError, match=r"sigma 80 is beyond this model's range, 0 to 75.*clamp"):
        cleaned(LocalShrinkage(), given, sigma=80)
    strongest = cleaned(LocalShrinkage(), given, sigma=75)
    assert np.array_equal(cleaned(LocalShrinkage(), given, sigma=80, clamp=True), strongest)


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_strength_is_a_share(strength):
    with pytest.raises(DataError, match="strength is from 0"):
        cleaned(Untouched(), np.zeros((4, 4), np.uint8), strength=strength)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", TYPES)
def test_before_and_after_stand_side_by_side_in_8_bits(form, kind):
    given = picture(form, kind)
    shown = denoise.before_and_after(given, given)
    assert shown.dtype == np.uint8 and shown.shape[:2] == (5, 7 + 4 + 7)
    assert np.array_equal(shown[:, :7], shown[:, -7:])
    tall = denoise.before_and_after(*[np.zeros((3000, 40, 3), np.uint8)] * 2)
    assert tall.shape == (1024, 84, 3)


def test_progress_counts_to_its_end():
    told = []
    denoise.denoise_picture(
        LocalShrinkage(), picture((9, 9), np.uint8), tell=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 2), (2, 2)]


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
