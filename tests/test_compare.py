"""Figures share a column only where they were measured in the same way; differences are paired by image."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from imprior.data.batches import Images
from imprior.data.settings import Corruption
from imprior.errors import DataError
from imprior.promises import Score
from imprior.tasks import compare, evaluate
from toys import BernoulliVae, LinearGaussian, Pixels, Shrinkage


def grey(count: int = 60, seed: int = 0) -> Images:
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 3, 3), generator=rng, dtype=torch.uint8)
    return Images(pixels, None, (), f"grey-{count}-{seed}")


class Shifted(Pixels):
    """Worse than `Pixels` by a number of nats that is the same for every image, give or take `wobble`."""

    def __init__(self, by: float, wobble: float = 0.0) -> None:
        super().__init__()
        self.by, self.wobble = by, wobble

    def score(self, x: Tensor, labels: Any = None, samples: int = 1, rng: Any = None) -> Score:
        nats = super().score(x).nats
        return Score(nats + self.by + self.wobble * x.flatten(1).sum(1), "exact", "binary", "exact")


def columns(table: compare.Table, quantity: str) -> list[int]:
    return [i for i, column in enumerate(table.columns) if column.quantity == quantity]


def rows(table: compare.Table, column: int) -> set[str]:
    return {table.names[row] for row, col in table.cells if col == column}


def test_figures_of_one_protocol_share_a_column() -> None:
    table = compare.run({"a": evaluate.run(Pixels(), grey()), "b": evaluate.run(Shifted(1.0), grey())})
    (nats,) = columns(table, "nats")
    assert rows(table, nats) == {"a", "b"} and table.best(nats) == "a"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"samples": 1}, {"samples": 50}),
        ({"seed": 0}, {"seed": 1}),
        ({"limit": 60}, {"limit": 59}),
    ],
    ids=["samples", "bits", "images"],
)
def test_figures_of_different_protocols_never_share_a_column(one: dict[str, Any], two: dict[str, Any]) -> None:
    toy = BernoulliVae()
    table = compare.run({"a": evaluate.run(toy, grey(), **one), "b": evaluate.run(toy, grey(), **two)})
    for quantity in ("nats", "bits_per_dim"):
        assert [rows(table, i) for i in columns(table, quantity)] == [{"a"}, {"b"}]
    assert not any(table.columns[d.column].quantity == "nats" for d in table.differences)


def test_binarized_and_binary_data_of_equal_size_are_kept_apart() -> None:
    """Thresholded digits are another, easier data set, also when the numbers of images agree."""
    bits = Images((grey().pixels > 127).to(torch.uint8) * 255, None, (), "threshold")  # type: ignore[operator]
    table = compare.run({"dynamic": evaluate.run(Pixels(), grey()), "threshold": evaluate.run(Pixels(), bits)})
    assert [rows(table, i) for i in columns(table, "nats")] == [{"dynamic"}, {"threshold"}]


def test_spaces_are_kept_apart() -> None:
    table = compare.run({"bits": evaluate.run(Pixels(), grey()), "density": evaluate.run(LinearGaussian(), grey())})
    assert [rows(table, i) for i in columns(table, "nats")] == [{"bits"}, {"density"}]
    assert [rows(table, i) for i in columns(table, "bits_per_dim")] == [{"bits"}, {"density"}]


def test_dequantisation_is_part_of_the_protocol() -> None:
    record = evaluate.run(LinearGaussian(), grey()).record()
    other = record | {"protocol": record["protocol"] | {"dequantisation": "variational"}}
    table = compare.run({"uniform": record, "variational": other})
    assert len(columns(table, "nats")) == 2


def test_corruptions_are_kept_apart() -> None:
    strengths = {"weak": Corruption("gaussian", 0.1, 0.1), "strong": Corruption("gaussian", 0.3, 0.3)}
    table = compare.run({name: evaluate.run(Shrinkage(), grey(), corruption=c) for name, c in strengths.items()})
    assert [rows(table, i) for i in columns(table, "denoised_db")] == [{"weak"}, {"strong"}]


def test_an_exact_score_joins_the_bounds_on_the_same_bits() -> None:
    """It is the value of its bound at any number of samples; a bound is marked as one."""
    toy = BernoulliVae()
    given = {"exact": evaluate.run(Pixels(), grey())}
    given |= {f"bound-{k}": evaluate.run(toy, grey(), samples=k) for k in (1, 20)}
    table = compare.run(given)
    assert [rows(table, i) for i in columns(table, "nats")] == [{"exact", "bound-1"}, {"exact", "bound-20"}]
    first = columns(table, "nats")[0]
    assert table.cells[1, first].text(2).startswith("≤ ") and not table.cells[0, first].text(2).startswith("≤")


def test_paired_differences_are_far_tighter_than_the_means() -> None:
    a, b = evaluate.run(Pixels(), grey()), evaluate.run(Shifted(0.5, wobble=0.01), grey())
    table = compare.run({"b": b, "a": a})
    nats = columns(table, "nats")[0]
    (difference,) = table.of(nats)
    assert (difference.model, difference.best) == ("b", "a")
    assert a.likelihood is not None and b.likelihood is not None
    gap = b.likelihood.nats - a.likelihood.nats
    assert difference.mean == pytest.approx(float(gap.mean()))
    assert difference.standard_error == pytest.approx(float(gap.std()) / math.sqrt(60))
    error = table.cells[0, nats].standard_error
    assert error is not None and difference.standard_error is not None and difference.standard_error < error / 10


def test_higher_is_better_for_psnr() -> None:
    noise = Corruption("gaussian", 0.1, 0.1)
    models = {"good": Shrinkage(0.25), "lazy": Shrinkage(1e6)}
    table = compare.run({name: evaluate.run(model, grey(), corruption=noise) for name, model in models.items()})
    (psnr,) = columns(table, "denoised_db")
    assert table.best(psnr) == "good" and table.of(psnr)[0].mean < 0


def test_records_read_from_files_compare_as_evaluations_do_but_unpaired() -> None:
    given = {"a": evaluate.run(Pixels(), grey()), "b": evaluate.run(Shifted(1.0), grey())}
    stored = {name: json.loads(json.dumps(e.record())) for name, e in given.items()}
    assert compare.run(stored).columns == compare.run(given).columns
    assert compare.run(stored).cells == compare.run(given).cells
    assert compare.run(stored).differences == ()


def test_a_record_without_its_protocol_is_refused() -> None:
    record = evaluate.run(Pixels(), grey()).record()
    without = record | {"protocol": {k: v for k, v in record["protocol"].items() if k != "sha256"}}
    with pytest.raises(DataError, match=r"old: .*sha256 missing"):
        compare.run({"new": record, "old": without})


def test_models_without_a_common_figure_stand_in_one_table() -> None:
    table = compare.run({"pixels": evaluate.run(Pixels(), grey()), "nothing": {}})
    assert table.best(0) is None and "| nothing | – |" in table.markdown()


def test_the_table_reads_and_is_json() -> None:
    table = compare.run({"a": evaluate.run(Pixels(), grey()), "b": evaluate.run(Shifted(1.25), grey())})
    text = table.markdown()
    lines = text.splitlines()
    assert lines[0].startswith("| model | nats [1] |") and lines[2].startswith("| a |")
    assert "lower is better" in text and "dynamic binarization" in text and "60 images" in text
    assert "| b - a | [1] | +1.250 | 0.000 |" in lines
    record = table.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["columns"][0]["best"] == "a" and record["columns"][0]["paired"][0]["mean"] == pytest.approx(1.25)
