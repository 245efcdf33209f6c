"""Plots of similarity: every value, one color scale, readable in both themes."""

import itertools
import re
import xml.etree.ElementTree as ET

import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import sharing
from softshare_jax.reporting import theme
from softshare_jax.sharing import colors

SVG = "{http://www.w3.org/2000/svg}"


def network(layers, name="body"):
    """Returns a plan with one group, and variables whose layers are spread over a half circle."""
    members = tuple(sharing.Member(f"{name}_{i}") for i in range(layers))
    angles = jnp.linspace(0, np.pi / 2, layers)
    return (
        sharing.Plan((sharing.Group(name, members, 2, (2, 2)),)),
        {
            "templates": {name: jnp.array([[[1.0, 0], [0, 0]], [[0, 0], [0, 1.0]]])},
            "coefficients": {name: jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1)},
        },
    )


@pytest.mark.parametrize("measure", sharing.MEASURES)
def test_every_cell_has_its_color_and_value(measure):
    plan, variables = network(5)
    plot = sharing.plot_similarity(plan, variables, measure)
    root = ET.fromstring(plot.svg)
    expected = sharing.similarity(plan, variables, measure)["body"]
    cells = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    assert len(cells) == 25
    for cell in cells:
        row, column = int(cell.get("y")), int(cell.get("x"))
        value = float(expected[row, column])
        title = cell.find(f"{SVG}title").text
        assert title == f"layers {row + 1} and {column + 1}: {value:.3f}"
        assert cell.get("class") == f"s{round(20 * value)}"
    texts = [text.text or text.find(f"{SVG}title").tail for text in root.iter(f"{SVG}text")]
    numbers = [str(n) for n in range(1, 6) for _ in "ab"]
    assert texts == ["body", *numbers, "0", "1", f"similarity of {measure}"]
    assert plot._repr_html_() == plot.svg
    assert "similarity.svg" in repr(plot)


def test_both_themes_and_the_page_have_one_scale():
    plan, variables = network(3)
    light, dark = sharing.plot_similarity(plan, variables).svg.split("@media(prefers-color-scheme:dark)")
    for style, is_dark in ((light, False), (dark, True)):
        shown = re.findall(r"\.softshare \.s(\d+){fill:(#[0-9a-f]{6})}", style)
        assert shown == [(str(level), color) for level, color in enumerate(colors.scale(is_dark))]
        assert [theme.variables(is_dark)[f"s{level}"] for level, _ in shown] == [color for _, color in shown]


def test_large_groups_and_odd_names():
    """A large matrix has a path for each color; names are escaped and shortened."""
    plan, variables = network(70, "<a & b>" * 20)
    root = ET.fromstring(sharing.plot_similarity(plan, variables).svg)
    cells = sum(path.get("d").count("M") for path in root.iter(f"{SVG}path"))
    assert cells == 70 * 70
    (name,) = (text for text in root.iter(f"{SVG}text") if text.get("class") == "name")
    assert name.find(f"{SVG}title").text == "<a & b>" * 20
    assert len(name.find(f"{SVG}title").tail) < 60
    numbers = [text.text for text in root.iter(f"{SVG}text") if (text.text or "").isdecimal()]
    assert numbers == [str(n) for n in range(10, 71, 10) for _ in "ab"] + ["0", "1"]


@pytest.mark.parametrize("layers", [20, 21, 150, 400])
def test_numbers_of_layers_do_not_touch(layers):
    svg = sharing.plot_similarity(*network(layers)).svg
    found = re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>(\d+)</text>', svg)
    top = min(float(y) for _, y, _ in found)
    places = sorted((float(x), text) for x, y, text in found if float(y) == top)
    assert len(places) >= 2
    for (left, text), (right, _) in itertools.pairwise(places):
        assert right - left > 6 * len(text)


def test_groups_are_side_by_side_and_do_not_overlap():
    plans, variables = zip(*(network(4, name) for name in "abcd"), strict=True)
    plan = sharing.Plan(tuple(group for one in plans for group in one.groups))
    joined = {
        kind: {name: array for one in variables for name, array in one[kind].items()} for kind in variables[0]
    }
    root = ET.fromstring(sharing.plot_similarity(plan, joined).svg)
    places = [
        tuple(map(float, re.match(r"translate\((\S+) (\S+)\)", group.get("transform")).groups()))
        for group in root.iter(f"{SVG}g")
        if group.get("transform")
    ]
    _, _, width, height = map(float, root.get("viewBox").split())
    assert len({y for _, y in places}) == 2
    assert all(abs(a[0] - b[0]) >= 150 or abs(a[1] - b[1]) >= 150 for a in places for b in places if a != b)
    assert all(x + 150 < width and y + 150 < height for x, y in places)


def test_it_is_saved(tmp_path):
    plot = sharing.plot_similarity(*network(3))
    plot.save(tmp_path / "similarity.svg")
    assert (tmp_path / "similarity.svg").read_text() == plot.svg
    with pytest.raises(ValueError, match=r"ends with \.svg, not 'similarity\.png'"):
        plot.save(tmp_path / "similarity.png")


def test_mistakes():
    plan, variables = network(3)
    with pytest.raises(ValueError, match="measure is"):
        sharing.plot_similarity(plan, variables, "angle")
    with pytest.raises(sharing.PlanError, match="shares nothing"):
        sharing.plot_similarity(sharing.Plan(), variables)
    broken = {**variables, "coefficients": {"body": variables["coefficients"]["body"].at[1, 0].set(np.nan)}}
    with pytest.raises(sharing.PlanError, match=r"layer 2 \(body_1\) are not finite"):
        sharing.plot_similarity(plan, broken)
