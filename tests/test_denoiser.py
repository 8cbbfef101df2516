"""The denoiser of photographs, what it is trained by, and the camera whose noise it learns."""

import math

import pytest
import torch
from torch.nn import functional as F

from imprior.data.batches import Batches, Images, turned
from imprior.data.camera import _demosaiced, _mosaic, box, camera, halved_colours, jpeg, to_display, to_light
from imprior.data.corrupt import corrupt
from imprior.data.settings import Corruption, Data
from imprior.errors import DataError, RecipeError
from imprior.models import denoiser
from imprior.nn.unet import Block, UNet
from imprior.objectives.denoising import Denoising
from imprior.parts import Batch
from zoo import EXAMPLES, build

NAMES = ("denoiser", "denoiser-grey")
DOUBLE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(model, height, width, seed=0):
    return torch.rand(1, model.shape[0], height, width, generator=rng(seed), dtype=DOUBLE)


@pytest.mark.parametrize("name", NAMES)
def test_a_pixel_depends_on_nothing_beyond_its_reach(name):
    model = build(EXAMPLES[name], dtype=DOUBLE)
    side = 2 * model.reach + 3 * model.stride
    y = noisy(model, side, side).requires_grad_()
    middle = side // 2
    for offset in range(model.stride):  # a pixel's place in the coarsest grid matters
        at = middle + offset
        (gradient,) = torch.autograd.grad(model.denoise(y, 0.1)[..., at, at].sum(), y)
        touched = gradient.abs().amax((0, 1)).nonzero()
        assert (touched - at).abs().max() <= model.reach
    block = middle // model.stride
    (gradient,) = torch.autograd.grad(model.noise(y)[..., block, block].sum(), y)
    touched = gradient.abs().amax((0, 1)).nonzero()
    assert touched.min() >= block * model.stride - model.reach
    assert touched.max() < (block + 1) * model.stride + model.reach


@pytest.mark.parametrize("name", NAMES)
def test_a_tile_with_its_surroundings_gives_the_pixels_of_the_whole(name):
    model = build(EXAMPLES[name], dtype=DOUBLE)
    around = math.ceil(model.reach / model.stride) * model.stride
    y = noisy(model, 2 * around + 19, 3 * around + 5)
    top, left, side = around, around + model.stride, 2 * model.stride
    cut = (..., slice(top - around, top + side + around), slice(left - around, left + side + around))
    inside = (..., slice(around, around + side), slice(around, around + side))
    with torch.no_grad():
        whole = model.denoise(y, 0.2)[..., top : top + side, left : left + side]
        torch.testing.assert_close(model.denoise(y[cut], 0.2)[inside], whole, rtol=0, atol=1e-12)
        blocks = model.noise(y)[..., top // model.stride :, left // model.stride :][..., :2, :2]
        tile = model.noise(y[cut])[..., around // model.stride :, around // model.stride :][..., :2, :2]
        torch.testing.assert_close(tile, blocks, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_sigma_is_a_number_a_number_each_or_a_map_and_nothing_is_done_where_it_is_zero(name):
    model = build(EXAMPLES[name], dtype=DOUBLE)
    y = noisy(model, 9, 13).expand(2, -1, -1, -1)
    with torch.no_grad():
        one = model.denoise(y, 0.1)
        each = torch.full((2,), 0.1, dtype=DOUBLE)
        assert torch.equal(one, model.denoise(y, each))
        assert torch.equal(one, model.denoise(y, each.view(2, 1, 1, 1).expand(2, 1, 9, 13)))
        assert not torch.equal(one, y)
        assert torch.equal(model.denoise(y, 0.0), y)
        half = torch.full((2, 1, 9, 13), 0.1, dtype=DOUBLE)
        half[..., :6] = 0
        assert torch.equal(model.denoise(y, half)[..., :6], y[..., :6])
        own = model.noise(y).square().mean((1, 2, 3)).sqrt()
        assert torch.equal(model.denoise(y), model.denoise(y, own))
        assert model.noise(y).shape == (2, 1, math.ceil(9 / model.stride), math.ceil(13 / model.stride))
        with pytest.raises(DataError):
            model.denoise(y.repeat(1, 2, 1, 1), 0.1)


def test_a_fresh_network_takes_nothing_away():
    model = denoiser.Config((3, 8, 8), UNet((4, 6), (1, 1))).build()
    y = torch.rand(2, 3, 11, 9, generator=rng())
    assert torch.equal(model.denoise(y, 0.3), y)


@pytest.mark.parametrize(("channels", "others"), [(1, 3), (3, 1), (3, 3)])
def test_training_may_begin_with_weights_for_other_channels(channels, others):
    """On channels that are all alike both say the same, in the mean over them."""
    torch.manual_seed(0)
    network = UNet((4, 6), (1, 1))
    ours, theirs = (denoiser.Config((c, 16, 16), network, 5).build().double() for c in (channels, others))
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.2)
    ours.load_state_dict(ours.converted(theirs.state_dict()))
    grey = torch.rand(2, 1, 16, 24, generator=rng(), dtype=torch.float64)
    a, b = (model.denoise(grey.expand(-1, c, -1, -1), 0.1) for model, c in ((ours, channels), (theirs, others)))
    torch.testing.assert_close(a.mean(1), b.mean(1))
    a, b = (model.noise(grey.expand(-1, c, -1, -1)) for model, c in ((ours, channels), (theirs, others)))
    torch.testing.assert_close(a, b)
    if channels == others:
        assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))
    strange = {"network.head.weight": torch.zeros(4, 2, 3, 3), "network.tail.bias": torch.zeros(3)}
    assert all(torch.equal(ours.converted(strange)[k], v) for k, v in strange.items())


