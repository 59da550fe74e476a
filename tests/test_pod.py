"""What a training needs on a pod: closed forms of the plan, the compiler's own sums, and the page that shows the kept plans."""

import math

import jax
import numpy as np
import pytest

from experiments.committed import committed
from experiments.pod import Config
from experiments.pod.checks import communication, sent
from experiments.pod.devices import CHIPS
from experiments.pod.page import PAGE, written
from experiments.pod.tables import days, markdown, words, works
from experiments.pod.trainings import trainings
from jaxl2o.training.accounting import Product, matrix_products, model_flops
from jaxl2o.training.budget import Device, Work, filled, fitting, most_chips, plan, waiting, work_of

# numbers of which every formula is worked out by hand: 2 products a step, one of them twice
WORK = Work(
    64, 0, (Product(2, 3, 10, 128, 128), Product(1, 1, 7, 5, 200)), parameters=800, gradient=804, state=1600, activation=50
)
DEVICE = Device(
    peak=1e6, memory=4004.0, bandwidth=1e3, link=100.0, island=16, network=2.0, axes=2, side=128, operation=0.5, hop=0.25
)


def test_the_parts_of_a_step():
    """Arithmetic is of filled units and is shared; operations are not; the optimiser's traffic is that of what a chip keeps."""
    assert filled(WORK.products[1], 128) == 2 * 7 * 128 * 256
    assert WORK.flops == 3 * (2 * 2 * 3 * 10 * 128 * 128 + 2 * 7 * 5 * 200)
    alone, four = (plan(WORK, DEVICE, chips, fraction=0.5) for chips in (1, 4))
    total = 3 * (2 * 2 * 3 * 10 * 128 * 128 + 2 * 7 * 128 * 256)
    assert alone.arithmetic == total / 0.5e6 == 4 * four.arithmetic
    assert alone.operations == four.operations == 3 * 3 * 0.5
    assert alone.update == four.update == (3 * 800 + 2 * 1600) / 1e3
    assert plan(WORK, DEVICE, 4, "fsdp").update == alone.update / 4
    assert alone.communication == alone.sent == 0.0
    assert alone.least == alone.most == alone.compute
    assert (four.least, four.most) == (max(four.compute, four.communication), four.compute + four.communication)


def test_what_chips_send_and_hold():
    """A ring's bytes, those of sums in pairs, and those of fsdp, which holds parameters and gradient whole in a step."""
    assert plan(WORK, DEVICE, 4).sent == 2 * 3 / 4 * 804
    assert plan(WORK, DEVICE, 4, "fsdp").sent == 3 / 4 * (800 + 804)
    groups = WORK._replace(at_once=8)
    assert plan(groups, DEVICE, 4).sent == 2 * 804
    assert plan(groups, DEVICE, 4, "fsdp").sent == 3 / 4 * (800 + 804)
    assert plan(groups, DEVICE, 4).operations == 2 * plan(WORK, DEVICE, 4).operations
    assert plan(WORK, DEVICE, 4).memory == 800 + 1600 + 804 + 16 * 50
    assert plan(groups, DEVICE, 4).memory == 800 + 1600 + 2 * 804 + 8 * 50
    assert plan(groups, DEVICE, 1).memory == 800 + 1600 + 4 * 804 + 8 * 50
    assert plan(WORK, DEVICE, 4, "fsdp").memory == (800 + 1600) / 4 + 800 + 804 + 16 * 50
    assert plan(groups, DEVICE, 4, "fsdp").memory == (800 + 1600) / 4 + 800 + 2 * 804 + 8 * 50
    assert plan(WORK, DEVICE, 1, "fsdp") == plan(WORK, DEVICE, 1)


@pytest.mark.parametrize(("groups", "gradients"), [(1, 0), (2, 1), (3, 1), (8, 3), (48, 5), (64, 6)])
def test_gradients_that_wait(groups, gradients):
    """log2 of the groups; of 3 x 16 one for each of four halvings, and one for the three."""
    assert waiting(groups) == gradients


def test_links_and_hops():
    """A 4 x 4 torus is crossed and back in 12 hops; a ring beyond an island leaves it by the network of all its chips."""
    inside, beyond = plan(WORK, DEVICE, 16), plan(WORK, DEVICE, 64)
    np.testing.assert_allclose(inside.communication, inside.sent / 100.0 + 12 * 0.25)
    np.testing.assert_allclose(beyond.communication, beyond.sent / (16 * 2.0) + 28 * 0.25)
    switched = DEVICE._replace(axes=0)
    np.testing.assert_allclose(plan(WORK, switched, 16).communication, inside.sent / 100.0 + 8 * 0.25)


