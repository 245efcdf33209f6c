"""
Train a shared model until it becomes a loop
============================================

This page takes an ordinary Flax model of eight layers, shares its weights, trains it, and
looks at what the layers have become. It takes well under a minute on a CPU. Run the cells
from top to bottom as a notebook, or all of them with ``python examples/share_a_model.py``.
"""

# %% [markdown]
# A model and a task
# ------------------
#
# The model is eight residual layers. Nothing in it is about sharing. The task is to tell two
# spirals apart.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from matplotlib import pyplot as plt

from softshare_jax import sharing


class Net(nn.Module):
    """Eight residual layers of width 32 between a first and a last projection."""

    @nn.compact
    def __call__(self, x):
        """Returns logits ``[B, 2]`` of points ``[B, 2]``."""
        x = nn.Dense(32, name="first")(x)
        for i in range(8):
            x = x + nn.Dense(32, name=f"layer_{i}")(nn.relu(x))
        return nn.Dense(2, name="last")(x)


def spirals(key, number):
    """Returns points ``[number, 2]`` and the spiral, 0 or 1, of each, ``[number]``."""
    keys = jax.random.split(key, 3)
    labels = jax.random.bernoulli(keys[0], shape=(number,)).astype(int)
    turn = jnp.sqrt(jax.random.uniform(keys[1], (number,)))
    angle = 9 * turn + jnp.pi * labels
    points = turn[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    return points + 0.02 * jax.random.normal(keys[2], points.shape), labels


net = Net()
x, y = spirals(jax.random.key(0), 500)
x_test, y_test = spirals(jax.random.key(1), 500)

# %% [markdown]
# Share the layers
# ----------------
#
# A rule says which weights form a group: here the eight kernels, as mixtures of four templates.
# ``SoftShare`` wraps the model.

# %%
rule = sharing.by_regex({"body": r"layer_\d/kernel"}, templates=4)
model = sharing.SoftShare(net, rule)
variables = model.init(jax.random.key(2), x)
plan = model.plan(x)
print(plan)

# %% [markdown]
# Train it twice
# --------------
#
# The layers train together with their coefficients. The second run also subtracts the paper's
# recurrence penalty from the loss. The penalty is the sum of the layer similarity matrix, so this
# run prefers layers that are alike.


# %%
def loss(weights, strength):
    """Returns the cross-entropy minus ``strength`` times the penalty."""
    errors = optax.softmax_cross_entropy_with_integer_labels(model.apply(weights, x), y)
    return errors.mean() - strength * sharing.recurrence_penalty(plan, weights)


STEPS = 500
schedule = optax.cosine_decay_schedule(5e-3, STEPS)
# Coefficients do not decay: `decay_mask` says so.
optimizer = optax.adamw(schedule, weight_decay=1e-2, mask=sharing.decay_mask)


@jax.jit
def step(weights, state, strength):
    """Takes one step of AdamW on all training points."""
    updates, state = optimizer.update(jax.grad(loss)(weights, strength), state, weights)
    return optax.apply_updates(weights, updates), state


def train(weights, strength):
    """Returns the weights after all steps."""
    state = optimizer.init(weights)
    for _ in range(STEPS):
        weights, state = step(weights, state, strength)
    return weights


def accuracy(logits):
    """Returns the fraction of the test points that are told apart."""
    return float(jnp.mean(logits.argmax(1) == y_test))


runs = {
    "before training": variables,
    "trained": train(variables, 0.0),
    "trained with the penalty": train(variables, 0.02),
}
for name, weights in runs.items():
    print(f"{name:24}  accuracy {accuracy(model.apply(weights, x_test)):.3f}")

# %% [markdown]
# Look at the layers
# ------------------
#
# The layer similarity matrix compares every two layers: 1 says that one is a multiple of the
# other. Without the penalty only a few layers are alike. With it, all eight are.


# %%
def similarity(weights):
    """Returns the layer similarity matrix ``[8, 8]``."""
    return np.asarray(sharing.similarity(plan, weights)["body"])


matrices = {name: similarity(weights) for name, weights in runs.items()}
print(matrices["trained with the penalty"].round(2))

figure, panels = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
for panel, (name, matrix) in zip(panels, matrices.items(), strict=True):
    image = panel.imshow(matrix, vmin=0, vmax=1, cmap="magma")
    panel.set(title=name, xlabel="layer", xticks=range(8), yticks=range(8))
    panel.set_xticklabels(range(1, 9))
    panel.set_yticklabels(range(1, 9))
panels[0].set_ylabel("layer")
figure.colorbar(image, ax=panels, label="similarity")
plt.show()

# %% [markdown]
# Fold it
# -------
#
# ``fold`` merges layers that are at least 0.9 similar, and ``find_loops`` writes the layers that
# run as loops. ``to_dense`` returns ordinary parameters for the ordinary model, so its score is
# the score of the folded network.

# %%
trained = runs["trained with the penalty"]
folded = sharing.fold(plan, trained, threshold=0.9)
layers = sharing.distinct_layers(*folded)["body"]
loops = sharing.format_loops(sharing.find_loops(layers))
score = accuracy(model.apply(trained, x_test))
folded_score = accuracy(net.apply(sharing.to_dense(*folded), x_test))


def size(tree):
    """Returns the number of parameters in a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


print(f"layers                {loops}")
print(f"accuracy              {score:.3f} -> {folded_score:.3f}")
unshared = size(net.init(jax.random.key(2), x))
print(f"parameters, unshared  {unshared}")
print(f"parameters, shared    {size(trained)}")
print(f"parameters, folded    {size(folded.variables)}")

# %% [markdown]
# The network has become one layer that runs eight times: it has found the loop by itself. Five of
# five seeds end like this. A folded network is again a plan and its variables, so you can train it
# further, fold it again, or save it.
