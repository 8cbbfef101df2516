"""Grids keep every pixel where it belongs; plots are files of their kind; pages are whole, escaped and offline."""

import io
import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from imprior.errors import ImpriorError, MissingExtraError
from imprior.report import figures, grid, page


def levels(*shape, seed=0):
    """Random 8-bit levels k / 255."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).float() / 255


# --- grids


def test_every_level_is_shown_as_itself():
    x = (torch.arange(256).float() / 255).reshape(1, 16, 16)
    assert np.array_equal(np.asarray(grid.picture(x)).reshape(-1), np.arange(256))


def test_what_leaves_the_unit_interval_is_clipped():
    shown = np.asarray(grid.picture(torch.tensor([[[-0.5, 1.5]]])))
    assert shown.tolist() == [[0, 255]]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_stands_in_its_row_and_column_enlarged_pixel_by_pixel(channels):
    a, b = levels(3, channels, 5, 4, seed=1), levels(2, channels, 5, 4, seed=2)
    shown = np.asarray(grid.rows([a, b], scale=3, gap=2))
    for down, row in enumerate((a, b)):
        for right, image in enumerate(row):
            top, left = 2 + down * (15 + 2), 2 + right * (12 + 2)
            cell = shown[top : top + 15, left : left + 12]
            expected = np.asarray(grid.picture(image)).repeat(3, 0).repeat(3, 1)
            assert np.array_equal(cell, expected)
    assert shown.shape[:2] == (2 + 2 * 17, 2 + 3 * 14)
    assert (shown[:2] == 255).all() and (shown[:, :2] == 255).all()  # white around
    assert (shown[19:, 30:] == 255).all()  # and where the shorter row has no image


def test_smaller_images_of_another_row_fill_their_cell_by_a_whole_factor():
    large, small = levels(1, 1, 8, 8), levels(1, 1, 3, 4)
    shown = np.asarray(grid.rows([large, small], scale=1, gap=0))
    doubled = np.asarray(grid.picture(small[0])).repeat(2, 0).repeat(2, 1)  # 6x8 in a cell of 8x8
    assert np.array_equal(shown[9:15], doubled)


def test_grey_among_colour_is_grey_in_all_channels():
    shown = np.asarray(grid.rows([levels(1, 3, 4, 4), levels(1, 1, 4, 4)], scale=1, gap=0))
    assert shown.shape == (8, 4, 3)
    assert (shown[4:] == shown[4:, :, :1]).all()


def test_captions_add_a_margin_and_leave_the_images_alone():
    x = levels(2, 1, 28, 28)
    bare, labelled = grid.rows([x]), grid.rows([x], captions=["clean"], columns=["a", "b"])
    right = np.asarray(labelled)[:, -bare.width :]
    assert labelled.width > bare.width and labelled.height > bare.height
    assert np.array_equal(right[-bare.height :], np.asarray(bare))
    assert (np.asarray(labelled)[:, : -bare.width] < 128).any()  # there is text in the margin


def test_a_block_is_about_square_and_keeps_the_order():
    x = levels(7, 1, 2, 2)
    shown = np.asarray(grid.wrapped(x, scale=1, gap=0))
    assert shown.shape == (6, 6)
    assert np.array_equal(shown[4:, :2], np.asarray(grid.picture(x[6])))


def test_small_images_are_enlarged_and_large_ones_are_not():
    assert grid.rows([levels(1, 1, 8, 8)], gap=0).size == (56, 56)
    assert grid.rows([levels(1, 3, 200, 100)], gap=0).size == (100, 200)


def test_a_picture_file_gives_the_pixels_back():
    drawn = grid.wrapped(levels(4, 3, 5, 5))
    data = grid.encoded(drawn, "some/where.PNG")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(drawn))
    with pytest.raises(ImpriorError, match=r"'\.docx' is no picture format"):
        grid.encoded(drawn, "picture.docx")


# --- plots


def log_of(n):
    return [
        {"images": 100 * i, "step": i, "loss": 90 + 300 / i, "kl": 20.0, "rate": 1e-3, "gradient_norm": 5.0 / i}
        | ({"validation": 95 + 300 / i} if i % 5 == 0 else {})
        for i in range(1, n + 1)
    ]


PLOTS = {
    "curves": lambda kind: figures.curves(log_of(40), title="a run", kind=kind),
    "curves of one line": lambda kind: figures.curves(log_of(1), kind=kind),
    "curves of a fit": lambda kind: figures.curves([{"images": 9, "passes": 1, "loss": 3.0}], kind=kind),
    "map": lambda kind: figures.latent_map(torch.randn(50, 2), torch.arange(50) % 3, classes=["a", "b"], kind=kind),
    "map without labels": lambda kind: figures.latent_map(torch.randn(50, 2), kind=kind),
    "rate": lambda kind: figures.rate_distortion(
        [figures.RatePoints("lossy", [0.5, 0.1], [30.0, 20.0]), figures.RatePoints("png", [3.0], [math.inf])],
        kind=kind,
    ),
    "only lossless": lambda kind: figures.rate_distortion([figures.RatePoints("png", [3.0], [math.inf])], kind=kind),
    "lines": lambda kind: figures.lines(
        [figures.Series("a", [4, 8, 16], [3, 2, 1], [0.1, 0.1, 0.1]), figures.Series("b", [4, 8], [1, 2])],
        x="layers", y="loss", logarithmic="xy", kind=kind,
    ),
    "bars": lambda kind: figures.bars(
        ["10", "100"], {"codes": [0.8, 0.9], "pixels": [0.7, math.nan]}, y="accuracy", kind=kind
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_a_picture_and_always_the_same(name):
    torch.manual_seed(0)
    first = PLOTS[name]("png")
    torch.manual_seed(0)
    assert first == PLOTS[name]("png")
    shown = np.asarray(Image.open(io.BytesIO(first)).convert("L"))
    assert min(shown.shape) > 200 and shown.min() < 100 < 250 < shown.max()


def texts(svg):
    """All that is written in a plot; matplotlib draws glyphs as paths and leaves the text as comments."""
    return set(re.findall(r"<!-- (.*?) -->", svg.decode()))


def test_curves_show_what_the_log_has_and_no_more():
    told = texts(PLOTS["curves"]("svg"))
    assert {"a run", "loss", "validation", "parts of the loss", "learning rate", "gradient norm", "images seen"} <= told
    bare = texts(PLOTS["curves of a fit"]("svg"))
    assert "loss" in bare and not {"validation", "parts of the loss", "learning rate", "gradient norm"} & bare


def test_lossless_codecs_are_marked_as_such():
    assert {"lossy", "png (lossless)", "lossless"} <= texts(PLOTS["rate"]("svg"))
    only = figures.rate_distortion([figures.RatePoints("a", [1.0, 2.0], [20.0, 30.0])], kind="svg")
    assert "lossless" not in texts(only)


def test_a_codec_with_both_is_drawn_as_a_line_and_a_mark():
    jxl = figures.RatePoints("jxl", [0.5, 1.0, 3.0], [20.0, 30.0, math.inf])
    assert {"jxl", "jxl lossless"} <= texts(figures.rate_distortion([jxl], kind="svg"))


def test_the_map_names_each_class():
    assert {"a", "b", "2"} <= texts(PLOTS["map"]("svg"))  # the third class has no name


def test_not_a_number_in_a_log_is_left_out():
    log = [*log_of(10), {"images": 1100, "loss": math.nan, "kl": math.inf}]
    assert figures.curves(log, kind="svg").startswith(b"<?xml")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"imprior\[report\]"):
        figures.curves(log_of(2))


# --- pages


class Reader(HTMLParser):
    """Checks that elements close in order, and gathers what a page refers to and says."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.refers, self.said, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.refers += [value for key, value in attrs if key in ("src", "href", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


