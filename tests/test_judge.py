"""Blind pairs: sides and order are drawn, nothing tells, and votes give the preference that they should."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import imprior as package
from conftest import Ended
from imprior.errors import DataError
from imprior.report import judging
from imprior.tasks import judge
from toys import Identity, LinearGaussian

Command = Callable[..., Ended]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def makers(**levels: float) -> dict[str, torch.Tensor]:
    """Each maker's images: its level, and in the corner which image of its own it is."""
    made = {}
    for name, level in levels.items():
        made[name] = torch.full((200, 1, 2, 2), level)
        made[name][:, 0, 0, 0] = torch.arange(200) / 255
    return made


def test_every_two_meet_n_times_and_no_image_is_shown_twice() -> None:
    pairs = judge.run(makers(a=0.2, b=0.5, c=0.9), 40, rng=rng())
    assert Counter(frozenset((p.left_maker, p.right_maker)) for p in pairs) == dict.fromkeys(
        map(frozenset, ({"a", "b"}, {"a", "c"}, {"b", "c"})), 40
    )
    shown = [(name, int(image[0, 0, 0] * 255 + 0.5)) for p in pairs for name, image in
             ((p.left_maker, p.left), (p.right_maker, p.right))]  # fmt: skip
    assert len(set(shown)) == len(shown) == 240
    level = {"a": 0.2, "b": 0.5, "c": 0.9}
    assert all(p.left[0, 1, 1] == torch.tensor(level[p.left_maker]) for p in pairs)
    assert all(p.right[0, 1, 1] == torch.tensor(level[p.right_maker]) for p in pairs)


def test_sides_and_order_are_drawn_by_the_seed() -> None:
    def sides(seed: int) -> list[str]:
        return [p.left_maker for p in judge.run(makers(a=0.2, b=0.5), 200, rng=rng(seed))]

    assert sides(0) == sides(0) != sides(1)
    assert 70 < sides(0).count("a") < 130  # 100 ± 4 standard deviations
    three = [frozenset((p.left_maker, p.right_maker)) for p in judge.run(makers(a=0, b=0.1, c=0.2), 50, rng=rng())]
    assert len(set(three[:20])) == 3, "the pairs of all makers are mixed"


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(DataError, match="two different models"):
        judge.run(makers(a=0.2), 10, rng=rng())
    with pytest.raises(DataError, match="201 images of a, and there are 200"):
        judge.run(makers(a=0.2, b=0.3), 201, rng=rng())
    with pytest.raises(DataError, match="1 x 2 x 2, of b 1 x 2 x 3: the size would tell"):
        judge.run({"a": torch.zeros(9, 1, 2, 2), "b": torch.zeros(9, 1, 2, 3)}, 5, rng=rng())


def test_the_seal_is_unreadable_at_a_glance_and_can_be_undone() -> None:
    pairs = judge.run(makers(alpha=0.2, beta=0.5), 30, rng=rng())
    sealed = judge.seal(pairs)
    assert "alpha" not in sealed and "left" not in sealed
    assert judge.unseal(sealed) == [(p.left_maker, p.right_maker) for p in pairs]
    for damaged in ("", "hello", sealed[:-8], base64.b64encode(b"hello").decode()):
        with pytest.raises(DataError, match="damaged"):
            judge.unseal(damaged)


@pytest.mark.parametrize("seed", range(3))
def test_votes_for_the_better_maker_are_counted_on_either_side(seed: int) -> None:
    pairs = judge.run(makers(a=0.2, b=0.5, c=0.9), 30, rng=rng(seed))
    sides = judge.unseal(judge.seal(pairs))
    votes = ["left" if p.left.mean() > p.right.mean() else "right" for p in pairs]
    found = {(p.first, p.second): p for p in judge.tally([(sides, votes)]).preferences}
    assert {pair: (p.first_wins, p.second_wins) for pair, p in found.items()} == {
        ("a", "b"): (0, 30), ("a", "c"): (0, 30), ("b", "c"): (0, 30)
    }  # fmt: skip
    assert found["a", "b"].record()["preferred"] == "b"
    twice = judge.tally([(sides, votes), (sides, votes)])
    assert [p.second_wins for p in twice.preferences] == [60, 60, 60]


