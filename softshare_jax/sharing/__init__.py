"""Soft parameter sharing as pure functions on a parameter tree.

A rule makes a plan for a model. Variables hold private parameters, templates and coefficients, and
``materialize`` turns them into ordinary parameters. ``similarity`` measures which layers have become the
same, and ``fold`` merges these. ``SoftShare`` wraps a linen module.

This package imports jax, flax, optax, jaxtyping and NumPy only.
"""

from softshare_jax.sharing.annealing import anneal
from softshare_jax.sharing.budget import by_budget
from softshare_jax.sharing.dense import from_dense, spectra, to_dense, truncation_errors
from softshare_jax.sharing.errors import PlanError
from softshare_jax.sharing.folding import Folded, distinct_layers, fold, fold_within, merge
from softshare_jax.sharing.group import Group
from softshare_jax.sharing.initializers import INITIALIZERS, identity, initialize, orthogonal, sparse
from softshare_jax.sharing.lengthening import lengthen, shorten
from softshare_jax.sharing.loops import Loop, find_loops, format_loops, unroll
from softshare_jax.sharing.lsm import MEASURES, Measure, recurrence_penalty, similarity
from softshare_jax.sharing.materialization import materialize
from softshare_jax.sharing.member import Member, Slice
from softshare_jax.sharing.module import SoftShare
from softshare_jax.sharing.moments import input_moments
from softshare_jax.sharing.plan import Plan
from softshare_jax.sharing.plot import SimilarityPlot, plot_similarity
from softshare_jax.sharing.resizing import resize
from softshare_jax.sharing.rules import Rule, by_regex, by_shape
from softshare_jax.sharing.transforms import add_decayed_weights, anneal_to, decay_mask
from softshare_jax.sharing.use import order_of_use

__all__ = [
    "INITIALIZERS",
    "MEASURES",
    "Folded",
    "Group",
    "Loop",
    "Measure",
    "Member",
    "Plan",
    "PlanError",
    "Rule",
    "SimilarityPlot",
    "Slice",
    "SoftShare",
    "add_decayed_weights",
    "anneal",
    "anneal_to",
    "by_budget",
    "by_regex",
    "by_shape",
    "decay_mask",
    "distinct_layers",
    "find_loops",
    "fold",
    "fold_within",
    "format_loops",
    "from_dense",
    "identity",
    "initialize",
    "input_moments",
    "lengthen",
    "materialize",
    "merge",
    "order_of_use",
    "orthogonal",
    "plot_similarity",
    "recurrence_penalty",
    "resize",
    "shorten",
    "similarity",
    "sparse",
    "spectra",
    "to_dense",
    "truncation_errors",
    "unroll",
]
