import dataclasses

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given

from softshare_jax import sharing
from softshare_jax.sharing import Group, Member, Plan, PlanError, Slice, by_regex, by_shape, materialize
from tests.sharing.strategies import shared

LAYERS = tuple(Member(f"layer_{i}") for i in range(4))


def params(number=12, shape=(3, 3)):
    return {f"block_{i}": {"kernel": jnp.zeros(shape), "bias": jnp.zeros(3)} for i in range(number)}


@given(shared())
def test_json_round_trip(case):
    plan, _ = case
    assert Plan.from_json(plan.to_json()) == plan


def test_json_round_trip_of_a_folded_group():
    plan = Plan((Group("g", LAYERS, 2, (3, 3), assignment=(0, 1, 0, 1)),))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"groups": [{"name": "g"}]}', '{"groups": 3}'])
def test_invalid_text(text):
    with pytest.raises(PlanError, match="not the JSON of a plan"):
        Plan.from_json(text)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (lambda: Group("g", LAYERS[:1], 1, (3,)), "two or more layers, it has 1: layer_0"),
        (lambda: Group("g", LAYERS, 0, (3,)), "choose from 1 to 4"),
        (lambda: Group("g", LAYERS, 5, (3,)), "choose from 1 to 4"),
        (lambda: Group("g", LAYERS, 2, (3,), (0, 1, 2, 0)), "assignment"),
        (lambda: Group("g", LAYERS, 2, (3,), (0, 1)), "assignment"),
        (lambda: Plan((Group("g", LAYERS[:2], 1, (3,)), Group("g", LAYERS[2:], 1, (3,)))), "same name"),
        (lambda: Plan((Group("g", LAYERS, 1, (3,)), Group("h", LAYERS[2:], 1, (3,)))), "twice"),
        (
            lambda: Plan((Group("g", (Member("a"), Member("a", 0)), 1, (3,)),)),
            "a is both one layer and a stack",
        ),
    ],
)
def test_contradictions(group, message):
    with pytest.raises(PlanError, match=message):
        group()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"layer_0": jnp.zeros(3)}, "shares layer_1, which is not a parameter of the model"),
        ({f"layer_{i}": jnp.zeros(3 + (i == 2)) for i in range(4)}, r"layer_2 has shape \(4,\)"),
    ],
)
def test_a_plan_that_does_not_fit(tree, message):
    with pytest.raises(PlanError, match=message):
        Plan((Group("g", LAYERS, 1, (3,)),))(tree)


def test_a_stack_is_shared_whole():
    plan = Plan((Group("g", (Member("stack", 0), Member("stack", 1)), 1, (3,)),))
    assert plan({"stack": jnp.zeros((2, 3))}) is plan
    with pytest.raises(PlanError, match="stacks 3 layers and the plan names 2"):
        plan({"stack": jnp.zeros((3, 3))})


def test_by_regex_orders_layers_in_natural_sort_order():
    plan = by_regex({"body": r"block_\d+/kernel"}, templates=2)(params())
    (group,) = plan.groups
    assert [m.path for m in group.members] == [f"block_{i}/kernel" for i in range(12)]
    assert (group.templates, group.shape) == (2, (3, 3))


def test_by_regex_templates_by_group_and_one_per_layer():
    rule = by_regex({"low": r"block_[0-3]/kernel", "high": r"block_[4-9]/kernel"}, templates={"low": 1})
    assert [(g.name, g.layers, g.templates) for g in rule(params()).groups] == [("low", 4, 1), ("high", 6, 6)]


def test_by_regex_mistakes():
    with pytest.raises(PlanError, match=r"no path matches 'nothing' from end to end; .* block_0/bias, b"):
        by_regex({"body": "nothing"})(params())
    with pytest.raises(PlanError, match="several shapes"):
        by_regex({"body": r"block_\d+/.*"})(params())


@pytest.mark.parametrize("rule", [by_shape({"3x4": 1}), by_regex({"3x3": ".*/kernel"}, {"3x4": 1})])
def test_templates_for_an_unknown_group(rule):
    with pytest.raises(PlanError, match="there is no group '3x4', the groups are 3x3"):
        rule(params())


def test_by_regex_stacked():
    stacks = {"scan": {"kernel": jnp.zeros((5, 3, 3))}}
    (group,) = by_regex({"scan": "scan/kernel"}, templates=2, stacked=".*")(stacks).groups
    assert group.members == tuple(Member("scan/kernel", i) for i in range(5))
    assert group.shape == (3, 3)


def names(group):
    return [str(member) for member in group.members]


def two_convs(rows, shape=(3, 3)):
    return {f"conv{i}": {"kernel": jnp.zeros((rows, *shape))} for i in (1, 2)}


def test_without_a_parenthesis_leaves_of_a_stack_follow_each_other():
    rule = by_regex({"g": r"blocks/conv\d/kernel"}, stacked=r".*blocks/.*")
    (group,) = rule({"blocks": two_convs(2)}).groups
    assert names(group) == [f"blocks/conv{i}/kernel[{row}]" for i in (1, 2) for row in (0, 1)]


