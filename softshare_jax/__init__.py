"""Soft parameter sharing across layers, in JAX and Flax.

The method lives in :mod:`softshare_jax.sharing`; everything else trains, folds
and shows networks that use it.
"""

__version__ = "0.2.0"
