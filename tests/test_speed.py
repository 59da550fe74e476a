"""What is timed is one function: the textbook, the module prompt by prompt, and the module on all prompts at once."""

import io
import json
import re
import sys
from functools import cache, partial

import jax
import numpy as np
import pytest

from experiments.speed import devices as scaling
from experiments.speed import ours, steps
from experiments.speed.contenders import contenders
from experiments.speed.exponents import exponents, mean_exponent, upper
from experiments.speed.shapes import SHAPES, VARIED, Shape
from experiments.speed.training import Config, curve_gap, field_of, ratios
from experiments.speed.worker import Turn
from jaxl2o.training.accounting import model_flops
from jaxl2o.training.loop import advance, mean_loss, task_keys

SMALL = {
    "small-tf": SHAPES["small-tf"]._replace(n=3, d=4, width=10, depth=2, batch=4, sparsity=2),
    "gpt2": SHAPES["gpt2"]._replace(n=3, d=4, width=8, heads=2, depth=2, batch=4, sparsity=2, positions=9),
}
CHANGES = {
    "prompt by prompt": ours.Settings(module="alone", unroll=False, devices=1),
    "together": ours.Settings(module="together", unroll=False, devices=1),
    "without a loop": ours.Settings(devices=1),
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


CASES = [("small-tf", change) for change in CHANGES] + [("gpt2", "without a loop")]


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
    """It says what it is, then the median and its memory for every number of steps asked, and ends with its input.

    The smoke preset has workers in processes of their own.
    """
    monkeypatch.setattr(sys, "stdin", io.StringIO("3\n1\n"))
    turn = Turn(warm_up=2, itself={"flops": 7.0})
    for seconds in ([9.0], [9.0], [0.3, 0.1], [0.2]):
        turn(seconds)
    with pytest.raises(SystemExit) as ended:
        turn([0.4])
    assert not ended.value.code
    itself, *turns = map(json.loads, capsys.readouterr().out.splitlines())
    assert itself == {"flops": 7.0}
    assert [answer["seconds"] for answer in turns] == [0.2, 0.4]
    assert all(answer["memory"] > 2**20 for answer in turns)


def test_a_power_law_has_its_exponent():
    """Of c x^a the slope is a, in every round; of x + 1000 it is that of the sizes above the geometric middle."""
    sizes = np.array([1, 2, 4, 8, 16])
    assert sizes[upper(sizes)].tolist() == [4, 8, 16]
    np.testing.assert_allclose(exponents(sizes, np.stack([3.0 * sizes**1.5, 0.1 * sizes**-2.0])), [1.5, -2.0])
    flat_below = np.array([7.0, 7.0, 4.0, 8.0, 16.0])
    np.testing.assert_allclose(exponents(sizes, flat_below), 1.0)
    mean, half = mean_exponent(sizes, np.stack([sizes**0.9, sizes**1.0, sizes**1.1]))
    np.testing.assert_allclose([mean, half], [1.0, 4.302653 * 0.1 / 3**0.5], rtol=1e-6)


def test_the_last_two_sizes_are_always_fitted():
    """However the sizes lie."""
    for sizes in ([1, 2], [10, 11, 12], [1, 2, 3, 1000], [1, 900, 1000]):
        chosen = np.array(sizes)[upper(np.array(sizes))]
        assert len(chosen) >= 2
        assert chosen[-1] == sizes[-1]


def test_the_exponents_are_claimed_as_expected():
    """Made-up rows of exact laws: time as n^1.25 within its bounds and with an interval, memory as L^1.2 not, and without."""
    sizes = np.array([1, 2, 4, 8, 16])
    row = {"sizes": sizes, "seconds": np.stack([sizes**1.2, sizes**1.3]), "planned": sizes**1.2}
    results = {f"small-tf/{name}/{key}": value for name in ("context", "depth") for key, value in row.items()}
    found = {claim.id: claim for claim in steps.claims(results)}
    assert list(found) == ["speed/time-exponent-depth", "speed/time-exponent-context", "speed/memory-exponent-depth"]
    context, memory = found["speed/time-exponent-context"], found["speed/memory-exponent-depth"]
    assert context.holds
    assert context.interval is not None
    np.testing.assert_allclose(context.measured, 1.25)
    assert (memory.holds, memory.interval) == (False, None)


def test_scaling_is_of_the_same_round():
    """Tasks/s of many devices over those of few, round by round: median and range."""
    speeds = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 2.0], [1.0, 1.5, 6.0]])
    results = {"devices": np.array([1, 2, 8]), "cores": np.array(2), "small-tf/weak": speeds}
    two, eight = scaling.claims(results)
    assert (two.id, two.measured, two.interval) == ("speed/weak-2-over-1", 1.5, (1.0, 2.0))
    assert (eight.id, eight.measured, eight.interval) == ("speed/weak-8-over-2", 2.0, (1.0, 4.0))
    np.testing.assert_array_equal(scaling.speed_up(results, "small-tf/weak")[:, 0], 1.0)


BAD = [
    (lambda: steps.Config(depth=(4, 2)), ("depth is (4, 2)", "rise")),
    (lambda: steps.Config(batch=(8,)), ("batch is (8,)", "two or more")),
    (lambda: steps.Config(rounds=1), ("rounds is 1", "at least 2")),
    (lambda: scaling.Config(devices=(2, 4)), ("devices is (2, 4)", "begin with 1")),
    (lambda: scaling.Config(batch=12), ("batch is 12", "multiple")),
]


@pytest.mark.parametrize(("build", "parts"), BAD)
def test_sizes_that_cannot_be_timed_are_refused(refused, build, parts):
    """One sentence, before anything is started."""
    refused(build, parts)


ITERATED = VARIED["lista-vm"]._replace(d=3, n=2, depth=1, batch=2, sparsity=1)


def test_lista_vm_is_trained_on_any_number_of_devices():
    """What is timed has the same losses on one device and on two."""
    one, two = (losses(ITERATED, ours.Settings(devices=count)) for count in (1, 2))
    np.testing.assert_allclose(two, one, rtol=1e-10)


def test_a_plan_counts_a_step():
    """Its FLOP are of one step, however many a call has; it holds at least the state: on two devices, twice."""
    recipe, state = ours.prepare(ITERATED, ours.Settings(devices=2))
    told = ours.plan(recipe, state, 3)
    assert told["flops"] == model_flops(recipe, state)
    assert told["planned"] >= 2 * sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.opt_state)))
