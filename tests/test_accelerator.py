"""What is said of a device: its name, what is timed on it, and claims that follow from the numbers and can fail."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments import common
from experiments.accelerator import PRESETS, claims, device, kept_as, steps


def made_up(**changes):
    """The results of a device that is twice as fast as claimed and exact; some of them changed."""
    plain = {
        "device": np.array("nvidia-x"),
        "dtype": np.array("bfloat16"),
        "peak/bfloat16": np.array(1e12),
        "exact/highest": np.array([1e-6, 2e-6]),
        "exact/cpu": np.array([1e-6, 1e-6]),
        "crossing/places": np.array(["1 × X", "1 × cpu"]),
        "crossing/stays": np.array([2.0, 1.0, 0.5]),
        "crossing/moves": np.array([2.0, 1.0, 0.5 * (1.0 + 2e-5)]),
        "shapes": np.array(["gpt2"]),
        "two-cores": np.array([100.0]),
        "gpt2/64/seconds": np.array([0.32, 0.32, 9.0]),
        "gpt2/64/flops": np.array(1e9),
        "gpt2/4096/seconds": np.array([1.0, 1.0, 9.0]),
        "gpt2/4096/flops": np.array(4e11),
        "sweep/counts": np.array([1, 1000]),
        "sweep/seconds": np.array([0.5, 10.0]),
        "sweep/calls": np.array([40, 5]),
        "seconds": np.array(300.0),
    }
    return plain | changes


MEASURED = {
    "accelerator/exactness-float32": 2.0,
    "accelerator/resume-gap": 2e-5,
    "accelerator/gpt2-tasks-per-second": 200.0,
    "accelerator/gpt2-of-peak": 0.4,
    "accelerator/sweep-1000-ratio": 0.02,
    "accelerator/seconds": 300.0,
}
# what makes one claim fail, and no other
FAULTS = {
    "accelerator/exactness-float32": {"exact/highest": np.array([1e-6, 11e-6])},
    "accelerator/resume-gap": {"crossing/moves": np.array([2.0, 1.0 - 2e-4, 0.5])},
    "accelerator/gpt2-tasks-per-second": {"two-cores": np.array([201.0])},
    "accelerator/gpt2-of-peak": {"peak/bfloat16": np.array(2.1e12)},
    "accelerator/sweep-1000-ratio": {"sweep/seconds": np.array([0.5, 51.0])},
    "accelerator/seconds": {"seconds": np.array(481.0)},
}


def test_claims_are_what_was_measured():
    """Medians at the batch of two cores, the fraction of the peak at the largest, the worst gaps, the cost of a model."""
    found = {claim.id: claim for claim in claims(made_up())}
    assert list(found) == list(MEASURED)
    for id, measured in MEASURED.items():
        assert found[id].measured == pytest.approx(measured)
        assert found[id].holds


@pytest.mark.parametrize("id", FAULTS)
def test_every_claim_can_fail(id):
    """One fault, one claim that does not hold."""
    assert [claim.id for claim in claims(made_up(**FAULTS[id])) if not claim.holds] == [id]


def test_less_is_expected_of_a_cpu():
    """Half of the kept tasks a second on a CPU, all on an accelerator; a training of many for what one costs, and a tenth."""

    def expected(name, end):
        return next(c.expected for c in claims(made_up(device=np.array(name))) if c.id.endswith(end))

    assert [expected(name, "tasks-per-second") for name in ("cpu-2-cores", "nvidia-x")] == [50.0, 100.0]
    assert [expected(name, "sweep-1000-ratio") for name in ("cpu-2-cores", "nvidia-x")] == [1.0, 0.1]


def test_results_without_seconds_or_calls_claim_none():
    """Runs that did not clock their parts have no claim of it, and three calls a median, the fewest that are made."""
    plain = made_up()
    old = claims({key: value for key, value in plain.items() if key not in ("seconds", "sweep/calls")})
    assert [claim.id for claim in old] == [id for id in MEASURED if id != "accelerator/seconds"]
    assert [found[-1].n for found in (old, claims(plain)[:-1])] == [3, 5]


def test_an_accelerator_is_timed_at_a_large_batch_too(monkeypatch, tmp_path):
    """64 tasks, and the most tasks, a power of two, that have 2^17 tokens or fewer; the peak in float32 and its own dtype."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(steps, "compute_dtype", lambda: "bfloat16")
    monkeypatch.setattr(steps, "matrix_peak", lambda devices, dtype: 1.0)
    monkeypatch.setattr(steps, "timed", lambda config, shape, key: {f"{key}/batch": np.array(shape.batch)})
    with (tmp_path / "said").open("w") as said:
        found = steps.timings(PRESETS["quick"], common.Run(tmp_path, common.Console(file=said)))
    asked = {key: int(value) for key, value in found.items() if key.endswith("/batch")}
    assert asked == {
        f"{name}/{batch}/batch": batch
        for name, large in {"small-tf": 4096, "small-tf-n40": 1024, "gpt2": 4096, "gpt2-n40": 1024}.items()
        for batch in (64, large)
    }
    assert {"peak/float32", "peak/bfloat16"} <= set(found)
    np.testing.assert_allclose(found["two-cores"], [1714, 329, 116, 27], rtol=0.2)


def test_a_device_has_a_name(monkeypatch):
    """Letters, digits and hyphens: a CPU's cores, an accelerator's kind, and their number if there are several."""
    assert device().startswith("cpu-")
    card = SimpleNamespace(platform="gpu", device_kind="NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(jax, "local_devices", lambda: [card])
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    assert device() == "nvidia-h100-80gb-hbm3"
    monkeypatch.setattr(jax, "local_device_count", lambda: 8)
    assert device() == "8-nvidia-h100-80gb-hbm3"


def test_the_quick_run_is_kept_under_the_device():
    """Its name alone; behind it that of another preset, so that no run takes another's place."""
    results = {"device": np.array("x")}
    assert [kept_as(name, results) for name in ("quick", "smoke", "quick-0a1b2c3d")] == ["x", "x-smoke", "x-quick-0a1b2c3d"]
