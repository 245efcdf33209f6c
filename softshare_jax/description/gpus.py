"""GPUs as XLA's compiler sees them, to compile for a GPU that need not exist."""

from typing import NamedTuple


class Gpu(NamedTuple):
    """What XLA asks about a GPU.

    Attributes:
        name: full name.
        capability: compute capability, such as ``(9, 0)``.
        accelerated: whether XLA may use the instructions of exactly this capability, such as ``sm_90a``.
        cores: streaming multiprocessors.
        lanes: float32 units of a core.
        clock: GHz.
        memory: bytes of memory.
        memory_rate: bytes per second to and from memory.
        cache: bytes of the L2 cache.
        shared: bytes of shared memory of a core.
        shared_of_block: largest part of it that one block may use.
    """

    name: str
    capability: tuple[int, int]
    accelerated: bool
    cores: int
    lanes: int
    clock: float
    memory: int
    memory_rate: int
    cache: int
    shared: int
    shared_of_block: int


# The figures are those of XLA's own descriptions of these devices (xla/backends/gpu/target_config/specs).
GPUS = {
    "a100": Gpu(
        "NVIDIA A100-SXM4-80GB", (8, 0), False, 108, 64, 1.41, 85_100_068_864, 2_039_040_000_000,
        41_943_040, 167_936, 166_912,
    ),
    "h100": Gpu(
        "NVIDIA H100 80GB HBM3", (9, 0), True, 132, 128, 1.98, 84_942_979_072, 3_352_320_000_000,
        52_428_800, 233_472, 232_448,
    ),
    "h200": Gpu(
        "NVIDIA H200 141GB HBM3e", (9, 0), True, 132, 128, 1.98, 151_397_597_184, 4_800_000_000_000,
        52_428_800, 233_472, 232_448,
    ),
}  # fmt: skip


def target_config(gpu: Gpu) -> str:
    """Returns the text of XLA's ``GpuTargetConfigProto`` for a GPU."""
    major, minor = gpu.capability
    features = "ACCELERATED_FEATURES" if gpu.accelerated else "NONE"
    return f"""
        gpu_device_info {{
          name: "{gpu.name}"
          device_vendor: "NVIDIA Corporation"
          cuda_compute_capability {{ major: {major} minor: {minor} feature_extension: {features} }}
          core_count: {gpu.cores}
          fpus_per_core: {gpu.lanes}
          clock_rate_ghz: {gpu.clock}
          device_memory_size: {gpu.memory}
          memory_bandwidth: {gpu.memory_rate}
          l2_cache_size: {gpu.cache}
          shared_memory_per_core: {gpu.shared}
          shared_memory_per_block: 49152
          shared_memory_per_block_optin: {gpu.shared_of_block}
          threads_per_warp: 32
          threads_per_block_limit: 1024
          threads_per_core_limit: 2048
          registers_per_core_limit: 65536
          registers_per_block_limit: 65536
          block_dim_limit_x: 2147483647
          block_dim_limit_y: 65535
          block_dim_limit_z: 65535
          thread_dim_limit_x: 1024
          thread_dim_limit_y: 1024
          thread_dim_limit_z: 64
          device_address_bits: 64
          driver_version: "13.0.0"
          runtime_version: "12.8.0"
          compile_time_toolkit_version: "12.8.0"
          dnn_version: "9.10.0"
        }}
        platform_name: "CUDA"
        dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
        device_description_str: "{gpu.name}"
    """
