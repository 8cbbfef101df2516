"""Distances between sets of images: against closed forms, brute force and what their definitions imply."""

import math

import pytest
import torch

from imprior.errors import DataError
from imprior.metrics import nearest as neighbours
from imprior.metrics.frechet import frechet_distance
from imprior.metrics.kernel_distance import kernel_distance, squared_discrepancy
from imprior.metrics.manifold import manifold
from imprior.metrics.nearest import nearest, within

DOUBLE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(n, f, seed=0, dtype=DOUBLE):
    return torch.randn(n, f, generator=rng(seed), dtype=dtype)


def exactly(n, f, mean, covariance, seed=0):
    """n rows whose sample mean and covariance are exactly these."""
    x = draw(n, f, seed)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def test_frechet_of_diagonal_gaussians_is_the_closed_form():
    a, b = torch.tensor([1.0, 4.0, 0.25], dtype=DOUBLE), torch.tensor([9.0, 1.0, 0.25], dtype=DOUBLE)
    m = torch.tensor([1.0, -2.0, 0.5], dtype=DOUBLE)
    x, y = exactly(50, 3, 0 * m, a.diag()), exactly(80, 3, m, b.diag(), seed=1)
    expected = m.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-10)


def test_frechet_of_full_covariances_is_the_trace_formula():
    roots = draw(4, 4, 1), draw(4, 4, 2)
    covariances = [r @ r.T + 0.1 * torch.eye(4, dtype=DOUBLE) for r in roots]
    x, y = (exactly(60, 4, draw(1, 4, 5 + i)[0], c, seed=i) for i, c in enumerate(covariances))
    # (S_x S_y)^½ by the eigenvalues of the product itself, which is not symmetric: another way than the code's.
    values = torch.linalg.eigvals(covariances[0] @ covariances[1]).real
    means = (x.mean(0) - y.mean(0)).square().sum()
    expected = means + covariances[0].trace() + covariances[1].trace() - 2 * values.sqrt().sum()
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-9)


def test_frechet_is_a_symmetric_distance_that_rotation_does_not_change():
    x, y = draw(100, 5), 2 * draw(100, 5, 1) + 1
    rotation = torch.linalg.qr(draw(5, 5, 2))[0]
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-10)
    assert frechet_distance(x @ rotation, y @ rotation) == pytest.approx(frechet_distance(x, y), rel=1e-10)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * frechet_distance(x, y), rel=1e-10)


def test_frechet_survives_features_that_never_change():
    x, y = draw(100, 5), draw(100, 5, 1)
    x[:, 2] = y[:, 2] = 0.7
    kept = [0, 1, 3, 4]
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(x[:, kept], y[:, kept]), rel=1e-8)


def test_frechet_says_how_many_images_it_wants():
    with pytest.raises(DataError, match="64 features wants at least 128 images on either side, there are 127"):
        frechet_distance(draw(500, 64), draw(127, 64))
    frechet_distance(draw(500, 64), draw(128, 64))


def test_discrepancy_is_the_triple_sum():
    x, y = draw(7, 3), draw(5, 3, 1) + 0.5

    def k(a, b):
        return (float(a @ b) / 3 + 1) ** 3

    own_x = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (7 * 6)
    own_y = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / (5 * 4)
    cross = sum(k(a, b) for a in x for b in y) / 35
    assert squared_discrepancy(x, y).item() == pytest.approx(own_x + own_y - 2 * cross, rel=1e-10)


def test_discrepancy_has_no_bias():
    values = torch.stack([squared_discrepancy(draw(6, 2, s), draw(6, 2, 10_000 + s)) for s in range(3000)])
    assert abs(values.mean().item()) < 4 * values.std().item() / math.sqrt(3000)


def test_kernel_distance_averages_disjoint_subsets():
    x, y = draw(200, 4), draw(230, 4, 1) + 0.3
    found = kernel_distance(x, y, rng())
    assert (found.subsets, found.size) == (10, 20)
    again = kernel_distance(x, y, rng())
    assert found == again and found != kernel_distance(x, y, rng(1))
    # E|…|²: with a linear kernel it would be |0.3 · (1,1,1,1)|²/4; of the cubic one the sample says about as much.
    assert found.mean == pytest.approx(squared_discrepancy(x, y).item(), abs=4 * found.standard_error)
    assert (
        abs(kernel_distance(x, draw(200, 4, 2), rng()).mean)
        < 4 * kernel_distance(x, draw(200, 4, 2), rng()).standard_error
    )
    assert kernel_distance(draw(12_000, 2), draw(11_000, 2, 1), rng()).size == 1000
    with pytest.raises(DataError, match="at least 20 images on either side, there are 19"):
        kernel_distance(x, y[:19], rng())


