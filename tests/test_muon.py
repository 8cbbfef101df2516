"""Laws of Muon: updates are orthogonal, as large as said, and of vectors those of AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imprior.nn.precision import fast_bfloat16
from imprior.training.muon import Muon, orthogonalised
from imprior.training.schedule import optimiser_for
from imprior.training.settings import Optimiser


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (1, 9), (9, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_become_about_one_and_vectors_stay(shape, dtype):
    # Scales from 1 to 0.03: far apart, as those of gradients are.
    u, _, v = torch.linalg.svd(draws(*shape), full_matrices=False)
    x = u * torch.logspace(0, -1.5, min(shape)) @ v
    found = orthogonalised((1e-3 * x).to(dtype)).float()
    assert ((torch.linalg.svdvals(found) > 0.6) & (torch.linalg.svdvals(found) < 1.3)).all()
    inside = u.T @ found @ v.T
    torch.testing.assert_close(inside, inside.diagonal().diag(), atol=1e-4 if dtype == torch.float32 else 0.1, rtol=0)


def test_nothing_comes_of_no_gradient():
    assert torch.equal(orthogonalised(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_a_step_by_hand():
    began, gradients = draws(4, 2, 3, 3), [draws(4, 2, 3, 3, seed=s) for s in (1, 2)]
    p = nn.Parameter(began.clone())
    optimiser = Muon([{"params": [p], "weight_decay": 0.5}], 0.1, momentum=0.9)
    expected, momentum = began.clone(), torch.zeros(4, 18)
    for gradient in gradients:
        p.grad = gradient.clone()
        optimiser.step()
        momentum = 0.9 * momentum + gradient.flatten(1)
        ahead = gradient.flatten(1) + 0.9 * momentum
        update = 0.2 * 18**0.5 * orthogonalised(ahead.bfloat16() if fast_bfloat16(ahead) else ahead).float()
        expected = (1 - 0.1 * 0.5) * expected - 0.1 * update.view(4, 2, 3, 3)
    torch.testing.assert_close(p.detach(), expected)


def test_what_is_no_matrix_takes_the_steps_of_adamw():
    ours, theirs = (nn.Parameter(draws(5)) for _ in range(2))
    optimisers = (
        Muon([{"params": [ours], "weight_decay": 0.2, "matrices": False}], 0.05),
        torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.2),
    )
    for seed in range(4):
        for p, optimiser in zip((ours, theirs), optimisers, strict=True):
            p.grad = draws(5, seed=seed)
            optimiser.step()
    torch.testing.assert_close(ours, theirs)


def test_weights_of_layers_alone_are_matrices():
    model = nn.ModuleDict({"layer": nn.Conv2d(2, 3, 3), "table": nn.Embedding(4, 5)})
    model.register_parameter("gains", nn.Parameter(torch.ones(2, 2)))
    optimiser = optimiser_for(model, list(model.parameters()), Optimiser("muon", weight_decay=0.1))
    layers, others = optimiser.param_groups
    assert [p.shape for p in layers["params"]] == [(3, 2, 3, 3)] and layers["matrices"]
    assert {tuple(p.shape) for p in others["params"]} == {(3,), (4, 5), (2, 2)} and not others["weight_decay"]
