"""Hypothesis strategies for plans and their variables."""

import itertools

import hypothesis.strategies as st
import jax
import numpy as np

from softshare_jax.sharing import Group, Member, Plan, Slice


@st.composite
def shared(draw) -> tuple[Plan, dict]:
    """Draws a plan over one or two sets of leaves, and random variables.

    The layers are leaves, rows of a stack, or slices of either. Slices may belong to two groups. Coefficients
    are those of layers or of channels, and layers may have a residual. Numbers of layers and templates are
    few, because each one compiles.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def normal(*shape):
        return random.normal(size=shape).astype(np.float32)

    groups, templates, coefficients, residuals = [], {}, {}, {}
    params = {"private": {"bias": normal(3)}}
    for number in range(draw(st.integers(1, 2))):
        layers = draw(st.sampled_from([2, 3, 7]))
        shape = draw(st.sampled_from([(3,), (2, 3), (3, 3, 2, 2)]))
        name, stacked = f"group_{number}", draw(st.booleans())
        parts, left = draw(slices(shape))
        per_channel, rank = draw(st.booleans()), draw(st.integers(0, 1))
        for letter, part in zip("ab", parts, strict=False):
            members = [
                Member(f"{name}/stack", i, part)
                if stacked
                else Member(f"{name}/layer_{i}/kernel", None, part)
                for i in range(layers)
            ]
            k = draw(st.sampled_from(sorted({1, 2, layers})))
            group = Group(name + letter, tuple(members), k, shape, per_channel=per_channel, rank=rank)
            groups.append(group)
            templates[name + letter] = normal(k, *shape)
            coefficients[name + letter] = normal(*group.coefficients_shape)
            if rank:
                m, n = group.matrix
                residuals[name + letter] = {"left": normal(layers, m, rank), "right": normal(layers, rank, n)}
        if left and stacked:
            params[name] = {"stack": normal(layers, *left)}
        elif left:
            params[name] = {f"layer_{i}": {"kernel": normal(*left)} for i in range(layers)}
    variables = {"params": params, "templates": templates, "coefficients": coefficients}
    if residuals:
        variables["residuals"] = residuals
    return Plan(tuple(groups)), jax.tree.map(jax.numpy.asarray, variables)


@st.composite
def slices(draw, shape) -> tuple[list[Slice | None], tuple[int, ...] | None]:
    """Draws one or two slices of a larger weight and the shape of the rest, or the whole weight."""
    axis = draw(st.sampled_from([None, 0, len(shape) - 1]))
    if axis is None:
        return [None], None
    size = shape[axis]
    # One slice at the start, or two slices. Few cases, because each one compiles.
    starts = draw(st.sampled_from([(0,), (1 + size, 1)]))
    left = (*shape[:axis], 2, *shape[axis + 1 :])
    return [Slice(axis, start, start + size) for start in starts], left


@st.composite
def stacks(draw) -> tuple[Plan, dict]:
    """Draws a plan over the rows of one or two stacks, in any order, in up to three groups."""
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
    # Groups have every n-th row (evenly spaced), or consecutive rows.
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
