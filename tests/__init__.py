"""The tests."""

# For XLA: tests compile much and compute little. Fusion emitters and split modules double that time.
COMPILE_FAST = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_parallel_codegen_split_count=1"
)