NASTY = '<script>alert("1")</script> & co'
PNG = grid.encoded(Image.new("L", (2, 2)))


@pytest.fixture(scope="module")
def html():
    table = page.Table(["model", "PSNR [dB]", NASTY], [["a", 23.456789, None], [NASTY, math.inf, True]], NASTY)
    svg = figures.bars(["a"], {"b": [1.0]}, y="c", kind="svg")
    return page.render(
        NASTY,
        [
            page.Section("One", ["First.\n\nSecond.", page.Picture(PNG, NASTY, '"quoted"')]),
            page.Section(NASTY, [table, page.Code(NASTY)]),
            page.Section("Three", [page.Details(NASTY, [NASTY, page.Picture(svg), table])]),
        ],
        lead=NASTY,
    )


def test_a_page_is_well_formed_and_complete(html):
    reader = Reader(html)
    assert html.startswith("<!DOCTYPE html>") and reader.open == []
    assert reader.tags.count("section") == 3 and reader.tags.count("img") == 2 and reader.tags.count("p") == 4
    # Strict XML parses it as well, once the elements that HTML never closes are closed.
    ElementTree.fromstring(re.sub(r"<(meta|img)([^>]*)>", r"<\1\2/>", html.split("\n", 1)[1]))


def test_a_page_refers_to_nothing_outside_itself(html):
    refers = Reader(html).refers
    assert len(refers) == 5 and all(r.startswith(("data:image/", "#s")) for r in refers)
    assert "http" not in html.replace("http-equiv", "") and "url(" not in html and "@import" not in html


def test_all_text_is_escaped(html):
    reader = Reader(html)
    assert "script" not in reader.tags
    # Twice as title; lead, contents, section, caption, code, summary, text; three times in each of two tables.
    assert reader.said.count(NASTY) == 15


def test_anchors_of_the_contents_exist(html):
    assert set(re.findall(r'href="#(\w+)"', html)) == set(re.findall(r'id="(\w+)"', html)) == {"s1", "s2", "s3"}


def test_cells_are_numbers_to_the_right_and_words_to_the_left(html):
    assert '<td class="number">23.46</td>' in html and '<td class="number">∞</td>' in html
    assert "<td>yes</td>" in html and "<td></td>" in html


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.gif"])
def test_the_kind_of_a_picture_is_read_from_its_bytes(name):
    data = grid.encoded(Image.new("RGB", (3, 3)), name)
    kind = {"x.jpg": "jpeg"}.get(name, name[2:])
    assert f"data:image/{kind};base64," in page.render("t", [page.Section("s", [page.Picture(data)])])


def test_what_is_no_picture_is_refused():
    with pytest.raises(ImpriorError, match="PNG, JPEG"):
        page.render("t", [page.Section("s", [page.Picture(b"<html>")])])