def test_the_leaves_of_a_named_stack_are_ordered_row_by_row():
    # Eleven rows and ten leaves: rows and names sort by number.
    stack = {f"conv{i}": {"kernel": jnp.zeros((11, 3))} for i in range(1, 11)}
    (group,) = by_regex({"g": ".*"}, stacked=r"(.*blocks)/.*")({"blocks": stack}).groups
    assert names(group) == [f"blocks/conv{i}/kernel[{row}]" for row in range(11) for i in range(1, 11)]
    assert group.shape == (3,)


def test_two_stacks_come_one_after_the_other():
    tree = {"stage_10": {"blocks": two_convs(2)}, "stage_9": {"blocks": two_convs(3)}}
    (group,) = by_regex({"g": ".*/kernel"}, stacked=r"(.*/blocks)/.*")(tree).groups
    assert names(group) == [
        f"stage_{stage}/blocks/conv{i}/kernel[{row}]"
        for stage, rows in ((9, 3), (10, 2))
        for row in range(rows)
        for i in (1, 2)
    ]


def test_a_stack_beside_leaves_that_are_one_layer():
    tree = {
        "blocks_1": two_convs(2),
        "blocks_0": {"kernel": jnp.zeros((3, 3))},
        "blocks_2": {"kernel": jnp.zeros((3, 3))},
    }
    rule = by_regex({"g": ".*/kernel"}, templates=2, stacked=r"(blocks_1)/.*")
    (group,) = rule(tree).groups
    inside = [f"blocks_1/conv{i}/kernel[{row}]" for row in (0, 1) for i in (1, 2)]
    assert names(group) == ["blocks_0/kernel", *inside, "blocks_2/kernel"]
    assert (group.templates, group.shape) == (2, (3, 3))


def test_an_unmatched_parenthesis_names_no_stack():
    # The first alternative has a stack of several leaves; the second is a stack of one leaf.
    tree = {"a": two_convs(2), "b": {"kernel": jnp.zeros((2, 3, 3))}}
    (group,) = by_regex({"g": ".*"}, stacked=r"(a)/.*|b/kernel")(tree).groups
    inside = [f"a/conv{i}/kernel[{row}]" for row in (0, 1) for i in (1, 2)]
    assert names(group) == [*inside, "b/kernel[0]", "b/kernel[1]"]


def test_by_shape_takes_stacks_by_name_too():
    plan = by_shape(stacked=r"(.*blocks)/.*")({"blocks": two_convs(2), "head": jnp.zeros((3, 10))})
    (group,) = plan.groups
    assert group.name == "3x3"
    assert names(group) == [f"blocks/conv{i}/kernel[{row}]" for row in (0, 1) for i in (1, 2)]


def test_by_shape_keeps_vectors_singletons_and_embeddings_private():
    tree = {
        **params(3),
        "head": {"kernel": jnp.zeros((3, 10))},
        "TokenEmbedding_0": jnp.zeros((4, 4)),
        "PositionEmbedding_0": jnp.zeros((4, 4)),
    }
    plan = by_shape(templates=2)(tree)
    assert [g.name for g in plan.groups] == ["3x3"]
    assert plan.paths == ("block_0/kernel", "block_1/kernel", "block_2/kernel")


@pytest.mark.parametrize("rule", [by_shape(4), by_regex({"3x3": ".*/kernel"}, 4), by_shape({"3x3": 4})])
def test_more_templates_than_layers(rule):
    tree = {**params(3), **{f"wide_{i}": jnp.zeros((2, 5)) for i in range(6)}}
    with pytest.raises(
        PlanError, match="group '3x3' has 3 layers and asks for 4 templates: choose from 1 to 3"
    ):
        rule(tree)


def test_by_shape_groups_by_role():
    tree = {
        f"block_{i}": {"attention": {w: jnp.zeros((4, 4)) for w in ("query", "key")}, "up": jnp.zeros((4, 8))}
        for i in range(3)
    }
    groups = by_shape(templates=2)(tree).groups
    assert {group.name: names(group)[0] for group in groups} == {
        "block.attention.query-4x4": "block_0/attention/query",
        "block.attention.key-4x4": "block_0/attention/key",
        "4x8": "block_0/up",
    }
    assert [(g.name, g.layers) for g in by_shape(roles=False)(tree).groups] == [("4x4", 6), ("4x8", 3)]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (by_shape(), r"no two weights of the model have one role, .* looked at block_0/kernel \(3, 3\)"),
        (by_shape(roles=False, exclude=".*"), "looked at none"),
        (by_regex({}), r"no patterns; to share nothing, use Plan\(\)"),
        (by_regex({"g": "("}), r"group 'g': '\(' is not a regular expression"),
        (by_regex({"g": ".*/kernel"}, stacked="layers/.*"), "stacked: no path matches 'layers/.*' from end"),
        (by_shape(stacked="bias"), "stacked: no path matches 'bias' from end to end"),
        (by_regex({"g": ".*/kernel"}, order=["conv", "dense"]), "order names none .* it has conv, dense"),
        (by_shape(order=[]), "order names none"),
    ],
)
def test_a_rule_that_shares_nothing_says_so(rule, message):
    with pytest.raises(PlanError, match=message):
        rule(params(1))