def test_training_may_begin_with_weights_of_fewer_blocks():
    """The blocks that are new add nothing."""
    theirs, ours = (denoiser.Config((3, 16, 16), UNet((4, 6), blocks)).build() for blocks in ((1, 0), (2, 3)))
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.2)
    ours.load_state_dict(ours.converted(theirs.state_dict()))
    y = torch.rand(2, 3, 16, 24, generator=rng())
    torch.testing.assert_close(ours.denoise(y, 0.1), theirs.denoise(y, 0.1))
    with pytest.raises(RuntimeError, match="Unexpected"):
        theirs.load_state_dict(theirs.converted(ours.state_dict()))
    damaged = {name: value for name, value in theirs.state_dict().items() if name != "network.down.0.0.first.bias"}
    with pytest.raises(RuntimeError, match="Missing"):
        ours.load_state_dict(ours.converted(damaged))


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_units_below_zero_go_on_learning_if_there_is_a_slope(slope):
    block = Block(4, slope)
    torch.nn.init.constant_(block.first.bias, -100.0)
    torch.nn.init.normal_(block.second.weight)
    block(torch.rand(1, 4, 6, 6, generator=rng())).sum().backward()
    assert bool(block.first.weight.grad.any()) == (slope > 0)


def test_settings_that_make_no_network_are_refused():
    for wrong in (
        lambda: UNet((4,), (1, 1)),
        lambda: UNet((), ()),
        lambda: UNet((4, 6), (1, 1), back=(1, 1)),
        lambda: UNet((4, 6), (1, 1), back=(-1,)),
        lambda: UNet((0,), (1,)),
        lambda: UNet((4,), (-1,)),
        lambda: UNet((4,), (1,), slope=1.0),
    ):
        with pytest.raises(RecipeError):
            wrong()
    for wrong in (lambda: denoiser.Config(estimator=0), lambda: denoiser.Config(largest=0.0), lambda: Denoising(0.0)):
        with pytest.raises(RecipeError):
            wrong()