def test_ties_skips_and_open_pairs_are_counted_and_do_not_decide() -> None:
    sides = [("b", "a")] * 6
    found = judge.tally([(sides, ["left", "right", "left", "tie", "skip"])])
    (one,) = found.preferences
    assert (one.first, one.first_wins, one.second_wins, one.ties, one.skips) == ("a", 1, 2, 1, 1)
    assert one.share == pytest.approx(1 / 3) and (found.left, found.right, found.open) == (2, 1, 1)
    assert one.record()["preferred"] is None
    nothing = judge.tally([(sides, ["tie"] * 6)]).preferences[0]
    assert nothing.share is None and nothing.interval is None and json.dumps(nothing.record())


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (3, 10), (25, 50), (499, 500), (7, 7)])
def test_the_interval_is_wilsons(k: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    want = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert judge.wilson(k, n) == pytest.approx((want.low, want.high), abs=1e-12)


def test_the_interval_solves_its_equation() -> None:
    """Its ends are the p for which |p̂ - p| is z standard deviations under p itself."""
    for end in judge.wilson(13, 40):
        assert abs(13 / 40 - end) == pytest.approx(judge.Z * (end * (1 - end) / 40) ** 0.5, rel=1e-9)


def test_what_holds_no_votes_is_refused() -> None:
    sealed = judge.seal(judge.run(makers(a=0.2, b=0.5), 3, rng=rng()))
    good = {"format": judge.FORMAT, "truth": sealed, "votes": ["left", "tie"]}
    assert judge.read_votes(json.dumps(good), "v")[1] == ["left", "tie"]
    for text in ("", "[]", "{}", json.dumps(good | {"format": "other"})):
        with pytest.raises(DataError, match=r"v\.json: no votes"):
            judge.read_votes(text, "v.json")
    for change in ({"votes": ["up"]}, {"votes": ["left"] * 4}, {"votes": None}, {"truth": 3}, {"truth": sealed[4:]}):
        with pytest.raises(DataError, match=r"v\.json: .*damaged"):
            judge.read_votes(json.dumps(good | change), "v.json")


# The page.


class Parts(HTMLParser):
    """Scripts, and every attribute that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.policy = ""
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.links += [given[k] or "" for k in ("src", "href", "srcset", "action", "data") if k in given]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data


@pytest.fixture
def made() -> tuple[list[judge.Pair], str]:
    pairs = judge.run(makers(alpha=0.2, beta=0.5), 12, rng=rng())
    return pairs, package.judging_page(pairs)


def test_the_page_holds_all_images_and_loads_nothing(made: tuple[list[judge.Pair], str]) -> None:
    pairs, text = made
    parts = Parts(text)
    assert parts.links == [] and not re.search(r"https?://|@import|url\(", text)
    trial = json.loads(parts.scripts[0])
    assert len(trial["pairs"]) == 12
    for (left, right), pair in zip(trial["pairs"], pairs, strict=True):
        for uri, image in ((left, pair.left), (right, pair.right)):
            png = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
            assert (np.asarray(png) == np.rint(255 * image[0].numpy())).all()


def test_the_page_names_no_maker(made: tuple[list[judge.Pair], str]) -> None:
    assert "alpha" not in made[1] and "beta" not in made[1]
    assert "unreadable at a glance and no better" in made[1], "and it says that this is no secret"


def test_only_the_pages_own_script_may_run(made: tuple[list[judge.Pair], str]) -> None:
    parts = Parts(made[1])
    (allowed,) = re.findall(r"script-src '([^']*)'", parts.policy)
    assert "default-src 'none'" in parts.policy and len(parts.scripts) == 2
    assert allowed == "sha256-" + base64.b64encode(hashlib.sha256(parts.scripts[1].encode()).digest()).decode()


# A page without a browser: what the script asks of one, and no more.
BROWSER = """
const elements = {}, listeners = {}, files = [];
const element = () => ({listeners: {}, addEventListener(kind, act) { this.listeners[kind] = act; },
                        click() { if (this.listeners.click) this.listeners.click(); }});
globalThis.document = {getElementById: (id) => elements[id] ??= element(), createElement: element,
                       addEventListener: (kind, act) => { listeners[kind] = act; }};
globalThis.localStorage = {kept: {}, getItem(key) { return this.kept[key] ?? null; },
                           setItem(key, value) { this.kept[key] = value; }};
globalThis.Blob = class { constructor(parts) { files.push(parts.join("")); } };
globalThis.URL.createObjectURL = () => "blob:1";
document.getElementById("trial").textContent = TRIAL;
const press = (key) => listeners.keydown({key, preventDefault() {}});
"""
PRESSED = """
press("ArrowLeft"); press("ArrowRight"); press("u"); press("ArrowDown"); elements.right.click(); press("s"); press("x");
elements.save.click();
const at = elements.progress.value, shown = elements["left-image"].src;
press("ArrowLeft"); press("ArrowLeft");
console.log(JSON.stringify({file: JSON.parse(files[0]), at, shown, over: !elements.over.hidden,
                            kept: Object.values(localStorage.kept)[0]}));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="runs the page's script")