def test_rules_take_shapes_instead_of_arrays():
    shapes = jax.eval_shape(lambda: params())
    rule = by_regex({"body": r"block_\d+/kernel"})
    assert rule(shapes) == rule(params())


def test_a_plan_reads_well_at_the_prompt():
    plan = by_regex({"body": r"block_\d+/kernel"}, 2)(params())
    (group,) = plan.groups
    line = f"body: {group.layers} layers of 3×3 share 2 templates, {group.members[0]} to {group.members[-1]}"
    assert (repr(plan), repr(group), repr(Plan())) == (f"Plan({line})", f"Group({line})", "Plan()")
    folded = dataclasses.replace(group, name="b", templates=1, assignment=(0,) * group.layers)
    tied = dataclasses.replace(folded, name="c", tied=True)
    named = [Member(f"other_{i}", slice=Slice(1, 0, 3)) for i in range(2)]
    lines = repr(Plan((folded, Group("d", tuple(named), 1, (3, 3))))).splitlines()
    assert [lines[0], lines[-1]] == ["Plan(", ")"]
    assert "folded into 1 template, " in lines[1]
    assert "tied into 1 template, " in repr(tied)
    assert lines[2].endswith("share 1 template, other_0[:, 0:3] to other_1[:, 0:3]")


def test_the_summary_adds_up():
    tree = params()
    plan = by_regex({"body": r"block_\d+/kernel"}, 2)(tree)
    header, rule, body, private, total, kept = plan.summary(tree).splitlines()
    layers = plan.groups[0].layers
    everything = sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert header.split() == ["group", "layers", "k", "shape", "first", "last", "before", "after"]
    assert set(rule) == {"-"}
    first, last = map(str, (plan.groups[0].members[0], plan.groups[0].members[-1]))
    after = 2 * 9 + 2 * layers
    assert body.split() == ["body", str(layers), "2", "3×3", first, last, str(9 * layers), str(after)]
    rest = everything - 9 * layers
    assert private.split() == ["private", str(rest), str(rest)]
    assert total.split() == ["total", str(everything), str(rest + after)]
    assert kept.startswith(f"{rest + after} of {everything} parameters (")
    assert len(body) == len(total) == len(header)
    assert plan.summary(jax.eval_shape(lambda: tree)) == plan.summary(tree)
    with pytest.raises(PlanError, match="not a parameter of the model"):
        plan.summary({"other": tree})


def test_the_empty_plan_is_an_unshared_network():
    tree = params(2)
    assert Plan()(tree) == Plan()
    assert jax.tree.structure(materialize(Plan(), {"params": tree})) == jax.tree.structure(tree)


def test_a_group_has_one_dtype():
    params = {"l0": jnp.ones(3, jnp.bfloat16), "l1": jnp.ones(3, jnp.float32)}
    rule = sharing.by_regex({"g": r"l\d"})
    with pytest.raises(sharing.PlanError, match=r"several dtypes: bfloat16 \(l0\) and float32 \(l1\)"):
        rule(params)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda plan, params: sharing.by_regex(r"l\d"), "patterns are a dictionary of group names"),
        (lambda plan, params: sharing.by_shape(exclude="("), "exclude: '\\(' is not a regular expression"),
        (lambda plan, params: sharing.by_shape(exclude=None), "exclude: None is not a regular expression"),
        (
            lambda plan, params: sharing.initialize(plan, params, jax.random.key(0), "identity"),
            "coefficients is an initializer, such as sharing.orthogonal, not 'identity'",
        ),
        (lambda plan, params: sharing.to_dense(sharing.by_shape(), {}), "expected a plan, not a rule"),
        (lambda plan, params: sharing.to_dense(plan, [1]), "variables are a dictionary of collections"),
        (lambda plan, params: sharing.input_moments(sharing.by_shape(), dict), "expected a plan, not a rule"),
    ],
)
def test_wrong_arguments(mistake, message):
    params = {"l0": jnp.ones((2, 3)), "l1": jnp.ones((2, 3))}
    with pytest.raises(sharing.PlanError, match=message):
        mistake(sharing.by_shape(roles=False)(params), params)


@pytest.mark.parametrize("function", [sharing.from_dense, sharing.spectra])
def test_shapes_are_not_weights(function):
    shapes = jax.eval_shape(lambda: {"l0": jnp.ones((2, 3)), "l1": jnp.ones((2, 3))})
    with pytest.raises(sharing.PlanError, match="their shapes are not enough"):
        function(sharing.by_shape()(shapes), shapes)
