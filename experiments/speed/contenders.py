"""Who competes: ours, change by change, then with what was left out, and the ways of PyTorch."""

from typing import Any, Literal, NamedTuple

from experiments.speed.shapes import Shape

GROUP = 8  # tasks: of the shapes at n = 40, whose activations outgrow the caches, and of the curves that have one order of sums
PYTORCH = {"small-tf": ("small-tf per head", "small-tf all heads"), "gpt2": ("gpt2 Hugging Face",)}  # models, by ours


class Contender(NamedTuple):
    """A way to take the step: a change to ours, one that was left out, or PyTorch's; its name, and its job for the worker."""

    role: Literal["ours", "left out", "PyTorch"]
    name: str
    job: dict[str, Any]


def contenders(shape: Shape) -> list[Contender]:
    """Ours, change by change, each on top of the ones before; then the last with one more change; then PyTorch's."""
    long, gpt2 = shape.n > 10, shape.model == "gpt2"
    # steps of one call: enough that what a call costs is small, few enough that a turn of a second or two is possible
    base = {"dispatch": 20 if not (long or gpt2) else 1 if long and gpt2 else 4}
    changes = [
        ("textbook", {"module": "textbook", "devices": 1, "unroll": False, "dispatch": 1}),
        ("many steps a dispatch", base),
        ("merged, feature-major module", {"module": "alone"}),
        ("all prompts together", {"module": "together" if long else "in spans"}),
        ("a device a core", {"devices": 0}),
        ("layers without a loop", {"unroll": True}),
        ("readers in spans", {"module": "in spans"}),
        (f"groups of {GROUP} tasks", {"at_once": GROUP}),
    ]
    changes = changes if long else changes[:-2]  # short prompts have one span
    ours, settings = [], {}
    for name, change in changes:
        if settings | change == settings:
            continue
        settings = settings | change
        ours.append(Contender("ours", name, {"side": "ours", "shape": shape._asdict(), "settings": settings}))
    last = ours[-1].job
    left_out = [
        ("layers computed again", {"remat": True}),
        ("bfloat16 products", {"dtype": "bfloat16"}),
        ("XLA's products on one thread", {"flags": "--xla_cpu_multi_thread_eigen=false"}),
    ]
    left_out += [] if long else [(f"groups of {GROUP} tasks", {"at_once": GROUP})]
    others = [Contender("left out", name, last | {"settings": last["settings"] | change}) for name, change in left_out]
    theirs = [
        Contender(
            "PyTorch",
            f"PyTorch {model}, {'compiled' if compiled else 'eager'}",
            {"side": "torch", "shape": shape._asdict(), "model": model, "compiled": compiled},
        )
        for model in PYTORCH[shape.model]
        for compiled in (False, True)
    ]
    return ours + others + theirs
