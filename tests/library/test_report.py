"""The report page of a loop outside this package."""

import html
import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from softshare_jax import library, sharing
from softshare_jax.errors import UserError
from tests.library.networks import drawn_together
from tests.reporting import page as pages

PARTS = (0.0, 0.5, 0.9, 1.0)


def trained(user, **scalars):
    """Returns the history of a loop that draws the layers together."""
    history = library.History(user.plan)
    for step, part in enumerate(PARTS):
        numbers = {name: function(part) for name, function in scalars.items()}
        history.add(10 * step, drawn_together(user, part), **numbers)
    return history


def test_the_page_of_any_model(user):
    history = trained(user, loss=lambda part: 1.0 - part / 2, accuracy=lambda part: 0.5 + part / 4)
    report = library.report_of(user.plan, history, score="accuracy", name="<mine>")
    page = pages.check(report.html)
    layers = sum(group.layers for group in user.plan.groups)
    fraction = re.search(r"(\d+%) of the unshared parameters", page.text)[1]
    assert page.headings == [
        f"{layers} layers would fold to {len(user.plan.groups)}: error 25.00%, {fraction} of the unshared "
        "parameters",
        "Layer similarity",
        "How the layers came to resemble each other",
        "Folding, a preview",
        "Learning curves",
        "Parameters",
    ]
    assert "<mine>" in page.text
    steps = re.findall(r'data-steps="\[([\d, ]+)\]"', report.html)
    assert steps == ["0, 10, 20, 30"] * len(user.plan.groups)
    for group in user.plan.groups:
        assert f"{group.name} would run as (1)×{group.layers}" in page.text
        rows = [row for row in page.cells if row[0] == group.name]
        assert [row[2:4] for row in rows] == [[str(group.layers), "2"]]
    total = next(row for row in page.cells if row[0] == "total")
    assert int(total[-2].replace(",", "")) < int(total[-1].replace(",", ""))


def test_a_certificate_is_on_the_page(users):
    user = users["equinox"]
    history = trained(user, val_perplexity=lambda part: 20 - part)
    folded = sharing.fold(user.plan, history.variables)
    certificate = library.certify(
        user.plan, history.variables, folded, user.apply, [(user.inputs[0], None)], lambda outputs, _: 20.0
    )
    report = library.report_of(user.plan, history, certificate=certificate)
    page = pages.check(report.html)
    kept = certificate.difference.parameters
    assert page.headings[0].startswith(f"3 layers became 1: {kept.kept:.0%} of the parameters, score 20.0000")
    assert page.headings[3:5] == ["The fold", "Certificate of the fold"]
    assert "8x8 runs as (1)×3" in page.text
    assert "Measured on 4 examples." in page.text
    rows = {row[0]: row[1:] for row in page.cells if row}
    assert rows["parameters"] == [f"{kept.before:,}", f"{kept.after:,}", f"{kept.kept:.1%}"]
    assert rows["distinct layers"] == ["3", "1", "of 3 shared"]
    assert rows["largest output difference"][1] == f"{certificate.difference.max_logit_difference:.3g}"
    # The history is that of the network before the fold.
    assert 'data-steps="[0, 10, 20, 30]"' in report.html
    assert re.findall("<title>val_perplexity, step 30: (.*?)</title>", report.html) == ["19"]


def test_a_network_that_is_folded_already(users):
    user = users["equinox"]
    drawn = trained(user).variables
    folded = sharing.fold(user.plan, drawn, 0.9, tied=True)
    history = library.History(folded.plan)
    history.add(0, folded.variables, loss=0.5)
    page = pages.check(library.report_of(folded.plan, history, score="loss").html)
    layers = sum(group.layers for group in user.plan.groups)
    assert page.headings[0].startswith(f"{layers} layers, {len(user.plan.groups)} distinct: ")
    assert "Folded" in page.headings
    assert "would" not in page.text
    for group in user.plan.groups:
        assert f"{group.name} runs as (1)×{group.layers}" in page.text


def test_scalars_that_end_alike_share_a_chart(users):
    values = {"loss": 1.0, "val_loss": 2.0, "test/loss": 3.0, "accuracy": 93.5, "rate": 1e-4, "off": -2.0}
    history = trained(users["dictionary"], **{name: lambda _, v=v: v for name, v in values.items()})
    text = library.report_of(users["dictionary"].plan, history, score="accuracy").html
    labels = re.findall(r'aria-label="(\w+) over steps: (.*?)"', text)
    assert labels == [("loss", "loss, val_loss, test/loss"), *((n, n) for n in ("accuracy", "rate", "off"))]
    # An accuracy in percent is shown as it is.
    assert "accuracy 93.5000" in pages.check(text).text
    for name, value in values.items():
        assert f"<title>{name}, step 30: {value:.4g}</title>" in text


