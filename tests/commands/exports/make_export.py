"""Exports a tiny model with the installed jax: python tests/commands/exports/make_export.py FOLDER.

``jax-0.12.0`` was made with jax 0.12.0.1 on Python 3.12. Versions before 0.12 cannot read it.
"""

import hashlib
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
from jax import export


def main(folder: pathlib.Path) -> None:
    """Writes the program and the parts of a description that the loader needs."""

    def model(images):
        return jnp.sum(images.astype(jnp.float32), axis=(1, 2))

    images = jax.ShapeDtypeStruct((*export.symbolic_shape("B"), 8, 8, 2), jnp.uint8)
    exported = export.export(jax.jit(model), platforms=("cpu", "cuda", "tpu"))(images)
    folder.mkdir(parents=True)
    file = folder / "model.stablehlo"
    file.write_bytes(exported.serialize())
    description = {
        "format": "softshare_jax export 1",
        "files": {file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}},
        "versions": {"jax": jax.__version__},
    }
    (folder / "export.json").write_text(json.dumps(description, indent=1))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
