"""The traffic of a compiled step, and the errors of compiling for absent TPUs."""

import dataclasses
import importlib.util
import runpy

import jax
import numpy as np
import optax
import pytest

from softshare_jax import config as config_lib
from softshare_jax.config.by_network import recipe
from softshare_jax.description.chips import CHIPS, Chip, roofline
from softshare_jax.description.collectives import Sent, sent, summarize
from softshare_jax.description.gpus import GPUS, target_config
from softshare_jax.description.topology import abstract_arguments, as_table, compile_for, kernels
from softshare_jax.errors import UserError
from softshare_jax.sharing.parameters import count
from softshare_jax.training import mesh as mesh_lib
from softshare_jax.training.experiment import make_experiment
from softshare_jax.training.state import TrainState, trainable
from tests import imagenet as fakes
from tests import tiny


def traffic(compiled, experiment):
    """Returns how many values a module for four devices sends, by kind and role."""
    weights = trainable(experiment.programs.state_shapes().variables)
    rows = summarize(sent(compiled.as_text(), 4), [leaf.shape for leaf in jax.tree.leaves(weights)])
    return {(row["kind"], row["role"]): row["numbers"] for row in rows}


def on_imagenet():
    """Returns the ImageNet recipe with small images, three classes and a network that compiles fast."""
    config = small("swrn-50-2", 3, 8)
    data = dataclasses.replace(config.data, train_examples=24, image_size=32, resize=36, threads=2)
    return dataclasses.replace(config, model="wrn-10-1", data=data, duration="1 epoch")


# Six layers. No regularizer: an unshared network cannot have one.
@pytest.mark.parametrize("model", ["scnn-6-12-2", "cnn-6-12"])
def test_gradient_traffic_follows_the_templates(model):
    experiment = make_experiment(tiny.config(model=model, sharing__recurrence=0.0))
    compiled = experiment.programs.train_steps.lower(*abstract_arguments(experiment)).compile()
    parameters = count(experiment.programs.state_shapes().variables)
    found = traffic(compiled, experiment)
    assert found.pop(("all-reduce", "gradients")) == parameters.total
    # 6 x 12 channels each send a mean and a mean square, forward and backward. Then loss and F1.
    assert found.pop(("all-reduce", "batch-norm and metrics")) == pytest.approx(4 * 6 * 12, abs=8)
    assert found == {}
    if model.startswith("scnn"):
        assert parameters.shared == 2 * 9 * 12**2 + 6 * 2


def test_batches_that_arrive_split_are_not_sent():
    experiment = make_experiment(on_imagenet())
    compiled = experiment.programs.train_steps.lower(*abstract_arguments(experiment)).compile()
    found = traffic(compiled, experiment)
    assert found.pop(("all-reduce", "gradients")) == count(experiment.programs.state_shapes().variables).total
    # Two norms per block and the last one; the loss and two scores.
    channels = (16 + 16) + (16 + 32) + (32 + 64) + 64
    assert found.pop(("all-reduce", "batch-norm and metrics")) == 4 * channels + 3
    assert found == {}


@pytest.mark.parametrize("data", ["resident", "streamed"])
def test_the_compiled_shapes_are_those_of_a_feed(data, tmp_path):
    config = tiny.config()
    if data == "streamed":
        config = dataclasses.replace(on_imagenet(), data_dir=str(fakes.write_folder(tmp_path)))
    experiment = make_experiment(config)
    feed = experiment.task.feed(experiment.batching, range(1))
    fed = feed.at(0)
    feed.close()
    _, _, described, _ = abstract_arguments(experiment)

    def lies(array):
        return array.shape, array.dtype, array.sharding

    assert jax.tree.map(lies, described) == jax.tree.map(lies, fed)


def test_left_to_the_partitioner_every_layer_s_gradient_travels():
    # The step is built to avoid this traffic. This test also shows that traffic() detects it.
    experiment = make_experiment(tiny.config(model="scnn-6-12-2", sharing__recurrence=0.0))
    sgd = optax.sgd(0.1)
    step = dataclasses.replace(experiment.train_step, model=experiment.model, optimizer=sgd, mesh=None)
    shapes = experiment.programs.state_shapes()
    state = TrainState(shapes.step, shapes.variables, sgd.init(trainable(shapes.variables)))
    part, (height, width, _) = mesh_lib.split(experiment.mesh), experiment.task.input_shape
    batch = {
        "images": jax.ShapeDtypeStruct((8, height, width, 2), np.uint8, sharding=part),
        "labels": jax.ShapeDtypeStruct((8, height, width), np.uint8, sharding=part),
    }
    found = traffic(jax.jit(step).lower(state, batch).compile(), experiment)
    assert found["all-reduce", "other"] >= 6 * 9 * 12**2