def test_a_page_of_little(users):
    """One step, no scalars, no shared layers: what there is."""
    user = users["linen"]
    history = library.History(user.plan)
    history.add(0, user.variables)
    page = pages.check(library.report_of(user.plan, history).html)
    assert page.headings[1:] == ["Layer similarity", "Folding, a preview", "Parameters"]
    unshared = library.History(sharing.Plan())
    unshared.add(0, sharing.to_dense(user.plan, user.variables), loss=math.nan)
    page = pages.check(library.report_of(sharing.Plan(), unshared).html)
    assert page.headings[1:] == ["Parameters"]
    assert "an unshared network" in page.text


def test_the_parts_of_a_group_add_up():
    params = {f"layer_{i}": jnp.eye(6) * (i + 1) for i in range(4)}
    plan = sharing.by_shape(2, rank=1)(params)
    history = library.History(plan)
    history.add(0, sharing.from_dense(plan, params))
    page = pages.check(library.report_of(plan, history).html)
    (row,) = (row for row in page.cells if row[0] == "6x6" and len(row) == 9)
    assert row[4:] == ["72", "8", "48", "128", "144"]


def test_it_is_saved_and_shown(tmp_path, users):
    user = users["linen"]
    history = trained(user)
    report = library.report_of(user.plan, history)
    assert report.save(tmp_path / "report.html") == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_text() == report.html
    frame = re.fullmatch(r'<iframe srcdoc="([^"]*)" .*></iframe>', report._repr_html_())
    assert html.unescape(frame[1]) == report.html
    assert "save('report.html')" in repr(report)
    with pytest.raises(UserError, match=r"none/report\.html cannot be written: No such file"):
        report.save(tmp_path / "none" / "report.html")


def test_the_newest_variables_are_kept_when_a_loop_donates_its_own(users):
    user = users["linen"]
    history = library.History(user.plan)
    variables = {**user.variables, "coefficients": {"body": jnp.ones((4, 2))}}
    history.add(np.int64(3), variables, loss=jnp.float32(0.5))
    variables["coefficients"]["body"].delete()
    assert (history.variables["coefficients"]["body"] == 1).all()
    assert repr(history) == "History of 1 step (3), with loss"
    history.add(5, user.variables)
    assert repr(history) == "History of 2 steps (3 to 5), with loss"
    assert repr(library.History(user.plan)) == "History without steps"


def test_mistakes(users):
    user, other = users["linen"], users["nnx"]
    history = library.History(user.plan)
    with pytest.raises(UserError, match=r"the history is empty: call history\.add"):
        library.report_of(user.plan, history)
    history.add(2, user.variables, loss=np.ones(1))
    broken = {**user.variables, "coefficients": {"body": np.full((4, 2), np.nan)}}
    for message, step, variables, scalars in (
        ("step 2 comes after step 2: steps must increase", 2, user.variables, {}),
        ("a step is a whole number, 0 or more, not 2.5", 2.5, user.variables, {}),
        ("a step is a whole number, 0 or more, not -1", -1, user.variables, {}),
        ("loss is not a number: low", 3, user.variables, {"loss": "low"}),
        ("loss is not a number", 3, user.variables, {"loss": np.ones(2)}),
        ("no templates of group 'body'", 3, other.variables, {}),
        ("not finite", 3, broken, {}),
    ):
        with pytest.raises((UserError, sharing.PlanError), match=message) as raised:
            history.add(step, variables, **scalars)
        assert "\n" not in str(raised.value)
    for message, arguments in (
        ("unknown score 'accuracy'; choose one of loss", {"score": "accuracy"}),
        ("the certificate is of another plan", {"certificate": _certificate(other)}),
    ):
        with pytest.raises(UserError, match=message):
            library.report_of(user.plan, history, **arguments)
    history.add(4, user.variables, huge=1e305, odd=math.nan)
    with pytest.raises(UserError, match="the score odd was not a finite number at any step"):
        library.report_of(user.plan, history, score="odd")
    assert history.names == ("loss",)
    with pytest.raises(UserError, match="the history is of another plan"):
        library.report_of(other.plan, history)
    with pytest.raises(UserError, match="takes a plan and the History"):
        library.report_of(user.plan, {})
    with pytest.raises(UserError, match=r"a rule makes a plan: plan = rule\(params\)"):
        library.History(sharing.by_shape())


def _certificate(user):
    folded = sharing.fold(user.plan, user.variables)
    return library.certify(
        user.plan, user.variables, folded, user.apply, [(user.inputs[0], None)], lambda outputs, _: 1.0
    )
