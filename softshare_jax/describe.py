"""Prints parameters, groups and FLOPs of a network, and the cost of its training step on TPUs or GPUs.

python -m softshare_jax.describe swrn-28-10-2 --num_classes=10 --json
python -m softshare_jax.describe swrn-28-10-2 --topology=v5e:16x16 --batch_size=8192
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C during the imports prints one line

import argparse
import dataclasses
import json
import os
import sys

from softshare_jax.shell import cli, environment, logs


def main() -> None:
    """Reads the arguments and prints the description."""
    arguments = _parse(sys.argv[1:])
    logs.configure(arguments.verbosity, "stderr")  # stdout is for the description, which may be JSON
    if arguments.topology:
        os.environ.update(environment.LIBTPU, JAX_PLATFORMS="cpu")
    from softshare_jax.config.by_network import recipe
    from softshare_jax.description import description, topology
    from softshare_jax.shell import devices

    devices.check()
    described = description.describe(arguments.name, arguments.num_classes)
    lines = [description.as_table(described)]
    if arguments.topology:
        config = dataclasses.replace(
            recipe(arguments.name, arguments.num_classes, arguments.batch_size),
            dtype=arguments.dtype,
            gradient_dtype=arguments.gradient_dtype,
            shard_state=arguments.shard_state,
        )
        compiled = topology.compile_for(arguments.topology, config)
        described["training"] = compiled
        lines.append(topology.as_table(compiled))
    print(json.dumps(described, indent=1) if arguments.json else "\n".join(lines))


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser("describe", __doc__.split("\n")[0])
    parser.add_argument("name", help="network, such as swrn-28-10-2 or cnn-20-32")
    parser.add_argument("--num_classes", type=int, default=10, help="classes of a classifier (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--topology", help="compile the train step for TPUs, such as v5e:4x4, or GPUs, such as h100:8"
    )
    training = parser.add_argument_group("with --topology")
    training.add_argument("--batch_size", type=int, default=1024, help="global batch size (1024)")
    floats = ["float32", "bfloat16"]
    training.add_argument("--dtype", choices=floats, default="bfloat16", help="of activations (bfloat16)")
    training.add_argument(
        "--gradient_dtype", choices=floats, default="float32", help="all-reduce precision (float32)"
    )
    training.add_argument("--shard_state", action="store_true", help="shard weights and optimizer over chips")
    arguments = parser.parse_args(argv)
    if arguments.num_classes < 1:
        parser.error(f"--num_classes is {arguments.num_classes}; it must be at least 1")
    return arguments


if __name__ == "__main__":
    cli.run(main)