def test_a_split_state_is_gathered_and_its_gradients_scattered():
    experiment = make_experiment(tiny.config(model="scnn-6-16-2", sharing__recurrence=0.0, shard_state=True))
    compiled = experiment.programs.train_steps.lower(*abstract_arguments(experiment)).compile()
    found = traffic(compiled, experiment)
    assert found["reduce-scatter", "gradients"] == found["all-gather", "weights"] == 2 * 9 * 16**2


MODULE = """
  %a = f32[2,16]{1,0:T(2,128)S(1)} all-reduce(%x), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
  %b = (bf16[3,5]{1,0}, f32[]) all-reduce-start(%x, %y), replica_groups=[1,4]<=[4], to_apply=%add
  %c = (bf16[3,5]{1,0}, f32[]) all-reduce-done(%b)
  %d = f32[2,5]{1,0} reduce-scatter(%x), replica_groups={{0,1},{2,3}}, dimensions={0}, to_apply=%add
  %e = (f32[1,7]{1,0}, f32[4,7]{1,0}) all-gather-start(%x), replica_groups=[1,4]<=[4], dimensions={0}
  %f = f32[3]{0} add(%all-reduce.1, %x)
"""


ENTRY = """
%fused (p: f32[4]) -> f32[4] {
  ROOT %neg = f32[4]{0} negate(%p)
}

ENTRY %main (a: f32[4]) -> (f32[4], f32[2,2]) {
  %a = f32[4]{0} parameter(0), metadata={op_name="x = f(y)"}
  %one = f32[] constant(1)
  %f = f32[4]{0} fusion(%a), kind=kLoop, calls=%fused
  %view = f32[2,2]{1,0} bitcast(%f)
  %conv = (f32[4]{0}, u8[64]{0}) custom-call(%f, %a), custom_call_target="__cudnn$convForward"
  %first = f32[4]{0} get-tuple-element(%conv), index=0
  %start = f32[4]{0} all-reduce-start(%first), to_apply=%add
  %done = f32[4]{0} all-reduce-done(%start)
  %copied = f32[2,2]{1,0} copy(%view)
  ROOT %out = (f32[4]{0}, f32[2,2]{1,0}) tuple(%done, %copied)
}
"""


def test_reading_a_module():
    assert list(sent(MODULE, 4)) == [
        Sent("all-reduce", (2, 16), 128, "%a"),
        Sent("all-reduce", (3, 5), 30, "%b"),
        Sent("all-reduce", (), 4, "%b"),
        Sent("reduce-scatter", (2, 2, 5), 80, "%d"),
        Sent("all-gather", (4, 7), 112, "%e"),
    ]
    rows = {(row["kind"], row["role"]): row for row in summarize(sent(MODULE, 4), [(15,), (4, 7)])}
    assert rows["all-reduce", "gradients"]["bytes"] == 30
    statistics = rows["all-reduce", "batch-norm and metrics"]
    assert (statistics["operations"], statistics["arrays"], statistics["numbers"]) == (2, 2, 33)
    assert rows["reduce-scatter", "other"]["arrays"] == rows["all-gather", "weights"]["arrays"] == 1


def test_kernels_are_what_runs():
    # Of the entry computation: not its parameters and views of memory, nor the ends of asynchronous calls.
    assert kernels(ENTRY) == 4


def test_norm_means_are_told_from_gradients_of_the_same_size():
    means = [Sent("all-reduce", (2, 18), 144, "%a"), Sent("all-reduce", (5,), 20, "%b")]
    gradients = [Sent("all-reduce", (9, 4), 144, "%c"), Sent("all-reduce", (5,), 20, "%c")]
    rows = {row["role"]: row for row in summarize(means + gradients, [(3, 3, 2, 2), (5,)])}
    assert rows["gradients"]["operations"] == 1
    assert rows["batch-norm and metrics"]["operations"] == 2


