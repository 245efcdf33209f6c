"""Charts: every value, labels and legends that fit, axes of any numbers."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from softshare_jax.reporting import chart


def test_curves_have_every_value_and_plain_labels():
    points = [(step, 2.0 * 0.9**step) for step in range(1, 40)]
    bands = [chart.Band("first", 0, 20), chart.Band("a name that is wider than its band", 20, 39)]
    lines = [chart.Line("a & b", "train", points)]
    figure = chart.curves("loss.svg", "loss <x>", "step", lines, True, bands)
    root = ET.fromstring(figure.svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [f"a & b, step {step}: {value:.4g}" for step, value in points]
    assert {"loss <x>", "first", "2", "0.1", "1", "step"} <= set(texts)
    assert "10e" not in figure.svg
    assert "a name that is wider than its band" not in texts
    assert root.get("aria-label") == "loss <x> over steps: a & b"


def test_a_marked_point_is_seen_and_templates_are_whole_numbers():
    line = chart.Line("a", "c0", [(1, 0.9), (2, 0.5), (3, 0.2), (4, 0.0)], mark=3)
    root = ET.fromstring(chart.curves("x.svg", "error", "template", [line]).svg)
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert [circle.get("opacity") for circle in circles] == ["0", "0", None, "0"]
    assert circles[2][0].text == "a, template 3: 0.2"
    assert chart.Scale(1, 4, whole=True).ticks() == [1, 2, 3, 4]
    assert chart.Scale(1, 2, whole=True).ticks() == [1, 2]


def _right_of_the_last_label(svg):
    """Returns the free space at the right of the last label of the x axis, in units of the image."""
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    places = re.findall(r'<text x="([\d.]+)" [^>]*text-anchor="middle">([\d,]+)</text>', svg)
    x, label = max(places, key=lambda one: float(one[0]))
    return width - float(x) - 6.6 * len(label) / 2


@pytest.mark.parametrize("last", [10, 20_000, 5_000_000])
def test_the_last_label_is_inside_of_the_image(last):
    line = chart.Line("a", "c0", [(1, 0.5), (last, 0.7)])
    assert _right_of_the_last_label(chart.curves("a.svg", "a", "step", [line]).svg) >= 0


def test_a_long_legend_has_several_lines():
    names = [f"group_{i}, k = 2, fitted 0.123" for i in range(8)]
    lines = [chart.Line(name, "c0", [(1, 0.5), (2, 0.7)]) for name in names]
    few, many = (chart.curves("a.svg", "a", "step", lines[:number]).svg for number in (1, 8))
    shown = re.findall(r'<text x="0" y="([\d.]+)"[^>]*>(.*?)</text>', many)
    assert [name for _, words in shown for name in names if name in words] == names
    heights = [float(y) for y, _ in shown]
    assert len(heights) == len(set(heights)) > 3
    assert all(6.6 * len(re.sub("<[^>]+>", "", words)) < 420 for _, words in shown)
    # What is below moves down.
    tall, low = (float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1]) for svg in (many, few))
    assert tall - low == pytest.approx(heights[-1] - heights[0])


@pytest.mark.parametrize("values", [(1e-12, 1e-11), (1e-200, 1e-210), (1e299, 1e-299), (0.0, 1e-20)])
def test_a_logarithmic_axis_of_any_numbers(values):
    svg = chart.curves("a.svg", "loss", "step", [chart.Line("a", "c0", list(enumerate(values)))], True).svg
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', svg)]
    order = np.argsort(values)
    # The larger number is higher, and both are on the axis.
    assert heights[order[1]] < heights[order[0]] - 90
    assert all(62 <= height <= 252 for height in heights)


def test_long_curves_are_thinned_out_and_keep_their_end():
    line = chart.Line("a", "train", [(step, step / 1e5) for step in range(1, 100_001)])
    figure = chart.curves("x.svg", "x", "step", [line])
    titles = re.findall("<title>a, step ([^:]+):", figure.svg)
    assert len(titles) <= chart.MOST_POINTS + 1
    assert titles[-1] == "100,000"


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.004, 0.06), (1e-9, 3), (3.4, 4.1), (0.5, 0.5001), (1, 8e4)]
)
def test_ticks_are_few_and_lie_on_the_axis(low, high, log):
    scale = chart.Scale(max(low, 1e-9), high, log) if log else chart.Scale(low, high)
    ticks = scale.ticks()
    assert len(ticks) <= 9
    if high > 1.01 * low:
        assert len(ticks) >= 2
    assert all(-0.01 <= scale.place(tick) <= 1.01 for tick in ticks)