def brute(real, drawn, k):
    """Everything as the papers write it, pair by pair."""
    n = len(real)

    def radius(z, i):
        return sorted(torch.dist(z[i], z[j]).item() for j in range(n) if j != i)[k - 1]

    reach_real, reach_drawn = [radius(real, i) for i in range(n)], [radius(drawn, i) for i in range(n)]
    inside = [[torch.dist(real[i], drawn[j]).item() <= reach_real[i] for i in range(n)] for j in range(n)]
    other = [[torch.dist(real[i], drawn[j]).item() <= reach_drawn[j] for j in range(n)] for i in range(n)]
    precision = sum(any(row) for row in inside) / n
    recall = sum(any(row) for row in other) / n
    density = sum(sum(row) for row in inside) / (k * n)
    coverage = sum(any(inside[j][i] for j in range(n)) for i in range(n)) / n
    return precision, recall, density, coverage


@pytest.mark.parametrize("k", [1, 3])
def test_manifold_is_the_definition(k, monkeypatch):
    real, drawn = draw(40, 3), 0.6 * draw(40, 3, 1) + 0.4
    expected = brute(real, drawn, k)
    for block, others in ((1000, 10_000), (7, 11)):  # in one piece, and in pieces that don't divide 40
        monkeypatch.setattr(neighbours, "BLOCK", block)
        monkeypatch.setattr(neighbours, "OTHERS", others)
        found = manifold(real, drawn, k=k)
        assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected, abs=1e-12)


def test_manifold_of_what_is_the_same_and_of_what_is_apart():
    x = draw(50, 3)
    same = manifold(x, x.clone())
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    apart = manifold(x, x + 100)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0, 0, 0, 0)
    one = manifold(x, x[:1].expand(50, 3) + 1e-6 * draw(50, 3, 1))  # a generator that draws one image only
    assert one.precision == 1 and one.recall <= 0.1 and one.coverage < 0.5


def test_manifold_wants_equal_numbers():
    with pytest.raises(DataError, match="equally many images, not 50 and 40"):
        manifold(draw(50, 3), draw(40, 3))
    with pytest.raises(DataError, match="at least 6 images on either side, there are 5"):
        manifold(draw(5, 3), draw(5, 3))


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("own", [False, True])
def test_nearest_is_a_full_sort(monkeypatch, dtype, own):
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    monkeypatch.setattr(neighbours, "OTHERS", 9)
    x = draw(30, 4, dtype=dtype) + 50
    among = x if own else draw(41, 4, 1, dtype=dtype) + 50
    everything = torch.cdist(x.double(), among.double(), compute_mode="donot_use_mm_for_euclid_dist")
    if own:
        everything.fill_diagonal_(math.inf)
    expected, order = everything.sort(1)
    for k in (1, 5, 12):
        distances, positions = nearest(x, among, k=k, own=own)
        torch.testing.assert_close(distances, expected[:, :k], rtol=1e-12, atol=0)
        assert torch.equal(positions, order[:, :k]) and distances.dtype == DOUBLE


def test_a_copy_is_at_distance_zero():
    among = 100 + draw(2000, 5, dtype=torch.float32)
    distances, positions = nearest(among[700:720], among)
    assert torch.equal(positions[:, 0], torch.arange(700, 720)) and distances.max() == 0


def test_within_includes_the_edge():
    centres, radii = torch.tensor([[0.0], [10.0]], dtype=DOUBLE), torch.tensor([2.0, 1.0], dtype=DOUBLE)
    ((rows, inside),) = within(torch.tensor([[2.0], [2.5], [9.5]], dtype=DOUBLE), centres, radii)
    assert rows == slice(0, 3) and inside.tolist() == [[True, False], [False, False], [False, True]]