def test_roofline_by_hand():
    sums = [{"kind": "all-reduce", "bytes": 800}, {"kind": "all-gather", "bytes": 400}]
    chip = Chip(flops=100.0, memory=1.0, memory_rate=10.0, link_rate=5.0)
    # Each of four chips sends 3/4 of a gathered array and twice that of a reduced one.
    assert roofline(chip, 1000.0, 200.0, sums, 4) == {
        "compute": 10.0,
        "memory": 20.0,
        "links": (1200 + 300) / 5,
        "step": 300.0,
    }


def test_the_table_shows_the_compiled_module():
    compiled = {
        **dict.fromkeys(("memory_bytes", "argument_bytes", "temporary_bytes", "code_bytes"), 10**9),
        **dict.fromkeys(("available_bytes", "flops", "hbm_bytes"), 10**10),
        "topology": "v5e:2x2",
        "chips": 4,
        "batch_size": 8,
        "dtype": "bfloat16",
        "compile_seconds": 2.0,
        "kernels": 1234,
        "collectives": summarize([Sent("all-reduce", (1000,), 4000, "%a")], [(1000,)]),
        "roofline": {"compute": 1e-3, "memory": 4e-3, "links": 2e-3, "step": 4e-3},
    }
    table = as_table(compiled)
    assert "1,000 numbers in 1 arrays and 1 operations: gradients" in table
    assert "in 1,234 kernels" in table
    assert "4.00 ms per step, 2,000 images/s" in table


def small(name="swrn-16-1-1", classes=10, batch=16):
    return dataclasses.replace(recipe(name, classes, batch), dtype="bfloat16", steps_per_dispatch=1)


@pytest.mark.parametrize(
    ("file", "name", "classes"),
    [
        ("cifar10", "swrn-28-10-2", 10),
        ("cifar100", "wrn-28-10", 100),
        ("cells", "sdarts-2", 10),
        ("shortest_paths", "scnn", 10),
        ("imagenet", "swrn-50-2", 1000),
    ],
)
def test_the_recipe_is_that_of_the_shipped_config(file, name, classes):
    values = runpy.run_path(str(tiny.REPO / "configs" / f"{file}.py"))["get_config"](name)
    assert recipe(values.model, classes) == config_lib.from_dict(values.to_dict())
    values.batch_size = 4096
    assert recipe(values.model, classes, 4096) == config_lib.from_dict(values.to_dict())


def test_invalid_topologies():
    with pytest.raises(UserError, match="unknown chip in --topology=b999:8; name one of v5e, v5p, v6e, a100"):
        compile_for("b999:8", small())
    for layout in ("", ":", ":0", ":2x2"):
        with pytest.raises(UserError, match=r"ends with their number, such as h100:8, not with '(0|2x2)?'"):
            compile_for(f"h100{layout}", small())
    with pytest.raises(UserError, match=r"libtpu|unknown topology 'v5e:3x5'"):
        compile_for("v5e:3x5", small())
    with pytest.raises(UserError, match="10 or 100 classes, not 7"):
        small(classes=7)
    for batch, message in (
        (0, "batch_size is 0; it must be at least 1"),
        (65536, "it must be at least batch_size"),
    ):
        with pytest.raises(UserError, match=message):
            small(batch=batch)


@pytest.mark.skipif(importlib.util.find_spec("jax_cuda13_plugin") is not None, reason="it would compile")
def test_gpus_need_a_plugin():
    with pytest.raises(UserError, match=r"needs jax's CUDA plugin: pip install -e '\.\[cuda\]'"):
        compile_for("h100:1", small())


def test_every_gpu_has_peak_figures():
    for name, gpu in GPUS.items():
        # The vendor rounds. The memory that a program sees is a bit different.
        assert CHIPS[name].memory == pytest.approx(gpu.memory, rel=0.08)
        assert CHIPS[name].memory_rate == pytest.approx(gpu.memory_rate, rel=0.01)
        assert gpu.name in target_config(gpu)


def test_describe_says_one_line(tmp_path):
    result = tiny.run("describe", "swrn-16-1-1", "--topology=v5e", "--dtype=bfloat16", "--json")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
