"""Says what a named network is: parameters, groups and FLOPs; and what training it would take on TPUs.

python -m softshare_jax.describe swrn-28-10-2 --num_classes=10 --json
python -m softshare_jax.describe swrn-28-10-2 --topology=v5e:16x16 --batch_size=8192
"""

from softshare_jax.shell import ending

if __name__ == "__main__":
    ending.start()  # so that Ctrl-C is one line while the rest is imported

import argparse
import dataclasses
import json
import os
import sys

from softshare_jax.shell import cli, environment


def main() -> None:
    """Reads the arguments and prints the description."""
    arguments = _parse(sys.argv[1:])
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
    parser.add_argument("--num_classes", type=int, default=10, help="of a classifier (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--topology", help="compile its train step for these TPUs, such as v5e:4x4")
    parser.add_argument("--batch_size", type=int, default=1024, help="over all chips (1024)")
    floats = ["float32", "bfloat16"]
    parser.add_argument("--dtype", choices=floats, default="bfloat16", help="of the computation (bfloat16)")
    parser.add_argument(
        "--gradient_dtype", choices=floats, default="float32", help="of gradients on the way (float32)"
    )
    parser.add_argument("--shard_state", action="store_true", help="split weights and optimiser over chips")
    arguments = parser.parse_args(argv)
    if arguments.num_classes < 1:
        parser.error(f"--num_classes is 1 or more, not {arguments.num_classes}")
    return arguments


if __name__ == "__main__":
    cli.run(main)
