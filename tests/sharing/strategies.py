"""Hypothesis strategies for plans and their variables."""

import itertools

import hypothesis.strategies as st
import jax
import numpy as np

from softshare_jax.sharing import Group, Member, Plan, Slice


@st.composite
def shared(draw) -> tuple[Plan, dict]:
    """A plan of one or two groups of leaves, rows of a stack or slices of either, and random variables."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, templates, coefficients = [], {}, {}
    params = {"private": {"bias": random.normal(size=3).astype(np.float32)}}
    for number in range(draw(st.integers(1, 2))):
        layers = draw(st.integers(2, 7))
        shape = draw(st.sampled_from([(3,), (2, 3), (3, 3, 2, 2)]))
        name = f"group_{number}"
        axis = draw(st.none() | st.integers(0, len(shape) - 1))
        if draw(st.booleans()):
            parts, left = _cut(draw, axis, shape)
            members = [[Member(f"{name}/stack", i, part) for i in range(layers)] for part in parts]
            if left is not None:
                params[name] = {"stack": random.normal(size=(layers, *left)).astype(np.float32)}
        else:
            members = [[], []]
            # Each leaf has its slices elsewhere. One leaf in two makes a second group of what is left.
            second = draw(st.booleans())
            for i in range(layers):
                parts, left = _cut(draw, axis, shape, second)
                for found, part in zip(members, parts, strict=False):
                    found.append(Member(f"{name}/layer_{i}/kernel", None, part))
                if left is not None:
                    params.setdefault(name, {})[f"layer_{i}"] = {
                        "kernel": random.normal(size=left).astype(np.float32)
                    }
        for letter, found in zip("ab", members, strict=False):
            if found:
                k = draw(st.integers(1, layers))
                groups.append(Group(name + letter, tuple(found), k, shape))
                templates[name + letter] = random.normal(size=(k, *shape)).astype(np.float32)
                coefficients[name + letter] = random.normal(size=(layers, k)).astype(np.float32)
    variables = {"params": params, "templates": templates, "coefficients": coefficients}
    return Plan(tuple(groups)), jax.tree.map(jax.numpy.asarray, variables)


def _cut(draw, axis, shape, second=None):
    """Slices of one size along an axis of a larger weight, and the shape of what is left, if anything is.

    Args:
        axis: of the slices; ``None`` for the whole weight.
        shape: of a slice.
        second: whether there are two; ``None`` to draw that.
    """
    if axis is None:
        return [None], None
    two = draw(st.booleans()) if second is None else second
    gaps = [draw(st.integers(0, 2)) for _ in range(3 if two else 2)]
    starts = [gaps[0], gaps[0] + shape[axis] + gaps[1]][: 2 if two else 1]
    parts = [Slice(axis, start, start + shape[axis]) for start in starts]
    left = [sum(gaps) if i == axis else size for i, size in enumerate(shape)]
    return draw(st.permutations(parts)), tuple(left) if sum(gaps) else None


@st.composite
def stacks(draw) -> tuple[Plan, dict]:
    """A plan over the rows of one or two stacks, dealt out to up to three groups in any order."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(3,), (2, 3)]))
    lengths = draw(st.lists(st.integers(2, 9), min_size=1, max_size=2))
    rows = [Member(f"stack_{i}/kernel", row) for i, length in enumerate(lengths) for row in range(length)]
    order = draw(st.sampled_from(["as they stand", "backwards", "shuffled"]))
    if order == "backwards":
        rows.reverse()
    elif order == "shuffled":
        random.shuffle(rows)
    number = draw(st.integers(1, min(3, len(rows) // 2)))
    # Every n-th row to a group, which is evenly spaced, or one run of rows after the other.
    deal = [rows[i::number] for i in range(number)]
    if draw(st.booleans()):
        ends = np.cumsum([0, *map(len, deal)])
        deal = [rows[start:end] for start, end in itertools.pairwise(ends)]
    groups, templates, coefficients = [], {}, {}
    for i, members in enumerate(deal):
        k = draw(st.integers(1, len(members)))
        groups.append(Group(f"group_{i}", tuple(members), k, shape))
        templates[f"group_{i}"] = random.normal(size=(k, *shape)).astype(np.float32)
        coefficients[f"group_{i}"] = random.normal(size=(len(members), k)).astype(np.float32)
    variables = {"params": {}, "templates": templates, "coefficients": coefficients}
    return Plan(tuple(groups)), jax.tree.map(jax.numpy.asarray, variables)