class Told:
    """A denoiser of known answers: it takes away what it is given, and states one level."""

    shape, levels, classes, reach, stride, largest = (None, None, None), None, None, 0, 8, 1.0

    def __init__(self, taken, level):
        self.taken, self.level = taken, level

    def denoise(self, y, sigma=None):
        return y - self.taken

    def log_variance(self, y):
        return self.level.expand(len(y), 1, -(-y.shape[2] // 8), -(-y.shape[3] // 8))


def test_the_loss_of_a_denoiser_is_what_is_written_and_least_at_the_true_level():
    x = torch.rand(2, 3, 16, 24, generator=rng(), dtype=DOUBLE)
    noise = 0.2 * torch.randn(x.shape, generator=rng(1), dtype=DOUBLE)
    level = torch.tensor(2 * math.log(0.2), dtype=DOUBLE, requires_grad=True)

    def loss(taken, sigma, level):
        batch = Batch(x, None, x + noise, sigma, torch.arange(2))
        return Denoising(1e-3)(Told(taken, level), batch, rng=rng(), progress=0.0)

    sigma = torch.tensor([0.1, 0.3], dtype=DOUBLE)
    parts = loss(0.0, sigma, level)
    error = 0.5 * noise[0].numel() * (noise.square().mean((1, 2, 3)) + 1e-3).log().mean()
    blocks = noise.square().mean(1).reshape(2, 2, 8, 3, 8).mean((2, 4))
    s = level.detach()
    expected = error + (s + blocks / s.exp()).sum() / 2
    torch.testing.assert_close(parts.loss.detach(), expected)
    assert torch.equal(loss(0.0, sigma.view(2, 1, 1, 1).expand(2, 1, 16, 24), level).loss, parts.loss)
    best = noise.square().mean().log().requires_grad_()
    (slope,) = torch.autograd.grad(loss(noise, sigma, best).loss, best)
    assert abs(slope) < 1e-9 and loss(noise, sigma, best).report["psnr_db"] > 119
    with pytest.raises(DataError, match="noisy"):
        Denoising()(Told(0.0, level), Batch(x, None, None, None, torch.arange(2)), rng=rng(), progress=0.0)


def test_the_curve_of_a_display_is_undone():
    x = torch.linspace(0, 1, 1001, dtype=DOUBLE)
    torch.testing.assert_close(to_display(to_light(x)), x, rtol=0, atol=1e-7)
    assert (to_light(x).diff() > 0).all()


def test_an_even_colour_is_demosaiced_to_itself():
    colour = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)
    raw = (_mosaic(8, 10) * colour).sum(1, keepdim=True)
    torch.testing.assert_close(_demosaiced(raw, _mosaic(8, 10)), colour.expand(1, 3, 8, 10))


def test_a_box_is_a_mean_over_a_square():
    x = torch.rand(1, 1, 9, 11, generator=rng(), dtype=DOUBLE)
    torch.testing.assert_close(box(x, 2)[0, 0, 4, 5], x[0, 0, 2:7, 3:8].mean())
    torch.testing.assert_close(box(torch.ones(2, 3, 6, 7), 2), torch.ones(2, 3, 6, 7))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_camera_is_seeded_adds_no_bias_and_more_noise_in_the_dark(channels):
    ramp = torch.linspace(0.1, 0.9, 64).expand(12, channels, 64, 64).contiguous()
    y = camera(ramp, rng(3))
    assert y.shape == ramp.shape and torch.equal(y, camera(ramp, rng(3)))
    assert not torch.equal(y, camera(ramp, rng(4)))
    noise = y - ramp
    assert noise[..., 16:].mean().abs() < 0.01
    dark, bright = (part.square().mean().sqrt() for part in (noise[..., 4:20], noise[..., 44:60]))
    assert dark > bright > 0.002
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert neighbours > 0.1  # white noise has 0 here


def test_photographic_noise_is_what_its_map_says():
    x = torch.full((64, 3, 32, 32), 0.5)
    y, sigma = corrupt(x, Corruption("photographic", 0.05, 0.2), rng())
    assert y.shape == x.shape and sigma.shape == (64, 1, 32, 32)
    assert sigma.min() >= 0 and sigma.max() <= 0.2
    even = (sigma.flatten(1).amax(1) - sigma.flatten(1).amin(1)) == 0
    assert 0.3 < even.float().mean() < 0.95
    measured = (y - x).square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(measured, sigma.square().mean((1, 2, 3)).sqrt(), rtol=0.1, atol=0.001)


def test_photographic_levels_are_drawn_by_the_power_that_is_set():
    x = torch.full((64, 3, 16, 16), 0.5)
    evenly, strong = (corrupt(x, Corruption("photographic", 0.0, 0.2, power), rng())[1] for power in (1.0, 0.5))
    white = torch.isclose(strong, 0.2 * (evenly / 0.2) ** 0.5).flatten(1).all(1)
    assert 0.3 < white.float().mean() < 0.9  # of cameras' noise, and uneven, are the others
    assert (strong[white] > evenly[white]).all()


def test_images_are_turned_by_quarters():
    x = torch.rand(4, 1, 3, 3, generator=rng())
    result = turned(x, torch.arange(4))
    assert torch.equal(result[0], x[0]) and torch.equal(result[2], x[2].flip(1, 2))
    assert torch.equal(result[1], x[1].transpose(1, 2).flip(1))
    assert torch.equal(turned(result, -torch.arange(4)), x)
    with pytest.raises(DataError, match="square"):
        turned(torch.rand(1, 1, 3, 4), torch.arange(1))


def test_halved_colours_are_those_of_jpeg_files():
    x = F.interpolate(torch.rand(2, 3, 11, 12, generator=rng()), (32, 48), mode="bilinear")
    halved = halved_colours(x)
    file = torch.stack([jpeg(image, 100, subsampled=True) for image in x])
    assert (halved - file).square().mean() < 0.1 * (x - file).square().mean()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    inside = ((halved > 0) & (halved < 1)).all(1, keepdim=True)  # elsewhere something was cut off
    assert torch.allclose(((halved - x) * weights).sum(1, keepdim=True)[inside], torch.zeros(()), atol=1e-6)
    grey = torch.rand(1, 1, 9, 7, generator=rng()).expand(1, 3, 9, 7)
    assert torch.allclose(halved_colours(grey), grey, atol=1e-6)


def test_a_share_of_training_images_has_halved_colours():
    pixels = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=rng())
    images = Images(pixels, None, (), "")
    halved = halved_colours(images.x(slice(None)))
    for share in (0.0, 0.5, 1.0):
        batches = Batches(images, Data(halved_colours=share), batch=40, seed=0)
        x = batches.take(torch.arange(40), rng()).x
        changed = (x != images.x(slice(None))).flatten(1).any(1)
        assert abs(changed.float().mean() - share) < 0.3 * min(share, 1 - share) + 1e-6
        assert torch.equal(x[changed], halved[changed])
    assert torch.equal(
        Batches(images, Data(halved_colours=1.0), batch=40, seed=0, train=False).take(torch.arange(40), rng()).x,
        images.x(slice(None)),
    )  # judged on pictures as they are
    with pytest.raises(RecipeError, match="halved_colours"):
        Data(halved_colours=1.5)
