"""The tests."""

import importlib.metadata

# For XLA: tests compile much and compute little. Fusion emitters and split modules double that time.
COMPILE_FAST = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if importlib.metadata.version("jaxlib").startswith("0.10."):
    # Later versions have no other emitters, and end at an option that they do not know.
    COMPILE_FAST += " --xla_cpu_use_fusion_emitters=false"
