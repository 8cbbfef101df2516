"""The run folder: files are whole or absent, and what is not ours is refused in one line."""

import os

import pytest
import torch

from imprior import runs
from imprior.errors import RunError


def test_a_failed_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "a.txt"
    runs.write_text(path, "before")

    def fail():
        with runs.replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, os.strerror(28))

    with pytest.raises(RunError, match="No space left"):
        fail()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can't write") as error:
        runs.write_text(tmp_path / "file" / "below", "text")
    assert "\n" not in str(error.value)


def test_tensors_and_metadata_come_back(tmp_path):
    tensors = {"a": torch.randn(3, 4).T, "b": torch.tensor(7, dtype=torch.int32), "c": torch.ones(2).half()}
    runs.write_tensors(tmp_path / "w.safetensors", tensors, {"step": 3, "best": float("inf")})
    back, metadata = runs.read_tensors(tmp_path / "w.safetensors")
    assert metadata == {"step": 3, "best": float("inf")}
    assert all(torch.equal(back[k], v) and back[k].dtype == v.dtype for k, v in tensors.items())


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_truncated_tensors_are_refused(tmp_path, keep):
    path = tmp_path / "w.safetensors"
    runs.write_tensors(path, {"a": torch.randn(30)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match="truncated") as error:
        runs.read_tensors(path)
    assert "\n" not in str(error.value)


def test_the_log_loses_what_a_kill_left_beyond_the_state(tmp_path):
    run = runs.Run(tmp_path)
    for images in (100, 200, 300):
        run.append({"images": images})
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"images": 4')
    run.truncate_log(200)
    assert [line["images"] for line in run.log()] == [100, 200]


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(RunError, match="no embedded model"):
        runs.find(tmp_path / "nothing")
    with pytest.raises(RunError, match=r"recipe\.json is missing"):
        runs.find(tmp_path)
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        runs.find(tmp_path).read("recipe.json")
