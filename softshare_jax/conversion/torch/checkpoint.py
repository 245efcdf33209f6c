"""Converts the arrays of a PyTorch checkpoint of the paper's authors to our variables.

Such a file is a dictionary with ``'epoch'``, ``'optimizer'``, ``'recorder'`` (an object of the authors' own
class) and ``'state_dict'``. Names in the latter have the prefix ``module.``: ``bank_1.templates``
``[k, out, in, 3, 3]``, ``stage_1.1.conv1.coefficients`` ``[k, 1, 1, 1, 1]``, ``stage_1.0.bn1.running_mean``,
``classifier.weight``. Each bank occurs again under every layer that uses it.
"""

import re
from typing import Any, NamedTuple

import jax
import numpy as np

from softshare_jax.conversion.torch.state import Arrays
from softshare_jax.errors import UserError, one_line


class Shape(NamedTuple):
    """Hyperparameters of a wide ResNet. ``templates`` is ``None`` for an unshared network."""

    depth: int
    width: int
    templates: int | None
    classes: int

    def __str__(self) -> str:
        size = f"{self.depth}-{self.width}"
        name = f"wrn-{size}" if self.templates is None else f"swrn-{size}-{self.templates}"
        return f"{name} with {self.classes} classes"


def shape_of(arrays: Arrays) -> Shape:
    """Returns the hyperparameters of the network that the arrays belong to.

    Raises:
        UserError: the arrays do not belong to a wide ResNet of the authors.
    """
    classifier, bank = arrays.get("classifier.weight"), arrays.get("bank_1.templates")
    if classifier is None or classifier.ndim != 2 or (bank is not None and bank.ndim != 5):
        raise UserError(
            "--torch holds no wide ResNet of the paper's authors: expected classifier.weight "
            "[classes, channels] and optionally bank_1.templates [k, out, in, 3, 3]; found "
            f"{', '.join([*arrays][:4])}"
        )
    classes, channels = classifier.shape
    blocks = len({m[1] for name in arrays if (m := re.match(r"stage_1\.(\d+)\.", name))})
    return Shape(6 * blocks + 4, channels // 64, None if bank is None else len(bank), classes)


def to_variables(arrays: Arrays) -> dict[str, Any]:
    """Returns the arrays as variables of our network of the same name.

    The collections are ``params``, ``batch_stats`` and, with sharing, ``templates`` and ``coefficients``.

    Args:
        arrays: arrays of a checkpoint, as ``state.read`` returns them; each is used exactly once.

    Raises:
        UserError: an array is missing, unexpected, or not a kernel.
    """
    left = dict(arrays)

    def take(name: str) -> np.ndarray:
        try:
            return left.pop(name)
        except KeyError:
            raise UserError(f"--torch has no array {name}") from None

    def kernel(name: str) -> np.ndarray:
        array = take(name)
        if array.ndim < 4:
            raise UserError(f"--torch has {array.shape} for {name}; a kernel is [out, in, H, W]")
        return np.moveaxis(array, (-2, -1, -3, -4), (-4, -3, -2, -1))

    def norm(name: str) -> tuple[dict, dict]:
        return (
            {"scale": take(f"{name}.weight"), "bias": take(f"{name}.bias")},
            {"mean": take(f"{name}.running_mean"), "var": take(f"{name}.running_var")},
        )

    def block(name: str) -> tuple[dict, dict]:
        params, stats = {}, {}
        for i in (1, 2):
            params[f"norm{i}"], stats[f"norm{i}"] = norm(f"{name}.bn{i}")
            if f"{name}.conv{i}.weight" in left:
                params[f"conv{i}"] = {"kernel": kernel(f"{name}.conv{i}.weight")}
        if f"{name}.convShortcut.weight" in left:
            params["shortcut"] = {"kernel": kernel(f"{name}.convShortcut.weight")}
        return params, stats

    params: dict[str, Any] = {"stem": {"kernel": kernel("conv_3x3.weight")}}
    stats: dict[str, Any] = {}
    templates, coefficients = {}, {}
    shape = shape_of(arrays)
    further = range(1, (shape.depth - 4) // 6)
    for stage in ("stage_1", "stage_2", "stage_3"):
        first = block(f"{stage}.0")
        params[stage], stats[stage] = {"block_0": first[0]}, {"block_0": first[1]}
        rows = [block(f"{stage}.{i}") for i in further]
        if rows:
            params[stage]["blocks"], stats[stage]["blocks"] = (
                _stack(list(trees), stage) for trees in zip(*rows, strict=True)
            )
        if shape.templates is not None and rows:
            templates[stage] = kernel(f"bank_{stage[-1]}.templates")
            alphas = [take(f"{stage}.{i}.conv{j}.coefficients").ravel() for i in further for j in (1, 2)]
            coefficients[stage] = _stack(alphas, stage)
    params["norm"], stats["norm"] = norm("lastact.0")
    params["classifier"] = {"kernel": take("classifier.weight").T, "bias": take("classifier.bias")}
    if left:
        raise UserError(f"--torch has arrays that a wide ResNet does not have: {', '.join(sorted(left)[:3])}")
    variables = {"params": params, "batch_stats": stats}
    return variables | ({"templates": templates, "coefficients": coefficients} if templates else {})


def _stack(trees: list[Any], stage: str) -> Any:
    """Stacks trees of arrays leaf by leaf.

    Raises:
        UserError: the trees have different structures or shapes.
    """
    try:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    except ValueError as error:
        raise UserError(f"--torch has blocks of different shapes in {stage} ({one_line(error)})") from error
