"""Convolutions by oneDNN, as custom calls of XLA (``onednn.cc``), for CPUs.

They need the extra ``cpu``, which installs oneDNN, and a C++ compiler. The library is compiled at first use,
once for each version of jax and oneDNN, into the user's cache folder.
"""

import ctypes
import functools
import hashlib
import importlib.metadata
import logging
import pathlib
import shutil
import subprocess
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from softshare_jax import paths
from softshare_jax.errors import one_line
from softshare_jax.ops.dense_convolution import Padding, Strides, by_xla

log = logging.getLogger(__name__)

CONVOLVE, IMAGE_GRADIENT, KERNEL_GRADIENT = CALLS = (
    "SoftshareConvolve",
    "SoftshareImageGradient",
    "SoftshareKernelGradient",
)
SOURCE = pathlib.Path(__file__).with_name("onednn.cc")
COMPILERS = "c++", "g++", "clang++"
# Seconds; compilation takes about ten.
PATIENCE = 300


@functools.cache
def available() -> bool:
    """Returns whether oneDNN can be used, after compiling and loading the library.

    Logs one line if oneDNN is installed and cannot be used.
    """
    try:
        headers = _file_of("onednn-devel-cpu-gomp", "dnnl.hpp").parent
        library = _file_of("onednn-cpu-gomp", "libdnnl.so.3")
    except importlib.metadata.PackageNotFoundError:
        return False
    try:
        loaded = ctypes.CDLL(str(_compiled(headers, library)))
        for name in CALLS:
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.warning("oneDNN is installed but cannot be used (%s); XLA computes the convolutions", error)
        return False
    return True


def convolve(images: jax.Array, kernel: jax.Array, strides: Strides, padding: Padding) -> jax.Array:
    """Maps ``[B, H, W, I]`` and a kernel ``[h, w, I, O]`` to ``[B, H', W', O]``, in float32.

    It cannot be differentiated twice.
    """
    if kernel.shape[:2] == (1, 1):
        # With few input channels oneDNN 3.2 computes wrong weight gradients for strided 1x1 kernels.
        images = jnp.pad(images, ((0, 0), *padding, (0, 0)))[:, :: strides[0], :: strides[1]]
        strides, padding = (1, 1), ((0, 0), (0, 0))
    return _convolve(images, kernel, strides, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(images: jax.Array, kernel: jax.Array, strides: Strides, padding: Padding) -> jax.Array:
    out = jax.eval_shape(lambda x, w: by_xla(x, w, strides, padding), images, kernel)
    return _call(CONVOLVE, images, kernel, out.shape, strides, padding)


def _forward(images, kernel, strides, padding):
    return _convolve(images, kernel, strides, padding), (images, kernel)


def _backward(strides, padding, saved, gradient):
    images, kernel = saved
    return (
        _call(IMAGE_GRADIENT, gradient, kernel, images.shape, strides, padding),
        _call(KERNEL_GRADIENT, images, gradient, kernel.shape, strides, padding),
    )


_convolve.defvjp(_forward, _backward)


def _call(
    name: str,
    left: jax.Array,
    right: jax.Array,
    shape: tuple[int, ...],
    strides: Strides,
    padding: Padding,
) -> jax.Array:
    before, after = zip(*padding, strict=True)
    call = jax.ffi.ffi_call(name, jax.ShapeDtypeStruct(shape, left.dtype), vmap_method="sequential")
    result = call(left, right, places=np.array([*strides, *before, *after], np.int64))
    # Under shard_map the result varies over the mesh where an operand does; ffi_call does not say so.
    varying = _varying(left) | _varying(right)
    return lax.pcast(result, tuple(varying - _varying(result)), to="varying")


def _varying(x: jax.Array) -> frozenset[str]:
    return jax.typeof(x).manual_axis_type.varying


def _file_of(distribution: str, name: str) -> pathlib.Path:
    """Returns a file of an installed distribution; raises ``PackageNotFoundError`` if it is not installed."""
    for file in importlib.metadata.files(distribution) or ():
        if file.name == name:
            return pathlib.Path(str(file.locate())).resolve()
    raise importlib.metadata.PackageNotFoundError(distribution)


def _compiled(headers: pathlib.Path, library: pathlib.Path) -> pathlib.Path:
    """Returns the compiled library; compiles it if the user's cache folder does not hold it."""
    source = SOURCE.read_bytes()
    parts = jax.__version__, str(library), str(library.stat().st_mtime_ns)
    version = hashlib.sha256(source + "|".join(parts).encode()).hexdigest()[:16]
    compiled = paths.cache() / f"onednn-{version}.so"
    if compiled.exists():
        return compiled
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise FileNotFoundError("there is no C++ compiler")
    compiled.parent.mkdir(parents=True, exist_ok=True)
    log.info("compiling the convolutions of oneDNN, once for this version of jax")
    with tempfile.TemporaryDirectory(dir=compiled.parent) as folder:
        made = pathlib.Path(folder) / compiled.name
        command = [compiler, "-std=c++17", "-O2", "-shared", "-fPIC", "-o", str(made), str(SOURCE)]
        command += ["-I", jax.ffi.include_dir(), "-I", str(headers), str(library)]
        command += [f"-Wl,-rpath,{library.parent}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise OSError(f"{compiler}: {one_line(done.stderr, 160)}")
        # Processes that start together may all compile; the last one's file stays.
        made.replace(compiled)
    return compiled
