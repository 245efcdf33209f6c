"""Soft parameter sharing across layers, in JAX and Flax.

The method is in :mod:`softshare_jax.sharing`; all other packages train, fold
and report networks that use it.
"""

__version__ = "0.2.0"
