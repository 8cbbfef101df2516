"""Weights in 7 bits: how far they are from the originals, and that loading does not have to be told."""

import torch

from imprior.packing import BITS, LARGE, PACKED, pack, unpack
from imprior.randomness import generator


def weights():
    rng = generator(0)
    return {
        "large": torch.randn(300, 200, generator=rng) * torch.logspace(-6, 2, 300)[:, None],
        "convolution": torch.randn(64, 64, 3, 3, generator=rng),
        "small": torch.randn(10, 10, generator=rng),
        "bias": torch.randn(LARGE + 1, generator=rng),
        "table": torch.arange(50_000, dtype=torch.int32).view(2, -1),
        "bytes": torch.arange(-128, 128, dtype=torch.int32),
        "levels": torch.arange(256, dtype=torch.int64),
        "steps": torch.tensor([-129, 127]),
        "none": torch.zeros(0, dtype=torch.int32),
    }


def test_large_weights_are_off_by_half_a_step_and_take_seven_bits():
    original, packed = weights(), pack(weights())
    back = unpack(packed)
    assert back.keys() == original.keys()
    for name in ("large", "convolution"):
        largest = original[name].flatten(1).abs().amax(1)
        error = (back[name] - original[name]).flatten(1).abs().amax(1)
        # Half of a step of 1/63; float16 holds scales down to 6e-8, so the smallest rows may be off by that.
        assert (error <= largest * (1 / 126) * 1.002 + 63 * 6e-8).all()
        assert packed[name + PACKED].numel() == -(-original[name].numel() * BITS // 8)


def test_everything_else_keeps_float16_or_its_integers():
    original, back = weights(), unpack(pack(weights()))
    assert torch.equal(back["table"].int(), original["table"]) and back["table"].dtype == torch.int32
    for name, kind in {"bytes": torch.int8, "levels": torch.uint8, "steps": torch.int16, "none": torch.int32}.items():
        assert torch.equal(back[name].long(), original[name].long()) and back[name].dtype == kind
    for name in ("small", "bias"):
        assert torch.equal(back[name], original[name].half())


def test_what_was_not_packed_passes():
    original = weights()
    assert all(torch.equal(unpack(original)[name], tensor) for name, tensor in original.items())


def test_a_row_of_zeros_stays_zero():
    assert not unpack(pack({"w": torch.zeros(200, 200)}))["w"].any()


def test_packing_what_was_unpacked_changes_nothing():
    once = unpack(pack(weights()))
    twice = unpack(pack(once))
    # But for rows so small that their scale is one of the coarse, smallest numbers of float16.
    assert all(torch.allclose(twice[name], tensor, rtol=1e-6, atol=4e-6) for name, tensor in once.items())


def test_what_must_be_precise_keeps_float16():
    packed = pack(weights(), precise=("convolution",))
    assert packed["convolution"].dtype == torch.float16 and "large" + PACKED in packed
    assert torch.equal(unpack(packed)["convolution"].half(), weights()["convolution"].half())
