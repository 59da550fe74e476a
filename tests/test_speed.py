"""What is timed is one function: the textbook, the module prompt by prompt, and the module on all prompts at once."""

import io
import json
import re
import sys
from functools import cache, partial

import jax
import numpy as np
import pytest

from experiments.speed import ours
from experiments.speed.contenders import contenders
from experiments.speed.shapes import SHAPES, Shape
from experiments.speed.training import Config, curve_gap, field_of, ratios
from experiments.speed.worker import Turn
from jaxl2o.training.loop import advance, mean_loss, task_keys

SMALL = {
    "small-tf": SHAPES["small-tf"]._replace(n=3, d=4, width=10, depth=2, batch=4, sparsity=2),
    "gpt2": SHAPES["gpt2"]._replace(n=3, d=4, width=8, heads=2, depth=2, batch=4, sparsity=2, positions=9),
}
CHANGES = {
    "prompt by prompt": ours.Settings(module="alone", unroll=False, devices=1),
    "together": ours.Settings(module="together", unroll=False, devices=1),
    "without a loop": ours.Settings(devices=1),
    "devices": ours.Settings(devices=2),
    "groups": ours.Settings(devices=2, at_once=1),
    "recomputed": ours.Settings(remat=True, devices=1),
}


def losses(shape: Shape, settings: ours.Settings) -> np.ndarray:
    """The losses of five steps."""
    recipe, state = ours.prepare(shape, settings)
    return np.asarray(jax.jit(advance, static_argnums=(0, 2))(recipe, state, 5)[1])


@cache
def textbook(name: str) -> np.ndarray:
    """The losses of the textbook on one device."""
    return losses(SMALL[name], ours.Settings(module="textbook", devices=1))


CASES = [("small-tf", change) for change in CHANGES] + [("gpt2", "together"), ("gpt2", "without a loop"), ("gpt2", "devices")]


@pytest.mark.parametrize(("name", "change"), CASES)
def test_every_change_computes_the_same_function(name, change):
    """Five steps of Adam in float64 have the textbook's losses, so all gradients on the way are the textbook's."""
    np.testing.assert_allclose(losses(SMALL[name], CHANGES[change]), textbook(name), rtol=1e-8)


def test_layers_are_computed_again():
    """With remat every layer is computed again in the backward pass, and without a loop no compiler may merge the two."""

    def checkpoints(unroll: bool) -> list[bool]:
        recipe, state = ours.prepare(SMALL["small-tf"], ours.Settings(remat=True, unroll=unroll, devices=1))
        text = str(
            jax.make_jaxpr(partial(mean_loss, recipe))(state.params, state.step, task_keys(recipe, state.step, state.key))
        )
        return [word == "True" for word in re.findall(r"prevent_cse=(\w+)", text)]

    assert checkpoints(unroll=True) == [True, True]
    assert checkpoints(unroll=False) == [False]


def test_a_coarser_dtype_is_near():
    """bfloat16 computation with float32 parameters: the losses of the first steps to 5 %."""
    shape = SMALL["small-tf"]
    np.testing.assert_allclose(losses(shape, ours.Settings(dtype="bfloat16", devices=1)), textbook("small-tf"), rtol=0.05)


def test_the_field_without_what_is_not_asked():
    """No PyTorch; of the changes only the textbook and the last."""
    field = field_of(SHAPES["gpt2"], Config(torch=False, changes=False))
    assert [contender.name for contender in field] == ["textbook", "layers without a loop"]
    assert field_of(SHAPES["gpt2"], Config()) == contenders(SHAPES["gpt2"])


def test_a_ratio_is_against_the_fastest():
    """Our last contender over the PyTorch contender of the least median, round by round."""
    results = {
        "s/seconds": np.array([[9.0, 2.0, 7.0, 6.0], [9.0, 1.0, 2.0, 5.0], [9.0, 2.0, 8.0, 4.0]]),
        "s/roles": np.array(["ours", "ours", "PyTorch", "PyTorch"]),
    }
    np.testing.assert_array_equal(ratios("s", results), [3.0, 5.0, 2.0])
    results["s/roles"] = np.array(["ours", "left out", "PyTorch", "PyTorch"])
    np.testing.assert_allclose(ratios("s", results), [6 / 9, 5 / 9, 4 / 9])


def test_the_gap_of_curves_is_relative_to_the_first():
    """The largest |loss / first curve's loss - 1|."""
    assert curve_gap(np.array([[2.0, 4.0], [2.0, 4.1], [1.9, 4.0]])) == pytest.approx(0.05)


@pytest.mark.parametrize("name", SHAPES)
def test_contenders_are_distinct_and_each_change_is_one_step(name):
    """No job twice; the textbook first; what was left out differs from the last of ours; PyTorch eager and compiled."""
    field = contenders(SHAPES[name])
    roles = [contender.role for contender in field]
    assert len({json.dumps(contender.job, sort_keys=True) for contender in field}) == len(field)
    assert roles == sorted(roles, key=("ours", "left out", "PyTorch").index)
    assert field[0].job["settings"]["module"] == "textbook"
    assert {contender.job["compiled"] for contender in field if contender.role == "PyTorch"} == {False, True}
    for contender in field:
        if contender.role != "PyTorch":
            ours.Settings(**contender.job["settings"])


def test_a_worker_takes_turns(monkeypatch, capsys):
    """It says that it is ready, then the median and its memory for every number of steps asked, and ends with its input.

    The smoke preset has workers in processes of their own.
    """
    monkeypatch.setattr(sys, "stdin", io.StringIO("3\n1\n"))
    turn = Turn(warm_up=2)
    for seconds in ([9.0], [9.0], [0.3, 0.1], [0.2]):
        turn(seconds)
    with pytest.raises(SystemExit) as ended:
        turn([0.4])
    assert not ended.value.code
    ready, *turns = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready == {"ready": True}
    assert [answer["seconds"] for answer in turns] == [0.2, 0.4]
    assert all(answer["memory"] > 2**20 for answer in turns)