def test_keys_and_buttons_vote_undo_and_save(tmp_path: Path) -> None:
    pairs = judge.run(makers(a=0.2, b=0.5), 5, rng=rng())
    text = package.judging_page(pairs)
    trial = Parts(text).scripts[0]
    program = BROWSER.replace("TRIAL", json.dumps(trial)) + judging.SCRIPT.replace('"use strict";', "") + PRESSED
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["file"]["votes"] == ["left", "tie", "right", "skip"] and said["at"] == 4
    assert said["shown"] == json.loads(trial)["pairs"][4][0]
    assert said["over"] and json.loads(said["kept"]) == ["left", "tie", "right", "skip", "left"]
    sides, votes = judge.read_votes(json.dumps(said["file"]), "votes.json")
    assert sides == [(p.left_maker, p.right_maker) for p in pairs] and len(votes) == 4


# Face and command.


def test_models_and_real_images_meet() -> None:
    real = torch.rand(40, 1, 3, 3)
    pairs = package.judge([LinearGaussian(), Identity()], n=8, real=real, seed=3)
    assert {name for p in pairs for name in (p.left_maker, p.right_maker)} == {
        "LinearGaussian", "Identity", "real images"
    }  # fmt: skip
    assert all((image == real).flatten(1).all(1).any() for p in pairs for name, image in
               ((p.left_maker, p.left), (p.right_maker, p.right)) if name == "real images")  # fmt: skip
    with pytest.raises(DataError, match="named twice"):
        package.judge([Identity(), Identity()])
    with pytest.raises(DataError, match="two different models"):
        package.judge([Identity()])


def test_the_command_makes_a_page_and_counts_its_votes(imprior: Command, bars: Path, tmp_path: Path) -> None:
    out, votes = tmp_path / "page.html", tmp_path / "votes.json"
    done = imprior("judge", "mnist-ae", "mnist-vae", "--real", bars, "-n", 4, "-o", out, "--json")
    assert json.loads(done.out)["pairs"] == 12
    trial = json.loads(Parts(out.read_text()).scripts[0])
    votes.write_text(json.dumps({"format": trial["format"], "truth": trial["truth"], "votes": ["left"] * 12}))
    found = json.loads(imprior("judge", "--votes", votes, "--json").out)
    assert len(found["preferences"]) == 3 and found["sides"] == {"left": 12, "right": 0}
    assert all(one["first_wins"] + one["second_wins"] == 4 for one in found["preferences"])
    shown = imprior("judge", "--votes", votes, "--votes", votes)
    assert "Wilson" in shown.out and "real images" in shown.out


def test_the_command_refuses_in_one_line(imprior: Command, tmp_path: Path) -> None:
    page, other = tmp_path / "page.html", tmp_path / "other.json"
    other.write_text("{}")
    for args, word in (
        (["judge"], "two models"),
        (["judge", "mnist-ae", "-o", page], "--real"),
        (["judge", "mnist-ae", "mnist-vae"], "-o"),
        (["judge", "mnist-ae", "mnist-ae", "-o", page], "named twice"),
        (["judge", "mnist-ae", "--votes", other], "no page"),
        (["judge", "--votes", other], "no votes"),
        (["judge", "--votes", tmp_path / "none.json"], "No such file"),
        (["judge", "mnist-ae", "--real", tmp_path / "none", "-o", page], "none"),
    ):
        ended = imprior(*args)
        assert ended.code == 2 and word in ended.line, ended.err
    assert not page.exists()
