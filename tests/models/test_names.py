"""Unknown names and the suggestions in their errors."""

import pytest

from softshare_jax.errors import UserError, unknown
from softshare_jax.models import zoo


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("wnr-28-10", "wrn-28-10"),
        ("wnr-16-3", "wrn-16-3"),
        ("swnr-28-10-2", "swrn-28-10-2"),
        ("WRN-28-10", "wrn-28-10"),
        ("wrn28-10", "wrn-28-10"),
        ("resnet50", "resnet-50"),
        ("densenet190-bc-40", "densenet-bc-190-40"),
        ("sdrts-2", "sdarts-2"),
        ("cnn-20", "cnn-20-32"),
    ],
)
def test_networks(given, meant):
    with pytest.raises(UserError) as caught:
        zoo.named(given)
    said = str(caught.value)
    assert said.startswith(f"unknown network {given!r}; did you mean ")
    assert meant in said.removesuffix("?").partition("did you mean ")[2].split(" or ")
    assert len(said) < 150


@pytest.mark.parametrize(
    ("name", "depth", "deeper"),
    [
        ("sgated-20-24", 80, "sgated-80-24"),
        ("gated-20-20", 5, "gated-5-20"),
        ("scnn-20-20-2", 30, "scnn-30-20-2"),
        ("swrn-28-10-2", 40, "swrn-40-10-2"),
    ],
)
def test_the_same_network_at_another_depth(name, depth, deeper):
    assert zoo.at_depth(name, depth) == deeper


@pytest.mark.parametrize(
    ("name", "depth", "message"),
    [
        ("wrn-28-10", 29, r"wrn-29-10: a wide ResNet has 6n \+ 4 layers"),
        ("gated-20-24", 0, "unknown network 'gated-0-24'"),
        ("darts", 4, "darts has no depth in its name"),
    ],
)
def test_depths_that_do_not_exist(name, depth, message):
    with pytest.raises(UserError, match=message):
        zoo.at_depth(name, depth)


def test_a_name_unlike_any_network():
    with pytest.raises(UserError, match="unknown network 'vgg16'; names are such as wrn-28-10") as caught:
        zoo.named("vgg16")
    assert len(str(caught.value)) < 200


def test_every_example_exists():
    for name in zoo.EXAMPLES:
        assert zoo.named(name).name == name


def test_few_names_are_all_listed_and_of_many_only_the_nearest():
    assert (
        unknown("mode", "trian", ["train", "evaluate"])
        == "unknown mode 'trian'; choose one of train, evaluate"
    )
    many = [f"field_{letter}" for letter in "abcdefgh"]
    assert unknown("field", "filed_b", many).startswith("unknown field 'filed_b'; did you mean field_b")
    assert unknown("field", "x", many, "see --help") == "unknown field 'x'; see --help"
    assert unknown("field", "x", many) == "unknown field 'x'"
