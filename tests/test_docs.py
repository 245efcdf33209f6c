"""The README's examples run."""

import re
import runpy

import pytest
from matplotlib import pyplot

from softshare_jax import sharing
from softshare_jax.__main__ import COMMANDS
from tests.tiny import REPO

README = (REPO / "README.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_library_example(code, capfd):
    names: dict = {}
    exec(code, names)
    printed = capfd.readouterr().out
    assert "[[1." in printed
    # Training made layers equal, and the page names them.
    stated = re.search(r"The last line prints `(.*?)`", README)
    assert stated is not None
    assert printed.splitlines()[-1] == stated[1]
    assert len(set(names["folded"].plan.groups[0].assignment)) < names["plan"].groups[0].layers


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in (REPO / "docs").glob("*.md"))])
def test_links_and_pictures_exist(page):
    file = REPO / page
    for target in re.findall(r"\]\(([^)#]+)\)", file.read_text()):
        if not target.startswith("http"):
            assert (file.parent / target).exists(), target


def test_every_make_target_that_the_readme_names():
    makefile = (REPO / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)`?", README):
        assert f"\n{target}:" in makefile, target


def test_the_reference_has_every_name_of_the_core():
    page = (REPO / "docs/api/sharing.rst").read_text()
    names = re.findall(r"^\.\. (?:auto(?:data|function|class|exception)|py:data):: (\w+)", page, re.MULTILINE)
    assert sorted(names) == sorted(sharing.__all__)


def test_the_reference_has_every_command():
    page = (REPO / "docs/api/commands.rst").read_text()
    modules = {command.module for command in COMMANDS.values()}
    assert sorted(re.findall(r"softshare_jax\.(\w+) --help", page)) == sorted(modules)


def test_the_example(monkeypatch, capsys):
    pyplot.switch_backend("agg")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    names = runpy.run_path(str(REPO / "examples/share_a_model.py"))
    pyplot.close(names["figure"])
    # Without the penalty the layers differ. With it they are equal, and folding keeps the score.
    assert names["matrices"]["trained"].min() < 0.5
    assert names["matrices"]["trained with the penalty"].min() > 0.9
    assert names["loops"] == "(1)×8"
    assert names["score"] > 0.95
    assert names["folded_score"] >= names["score"] - 0.02
    assert names["size"](names["folded"].variables) < names["size"](names["trained"]) < names["unshared"]
    assert re.search(r"^layers +\(1\)×8$", capsys.readouterr().out, re.MULTILINE)
