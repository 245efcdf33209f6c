"""The tests."""

# For XLA: tests compile much and compute little.
COMPILE_FAST = "--xla_backend_optimization_level=0"
