"""Test examples: which are shown, and what is drawn of them."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from softshare_jax.reporting import examples
from tests.reporting.page import read_page


def _grid(path: list[int], predicted: list[int]) -> examples.Grid:
    marked = [np.isin(np.arange(9), cells).reshape(3, 3) for cells in (path[:2], [3], path, predicted)]
    return examples.Grid(*marked)


def test_examples_tell_right_missed_and_wrong_apart():
    grid = _grid([0, 1, 2], [1, 2, 5])
    assert grid.errors == 2
    shown = examples.show_grid(grid)
    assert shown.lines == ("3 pixels, 1 missed, 1 wrong",)
    paths = {path.get("class"): path.get("d") for path in ET.fromstring(shown.picture)}
    places = {name: re.findall(r"M(\d)(?:\.\d+)? (\d)", way) for name, way in paths.items()}
    del places["lines"]
    assert places == {
        "wall": [("0", "1")],
        "right": [("1", "0"), ("2", "0")],
        "missed": [("0", "0")],
        "wrong": [("2", "1")],
        "cross": [("2", "1")],
        "point": [("0", "0"), ("1", "0")],
    }


def test_examples_are_the_longest_and_the_worst():
    short, long = _grid([0, 1], [0, 1]), _grid([0, 1, 2, 5], [0, 1, 2, 5])
    bad, worse = _grid([0, 1], [0]), _grid([0, 1], [7])
    assert examples.choose([short, bad, long, worse], number=1) == ([long], [worse])
    assert examples.choose([short, long], number=1) == ([long], [])


def test_examples_on_the_page(reported):
    page = read_page(reported["trained"])
    assert page.text.count("of the first 20 test examples of the last phase") == 3
    assert page.text.count("longest paths") >= 3
    assert sum(image["alt"].startswith("A path of") for image in page.images) >= 3 * 4


def test_examples_that_are_most_confidently_wrong():
    images = np.arange(4 * 4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 4, 3)
    # Softmax of log p is p.
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])
    logits = (np.log(probabilities) + 100).astype(np.float32)
    found = examples.classify(images, np.array([1, 1, 2, 0]), logits, ["a", "b_c", "d"])
    assert [(e.true, e.predicted) for e in found] == [("b c", "a"), ("b c", "b c"), ("d", "a"), ("a", "d")]
    np.testing.assert_allclose([e.confidence for e in found], [0.6, 0.7, 0.9, 0.8], rtol=1e-4)
    assert examples.most_confidently_wrong(found, 2) == [found[2], found[3]]
    assert examples.most_confidently_wrong([found[1]]) == []


@pytest.mark.parametrize(("side", "kind"), [(32, "png"), (224, "jpeg")])
def test_images_are_shown_under_their_class(side, kind):
    image = np.zeros((side, side, 3), np.uint8)
    shown = examples.show_classified(examples.Classified(image, "<cat>", "dog", 0.876))
    assert (shown.lines, shown.right) == (("<cat>", "✗ dog 88%"), False)
    assert f"data:image/{kind};base64," in shown.picture
    assert 'alt="test image, &lt;cat&gt;"' in shown.picture
    assert len(shown.picture) < 4000
    assert examples.show_classified(examples.Classified(image, "cat", "cat", 1.0)).right