def test_no_more_chips_work_than_divide_the_batch():
    """Of 48 and of 500 chips 32 and 64 share 64 tasks; what does not fit is sharded; and half efficient is what it says."""
    assert [plan(WORK, DEVICE, chips).chips for chips in (1, 3, 48, 64, 500)] == [1, 2, 32, 64, 64]
    assert fitting(WORK, DEVICE, 4)[0] == "replicated"
    assert fitting(WORK, DEVICE._replace(memory=3500.0), 4)[0] == "fsdp"
    most = most_chips(WORK, DEVICE)
    alone, half = plan(WORK, DEVICE, 1).most, [p * plan(WORK, DEVICE, p).most / 2 for p in (most, 2 * most)]
    assert half[0] <= alone < half[1]


def test_bad_input(refused):
    """No chip, no fraction of peak, an unknown device and an unknown training are one sentence each."""
    refused(lambda: plan(WORK, DEVICE, 0), ("chips is 0", "at least one"))
    refused(lambda: plan(WORK, DEVICE, 8, fraction=1.5), ("fraction is 1.5", "at most 1"))
    refused(lambda: Config(device="TPU v9"), ("'TPU v9'", "TPU v5e"))
    refused(lambda: Config(planned=("GPT-7",)), ("GPT-7", "Small TF"))
    refused(lambda: Config(depth=-1), ("depth is -1", "at least 1"))


def test_products_are_read_from_a_program():
    """A batch of products in a loop: how often, how many, and their three lengths."""

    def loop(x, y):
        return jax.lax.scan(lambda x, _: (x, jax.numpy.einsum("bij,bjk->bik", x, y)), x, length=6)

    [product] = matrix_products(jax.make_jaxpr(loop)(np.ones((7, 3, 4)), np.ones((7, 4, 5))).jaxpr)
    assert product == Product(6, 7, 3, 4, 5)
    assert product.flops == 6 * 7 * 2 * 3 * 4 * 5


def test_the_kept_work_is_that_of_the_preset():
    """One layer: bytes of parameters, of Adam's two copies and its count, FLOP as in `accounting`; four layers: as kept."""
    training = trainings(None, depth=1)["Memformer"]
    state = training.shapes()
    work = work_of(training.recipe(), state)
    count, number = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params)), 8
    assert (work.parameters, work.gradient, work.batch) == (number * count, number * (count + 1), 1000)
    assert work.state == 2 * work.parameters + state.opt_state[0].count.dtype.itemsize
    assert work.flops == model_flops(training.recipe(), state)
    whole = trainings("bfloat16")["Memformer"]
    found, steps = works(committed("pod").results)["Memformer"]
    assert found.products == work_of(whole.recipe(), whole.shapes()).products
    assert (found.parameters, found.batch, steps) == (4 * 304, 1000, 2000)


@pytest.mark.parametrize(
    ("groups", "count"), [("{{0,1,2,3},{4,5,6,7}}", 4), ("{{0,4},{1,5}}", 2), ("[2,4]<=[8]", 4), ("{}", 8)]
)
def test_sums_are_read_from_a_compiled_program(groups, count):
    """A sum of several arrays over groups of devices: 2 (g-1)/g of its bytes, however the groups are written."""
    arrays = "(f32[3,4]{1,0}, /*index=1*/f32[], bf16[5]{0})"
    line = f"  %a.1 = {arrays} all-reduce(%x, %y, %z), channel_id=1, replica_groups={groups}, use_global_device_ids=true"
    assert sent(line, 8) == 2 * (count - 1) / count * (48 + 4 + 10)


@pytest.mark.parametrize("at_once", [0, 1])
def test_the_compiled_step_sends_what_the_formula_says(at_once):
    """On eight devices, all tasks of a device together and in groups."""
    assert communication(trainings(None, depth=1)["Memformer"], 8, at_once) == 1.0


def test_the_page_shows_the_kept_plans():
    """The tables of docs/scale.md are what the kept run gives, and name every device and its source."""
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, markdown(committed("pod").results)) == page
    assert all(name in page and chip.source in page for name, chip in CHIPS.items())


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (999.0, "999"), (9.97e5, "997 k"), (1.25e15, "1.25 P"), (999.9, "1 k"), (0.3, "0.3")]
)
def test_numbers_in_words(value, text):
    """Three digits, rounded before the unit is chosen."""
    assert words(value) == text


@pytest.mark.parametrize(("value", "text"), [(1234.0, "1,234 d"), (2.0, "2 d"), (0.5, "12 h"), (1 / 2880, "30 s")])
def test_times_in_words(value, text):
    """Days, hours, minutes or seconds."""
    assert days(value) == text
