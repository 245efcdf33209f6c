"""Imports point down the tree of docs/design.md, without cycles."""

import ast
import graphlib
import pathlib
import re

REPO = pathlib.Path(__file__).parents[1]
PACKAGE = "softshare_jax"


def rooms():
    """The rooms of the tree in docs/design.md, from top to bottom."""
    page = (REPO / "docs" / "design.md").read_text()
    tree = re.search(rf"^{PACKAGE}/\n(.*?)^\S", page, re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"^  (\w+)/", tree, re.MULTILINE)


def modules():
    """The name of each module and what it imports of the package."""
    files = {name_of(file): file for file in (REPO / PACKAGE).rglob("*.py")}
    return {name: {*imported(file, files)} - {name} for name, file in files.items()}


def name_of(file):
    parts = file.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file, files):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom) and node.module in files:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & files.keys()
            yield from submodules or {node.module}


def test_imports_point_down_the_tree():
    order = rooms()
    base = {"errors", "paths", "json_text", "durable"}

    def floor(module):
        room = module.split(".")[1]
        if room in order:
            return order.index(room)
        return len(order) if room in base else -1  # the commands are above all rooms

    inside = {name: found for name, found in modules().items() if "." in name}
    upward = [
        f"{name} imports {other}"
        for name, found in inside.items()
        for other in found
        if "." in other and floor(other) < floor(name)
    ]
    assert upward == []
    folders = {path.name for path in (REPO / PACKAGE).iterdir() if (path / "__init__.py").exists()}
    assert {*order} == folders - {"configs"}


def test_modules_import_each_other_without_cycles():
    graphlib.TopologicalSorter(modules()).prepare()
