"""Hypothesis strategies for plans and their variables."""

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
