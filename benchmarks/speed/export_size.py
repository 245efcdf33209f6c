"""Size of the export of a large network, and the time to load it without Flax.

    python -m benchmarks.speed.export_size --model=swrn-28-10-2

The network has its initial weights. Another process, which does not import Flax, loads, compiles and runs the
export. The same is timed for the network with dense weights as constants.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import jax
import numpy as np

from benchmarks.runs import experiment, machine, parser
from softshare_jax import sharing
from softshare_jax.conversion import exporting
from softshare_jax.exports.model import MODEL
from softshare_jax.runs.load import Trained
from softshare_jax.training.experiment import make_experiment

# Prints the seconds for loading, compiling and running.
RELOAD = """
import json, sys, time
import jax, numpy as np
from softshare_jax.loader import load

jax.config.update("jax_enable_compilation_cache", False)
folder, images = sys.argv[1], np.load(sys.argv[2])
times = [time.perf_counter()]
model = load(folder)
times.append(time.perf_counter())
for _ in range(3):
    logits = np.asarray(model(images))
    times.append(time.perf_counter())
assert "flax" not in sys.modules
np.save(sys.argv[3], logits)
load, first, _, run = np.diff(times)
print(json.dumps({"load": load, "compile": first - run, "run": run}))
"""


def main() -> None:
    """Exports, loads and prints."""
    flags = parser(__doc__)
    flags.add_argument("--model", default="swrn-28-10-2")
    arguments = flags.parse_args()
    made = experiment(arguments.model, scan_blocks="no", dtype=arguments.dtype)
    shared = Trained(made, 0, made.programs.init_state().variables)
    print(machine())
    shape = (arguments.batch_size, *made.task.input_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = exporting.logits(shared, images)
    dense = Trained(make_experiment(made.config, sharing.Plan()), 0, made.programs.to_dense(shared.variables))
    for name, run in {"shared": shared, "dense": dense}.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n{name}\n{_measure(run, images, expected, pathlib.Path(folder))}", flush=True)


def _measure(run: Trained, images: np.ndarray, expected: np.ndarray, root: pathlib.Path) -> str:
    """Exports a run, loads it in another process and returns the results as text."""
    folder = root / "exported"
    folder.mkdir()
    description = exporting.write(run, images[:4], None, folder)
    np.save(root / "images.npy", images)
    files = [str(folder), str(root / "images.npy"), str(root / "logits.npy")]
    reload = subprocess.run([sys.executable, "-c", RELOAD, *files], check=True, stdout=subprocess.PIPE)
    seconds: dict[str, Any] = json.loads(reload.stdout)
    numbers = sum(x.size for x in jax.tree.leaves(run.variables))
    difference = np.max(np.abs(np.load(root / "logits.npy") - expected))
    size = description["files"][MODEL]["bytes"]
    return (
        f"{exporting.as_lines(description)}\n"
        f"  {MODEL} has {size / numbers:.3f} bytes for each of {numbers:,} parameters and statistics\n"
        f"  another process without Flax: load {seconds['load']:.2f} s, compile {seconds['compile']:.2f} s, "
        f"{len(images)} images in {seconds['run']:.2f} s\n"
        f"  largest logit difference there {difference:.3g}, largest logit {np.max(np.abs(expected)):.3g}"
    )


if __name__ == "__main__":
    main()
