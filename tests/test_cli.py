"""Every command does what its help says, on a model that was trained here; figures equal those of the Python face."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import imprior as package
from conftest import SHORT, SMALL_VAE, Ended
from imprior import runs
from imprior.cli import _output, group

Command = Callable[..., Ended]
HELP = Path(__file__).parents[1] / "docs" / "cli"
NAMES = group.list_commands(click.Context(group))


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_text_is_the_one_in_the_docs(name: str, imprior: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = imprior(*([name] if name else []), "--help")
    kept = HELP / f"{name or 'imprior'}.txt"
    if os.environ.get("IMPRIOR_UPDATE_HELP"):
        runs.write_text(kept, shown.out)
    assert shown.code == 0
    assert shown.out == kept.read_text(encoding="utf-8"), "run `make help-texts` after a change of help"


def test_the_docs_keep_no_help_of_commands_that_are_gone() -> None:
    assert {path.stem for path in HELP.glob("*.txt")} == {"imprior", *NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_command_lines_that_parse(name: str) -> None:
    for example in command(name).examples:  # type: ignore[attr-defined]
        words = shlex.split(example)
        words = words[words.index("imprior") + 1 :]
        verb = command(words[0])
        with verb.make_context(words[0], words[1:]) as context:
            assert context.params


def test_no_command_prints_the_help(imprior: Command) -> None:
    assert imprior().out == imprior("--help").out


def test_reconstruct_draws_three_rows(imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "r.png"
    done = imprior("reconstruct", trained["ae"], "--data", bars, "-n", 5, "-o", out, "--json")
    found = package.reconstruct(trained["ae"], bars, n=5)
    assert done.code == 0
    assert json.loads(done.out)["psnr_db"] == pytest.approx(float(found.psnr_db.mean()), abs=1e-6)
    with Image.open(out) as picture:
        assert picture.mode == "L"
        assert picture.width > 5 * 28 and picture.height > 3 * 28


def test_pictures_in_files_stand_for_a_source(
    imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path
) -> None:
    pixels = np.load(bars)["x_test"][:4]
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    from_files = package.reconstruct(trained["ae"], files)
    assert from_files.psnr_db.tolist() == package.reconstruct(trained["ae"], bars, n=4).psnr_db.tolist()
    assert imprior("interpolate", trained["ae"], *files, "-o", tmp_path / "i.png", "--json").code == 0
    assert imprior("traverse", trained["ae"], files[0], "--unit", 3, "-o", tmp_path / "t.png").code == 0


def test_sample_is_a_function_of_the_seed(imprior: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    pictures = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = tmp_path / f"{name}.png"
        assert imprior("sample", trained["ae"], trained["vae"], "-n", 3, "--seed", seed, "-o", out).code == 0
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_interpolation_ends_at_the_reconstructions(trained: dict[str, Path], bars: Path) -> None:
    walk = package.interpolate(trained["ae"], bars, pairs=2, steps=4)
    ends = package.reconstruct(trained["ae"], bars, n=4).mean
    assert walk.shape == (2, 4, 1, 28, 28)
    assert (walk[:, 0] - ends[0::2]).abs().max() < 1e-5
    assert (walk[:, -1] - ends[1::2]).abs().max() < 1e-5


def test_traversal_passes_through_the_reconstruction(trained: dict[str, Path], bars: Path) -> None:
    rows = package.traverse(trained["vae"], bars, units=2, steps=5)
    assert rows.shape == (2, 5, 1, 28, 28)
    assert (rows[:, 2] - package.reconstruct(trained["vae"], bars, n=1).mean).abs().max() < 1e-5
    assert (rows[0, 0] - rows[0, 4]).abs().max() > 0


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_embed_writes_the_codes(
    suffix: str, imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path
) -> None:
    out, drawn = tmp_path / f"codes.{suffix}", tmp_path / "map.png"
    done = imprior("embed", trained["vae"], "--data", bars, "--limit", 7, "-o", out, "--map", drawn, "--json")
    assert json.loads(done.out)["numbers"] == 4
    x = np.load(bars)["x_test"][:7]
    model = package.load(trained["vae"])
    import torch

    with torch.no_grad():
        codes = model.encode(torch.from_numpy(x)[:, None].float() / 255).numpy()
    if suffix == "npz":
        with np.load(out) as file:
            read, labels = file["codes"], file["labels"]
    else:
        rows = np.genfromtxt(out, delimiter=",", names=True)
        read = np.stack([rows[f"z{i}"] for i in range(4)], axis=1)
        labels = rows["label"]
    assert np.abs(read - codes).max() < 1e-5
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6]
    with Image.open(drawn) as picture:
        assert picture.width > 200


def test_evaluate_gives_figures_with_their_protocol(imprior: Command, trained: dict[str, Path], bars: Path) -> None:
    done = imprior("evaluate", trained["vae"], "--data", bars, "--samples", 20, "--json")
    found = json.loads(done.out)
    assert {"nats", "bits_per_dim", "standard_error", "protocol"} <= set(found)
    assert found["bits_per_dim"] == pytest.approx(found["nats"] / 784 / math.log(2))
    assert found["protocol"]["samples"] == 20 and found["n"] == 60
    assert found == package.evaluate(trained["vae"], bars, samples=20).record()
    text = imprior("evaluate", trained["vae"], "--data", bars, "--limit", 10)
    assert "nats" in text.out and text.err == ""


def test_denoisers_are_judged_at_the_noise_they_were_trained_for(trained: dict[str, Path], bars: Path) -> None:
    found = package.evaluate(trained["dae"], bars, limit=20).record()
    assert found["protocol"]["corruption"]["low"] == 0.5
    assert found["denoised_db"] > found["corrupted_db"]


def test_denoisers_are_judged_at_the_noise_that_is_asked_for(imprior: Command, bars: Path) -> None:
    done = imprior("evaluate", "total-variation", "--data", bars, "--sigma", 25, "--limit", 5, "--json")
    assert json.loads(done.out)["protocol"]["corruption"]["low"] == pytest.approx(25 / 255)
    refused = imprior("evaluate", "total-variation", "--data", bars)
    assert refused.code == 2 and "--sigma" in refused.err


def test_compare_takes_recorded_or_fresh_figures(
    imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path
) -> None:
    both = [trained["ae"], trained["dae"]]
    plot, page = tmp_path / "curves.svg", tmp_path / "page.html"
    done = imprior("compare", *both, "--data", bars, "--plot", plot, "--html", page, "--json")
    (column,) = [c for c in json.loads(done.out)["columns"] if c["quantity"] == "psnr_db"]
    assert set(column["rows"]) == {str(path) for path in both}
    assert len(column["paired"]) == 1
    assert plot.read_text().startswith("<?xml")
    assert "http" not in page.read_text().replace("http://www.w3.org", "").replace("http-equiv", "")

    assert "--record" in imprior("compare", *both).line
    for run in both:
        assert imprior("evaluate", run, "--data", bars, "--record", "--json").code == 0
    recorded = json.loads(imprior("compare", *both, "--json").out)
    (again,) = [c for c in recorded["columns"] if c["quantity"] == "psnr_db"]
    assert again["rows"] == column["rows"] and again["paired"] == []


def test_probe_compares_codes_with_pixels_and_components(
    imprior: Command, trained: dict[str, Path], bars: Path
) -> None:
    rows = json.loads(imprior("probe", trained["vae"], "--data", bars, "--per-class", "5,10", "--json").out)["rows"]
    assert {(row["representation"], row["per_class"]) for row in rows} == {
        (name, size) for name in ("codes", "pixels", "pca") for size in (5, 10)
    }
    assert next(row for row in rows if row["representation"] == "pixels")["mean"] > 0.9


def test_tune_tries_every_cell_on_every_fold(imprior: Command, bars: Path, tmp_path: Path) -> None:
    given = ["tune", "mnist-ae", *SHORT, "training.images=640", "--data", bars, "--out", tmp_path / "grid"]
    given += ["--grid", "model.latent=2,8", "--folds", 2, "--criterion", "psnr", "--json"]
    found = json.loads(imprior(*given).out)
    assert [cell["settings"] for cell in found["cells"]] == [{"model.latent": "2"}, {"model.latent": "8"}]
    assert all(len(cell["values"]) == 2 for cell in found["cells"])


def test_rd_curve_measures_models_beside_codecs(
    imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rd.png"
    given = ["rd-curve", bars, "--models", trained["ae"], "--codecs", "png,huffman", "--mode", "set", "--limit", 10]
    found = json.loads(imprior(*given, "-o", out, "--json").out)
    lossless = {point["codec"] for point in found["points"] if point["lossless"]}
    assert lossless == {"png", "huffman"}
    assert {point["codec"] for point in found["points"]} == lossless | {str(trained["ae"])}
    assert out.stat().st_size > 1000


def test_rd_curve_of_pictures_of_different_sizes_as_a_page(
    imprior: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, form in (("a", (20, 30, 3)), ("b", (30, 20, 3))):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, form, np.uint8)).save(tmp_path / f"{name}.png")
    page = tmp_path / "rd.html"
    given = ["rd-curve", tmp_path, "--codecs", "png,jpeg", "--report", page]
    done = imprior(*given, "--json")
    assert done.code == 0 and json.loads(done.out)["protocol"]["shape"] == [3, None, None]
    text = page.read_text()
    assert "A file for each image" in text and "quality 85" in text and "data:image/svg" in text
    assert "--mode image" in imprior(*given, "--mode", "both").line
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "grey.png")
    assert json.loads(imprior(*given, "--json").out)["protocol"]["images"] == 3
    monkeypatch.setattr(runs, "embedded", dict)
    assert "photo-codec" in imprior("rd-curve", tmp_path, "--codecs", "imprior", "--mode", "image").line


def test_train_takes_overrides_and_says_what_it_did(imprior: Command, bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = imprior("train", "mnist-vae", *SMALL_VAE, *SHORT, "objective.beta=4", "--seed", 7, "--data", bars, "-o", out,
                   "--json")  # fmt: skip
    card = json.loads(done.out)
    assert card["training"]["images"] == 1920 and card["run"] == str(out)
    settings = package.info(out)["settings"]
    assert (settings["training.objective.beta"], settings["seed"], settings["model.latent"]) == (4.0, 7, 4)
    assert "objective.beta=4" in imprior("info", out).out


def test_a_finished_run_resumes_to_itself_without_its_overrides(imprior: Command, bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert imprior("train", "mnist-ae", *SHORT, "model.latent=3", "--data", bars, "-o", out).code == 0
    weights = (out / "weights.safetensors").read_bytes()
    assert imprior("train", "mnist-ae", "--data", bars, "-o", out, "--resume").code == 0
    assert (out / "weights.safetensors").read_bytes() == weights


def test_init_begins_with_the_weights_of_another_run(
    imprior: Command, trained: dict[str, Path], bars: Path, tmp_path: Path
) -> None:
    losses = {}
    for name, more in (("cold", []), ("warm", ["--init", trained["ae"]])):
        out = tmp_path / name
        assert imprior("train", "mnist-ae", "training.images=64", "training.batch=64", "--data", bars, "-o", out,
                       *more).code == 0  # fmt: skip
        losses[name] = runs.Run(out).log()[0]["loss"]
    assert losses["warm"] < 0.8 * losses["cold"]


def test_dry_run_shows_settings_and_sizes_and_writes_nothing(imprior: Command, bars: Path, tmp_path: Path) -> None:
    shown = imprior("train", "mnist-ae", "model.latent=3", "--data", bars, "--out", tmp_path / "run", "--dry-run")
    assert "model.latent=3" in shown.out.splitlines() and "model.shape=1,28,28" in shown.out.splitlines()
    assert not (tmp_path / "run").exists()
    plan = json.loads(imprior("train", "mnist-ae", "--dry-run", "--json").out)
    assert plan["settings"]["model.latent"] == 128


def test_settings_are_shown_as_they_are_typed(imprior: Command) -> None:
    shown = imprior("train", "mnist-vae", "--dry-run").out.splitlines()
    keys = [line for line in shown if "=" in line and not line.startswith(("name=", "version="))]
    again = imprior("train", "mnist-vae", *keys, "--dry-run")
    assert again.out.splitlines() == shown


def test_data_says_what_is_there(imprior: Command, bars: Path) -> None:
    found = json.loads(imprior("data", bars, "--json").out)
    assert "300" in json.dumps(found) and "60" in json.dumps(found)
    assert imprior("data", bars).code == 0


def test_recipes_and_models_are_listed(imprior: Command) -> None:
    recipes = {entry["name"]: entry["about"] for entry in json.loads(imprior("recipes", "--json").out)["recipes"]}
    assert recipes == package.list_recipes() and "mnist-vae" in recipes
    models = json.loads(imprior("models", "--json").out)["models"]
    assert {model["name"] for model in models} == set(runs.embedded())
    for model in models:
        assert {"name", "family", "promises", "data", "space", "figures"} <= set(model)
        assert model["name"] in imprior("models").out


def test_pictures_are_corrupted_and_cleaned(imprior: Command, tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    clean, noisy, back = (tmp_path / f"{name}.png" for name in ("clean", "noisy", "back"))
    Image.fromarray(np.stack([smooth, smooth // 2, 255 - smooth], axis=2)).save(clean)
    assert imprior("corrupt", clean, "-o", noisy, "--amount", 20).code == 0
    assert imprior("denoise", noisy, "-o", back, "--sigma", 20).code == 0
    x, y, z = (np.asarray(Image.open(path)).astype(float) for path in (clean, noisy, back))
    assert 17 < (y - x).std() < 21  # a little is lost where levels end
    assert (z - x).std() < 0.5 * (y - x).std()
    assert (package.corrupt(x.astype(np.uint8), amount=20) == y).all()


def test_folders_of_pictures_keep_their_shape(imprior: Command, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    pixels = np.full((16, 16), 100, np.uint8)
    for name in ("a.png", "deep/b.jpg"):
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    done = imprior("corrupt", tmp_path / "in", "-o", tmp_path / "out", "--kind", "masking", "--amount", 0.5, "--json")
    assert len(json.loads(done.out)["done"]) == 2
    masked = [np.asarray(Image.open(tmp_path / "out" / name)) for name in ("a.png", "deep/b.png")]
    assert all(0 < (one == 0).mean() < 1 for one in masked)
    assert (masked[0] != masked[1]).any(), "each picture has its own draws"


def test_what_can_be_done_of_several_pictures_is_done(imprior: Command, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(good)
    bad.write_text("no picture")
    done = imprior("corrupt", good, bad, "-o", tmp_path / "out", "--json")
    assert done.code == 3
    assert [entry["input"] for entry in json.loads(done.out)["failed"]] == [str(bad)]
    assert (tmp_path / "out" / "good.png").is_file() and not (tmp_path / "out" / "bad.png").exists()
    assert done.err.count("imprior: error: ") == 2 and str(bad) in done.err


def test_what_json_does_not_know_becomes_null(capsys: pytest.CaptureFixture[str]) -> None:
    _output.emit({"a": math.inf, "b": [math.nan, 1.5], "c": {"d": Path("x")}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": "x"}}


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 14.0, 16.0, 17.0, 32.0])
    monkeypatch.setattr(_output.time, "monotonic", lambda: next(clock))
    with _output.progress("working") as update:
        for done in range(1, 6):
            update(done, 5, "well" if done == 3 else "")
    shown = capsys.readouterr()
    assert shown.err.splitlines() == ["working: 3 of 5  well", "working: 5 of 5  well"]
    assert shown.out == ""


def test_a_bar_is_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_output.sys.stderr, "isatty", lambda: True)
    with _output.progress("working") as update:
        update(5, 5, "well")
    shown = capsys.readouterr()
    assert "working" in shown.err and "5/5" in shown.err and "well" in shown.err
    assert shown.out == ""
