"""Hypothesis strategies for plans and their variables."""

import itertools

import hypothesis.strategies as st
import jax
import numpy as np

from softshare_jax.sharing import Group, Member, Plan


@st.composite
def shared(draw) -> tuple[Plan, dict]:
    """A plan of one or two groups, with stacked leaves among them, and random variables."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, templates, coefficients = [], {}, {}
    for number in range(draw(st.integers(1, 2))):
        layers = draw(st.integers(2, 7))
        k = draw(st.integers(1, layers))
        shape = draw(st.sampled_from([(3,), (2, 3), (3, 3, 2, 2)]))
        name = f"group_{number}"
        if draw(st.booleans()):
            members = tuple(Member(f"{name}/stack", i) for i in range(layers))
        else:
            members = tuple(Member(f"{name}/layer_{i}/kernel") for i in range(layers))
        groups.append(Group(name, members, k, shape))
        templates[name] = random.normal(size=(k, *shape)).astype(np.float32)
        coefficients[name] = random.normal(size=(layers, k)).astype(np.float32)
    params = {"private": {"bias": random.normal(size=3).astype(np.float32)}}
    variables = {"params": params, "templates": templates, "coefficients": coefficients}
    return Plan(tuple(groups)), jax.tree.map(jax.numpy.asarray, variables)


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
