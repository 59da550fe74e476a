"""Every theorem is exact: the Transformer that it fills equals its solver, layer by layer, up to rounding.

Claim. For every construction, max |network - solver| / (1 + max |solver|) over all layers, queries and prefixes is rounding.
LISTA-VM is tried in full: Gaussian and Rademacher X, with and without noise, every prefix of n examples, every layer, M with
independent N(0, 1/d) entries, thresholds uniform in [0, 0.2], and the mask constant at least the largest score met.
Source. Liu et al. 2025, Theorem 4.1 (arXiv:2410.13981); Ahn et al. 2023, Lemma 1 (arXiv:2306.00297); Dutta and Sra 2024,
Propositions 1 and 2 (arXiv:2410.07263); Giannou et al. 2024, Lemma 4.1 and Theorems 4.2 and 5.1 (arXiv:2403.03183); Jin et
al. 2024, Theorem 3.1 (arXiv:2410.14183); propositions of this library for the rest.
Expected. At most 1e-12 in float64, for conjugate gradients 1e-10, for damped Newton and EM the bound of their MLPs' widths; at
most 1e-4 for LISTA-VM in float32.
Command. python -m experiments exactness --preset quick
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.figures import style_of
from jaxl2o.checks import InputError, require
from jaxl2o.constructions import CONSTRUCTIONS, random_varying_layers
from jaxl2o.constructions.construction import Construction, gap_by_layer
from jaxl2o.constructions.sparse_recovery import largest_score, lista_vm
from jaxl2o.tasks.covariates import isotropic, rademacher
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.types import Key, Prompt, ScalarLike

COST = {"smoke": "15 s", "quick": "2 min"}
SEED = 0
DTYPES = {"float64": True, "float32": False}
LAWS = {"Gaussian": isotropic, "Rademacher": rademacher}


@dataclass(frozen=True)
class Config:
    """The sizes of LISTA-VM in full, and how many prompts are tried."""

    n: int = 40  # examples of a prompt; every prefix is compared
    d: int = 20  # features
    depth: int = 12  # layers
    prompts: int = 100  # for each construction, law and noise
    noise: float = 0.2  # deviation of the noise in the labels; runs without noise are made too
    theorems: tuple[str, ...] = tuple(CONSTRUCTIONS)  # which are tried, beside LISTA-VM in full

    def __post_init__(self) -> None:
        unknown = ", ".join(sorted(set(self.theorems) - set(CONSTRUCTIONS)))
        require(not unknown, f"there is no theorem {unknown}; choose among {', '.join(CONSTRUCTIONS)}.")
        for name in ("n", "d", "depth", "prompts"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        require(self.d >= 3, f"d is {self.d}; signals have 3 non-zero coefficients, so d must be at least 3.")


PRESETS = {"smoke": Config(n=10, d=8, depth=6, prompts=4, theorems=("gradient-descent",)), "quick": Config()}


def run(config: Config, run: Run) -> Results:
    """The gap of every construction at every claimed layer, for every prompt, in both precisions."""
    results: Results = {}
    for dtype, wide in DTYPES.items():
        with jax.enable_x64(wide):
            keys = jax.random.split(jax.random.key(SEED), config.prompts)
            for name in config.theorems:
                with run.stage(f"{name}, {dtype}"):
                    results[f"{dtype}/{name}"] = np.asarray(gaps_of(CONSTRUCTIONS[name], keys))
            with run.stage(f"lista-vm in full, {dtype}"):
                results |= {f"{dtype}/full/{law}": gaps for law, gaps in gaps_of_lista_vm(config, keys).items()}
    return results


@partial(jax.jit, static_argnums=0)
def gaps_of(make: Callable[[], Construction], keys: Key) -> Array:
    """(prompts, layers): `gap_by_layer` of a construction on prompts of its own domain."""
    construction = make()
    return jax.lax.map(lambda key: gap_by_layer(construction, construction.sample(key)), keys)


def gaps_of_lista_vm(config: Config, keys: Key) -> dict[str, np.ndarray]:
    """The same for LISTA-VM in full, with a mask constant that is twice the largest score met on these very prompts."""
    layers = random_varying_layers(config.d, config.depth, SEED)

    @jax.jit
    def measure(prompts: Prompt) -> tuple[Array, Array]:
        bound = 2.0 * jnp.max(jax.lax.map(lambda prompt: largest_score(layers, prompt), prompts))
        construction = lista_vm(layers, config.n, bound)
        return bound, jax.lax.map(lambda prompt: gap_by_layer(construction, prompt), prompts)

    found = {}
    for law, covariates in LAWS.items():
        for noise in (0.0, config.noise):
            task = sparse_recovery(exactly(config.d, 3), fresh(config.n, config.d, covariates()), gaussian_noise(noise))
            bound, gaps = measure(jax.vmap(task.sample)(keys).prompt)
            if not jnp.isfinite(bound):
                raise InputError(
                    f"LISTA-VM's own iterates overflow at depth {config.depth}, so there is nothing to compare; "
                    "choose fewer layers."
                )
            found[f"{law}/{noise:g}"] = np.asarray(gaps)
    return found


# the lines of the figure, label and algorithm: first-order methods, sparse recovery, Newton's method, and mixtures
ROWS = (
    {
        "gradient-descent": ("gradient descent", "gradient descent"),
        "preconditioned-gradient-descent": ("preconditioned gradient descent", "gradient descent, preconditioned"),
        "momentum": ("momentum", "momentum"),
        "linear-first-order": ("any linear first-order method", "Memformer"),
        "diagonal-first-order": ("the same, diagonal", "Memformer, diagonal"),
        "gradient-descent-plus-plus": ("GD++", "GD++"),
        "conjugate-gradient": ("conjugate gradients", "conjugate gradients"),
        "preconditioned-conjugate-gradient": ("preconditioned conjugate gradients", "conjugate gradients, preconditioned"),
    },
    {
        "full": ("LISTA-VM in full", "LISTA-VM"),
        "lista-vm-factored": ("LISTA-VM, factored heads", "LISTA-VM, factored heads"),
        "lista-vm-known-support": ("LISTA-VM, known support", "LISTA-VM, known support"),
        "lista-vm-linear-read-out": ("LISTA-VM, linear read-out", "LISTA-VM, linear read-out"),
        "lista-vm-with-momentum": ("LISTA-VM with momentum", "LISTA-VM with momentum"),
        "in-context-alista": ("in-context ALISTA", "in-context ALISTA"),
    },
    {
        "newton-schulz": ("Newton-Schulz", "Newton-Schulz"),
        "newton-schulz-in-one-layer": ("Newton-Schulz in one layer", "Newton-Schulz in one layer"),
        "third-order-inverse": ("inverse of order three", "third order"),
        "newton-least-squares": ("Newton, least squares", "least squares"),
        "newton-ridge": ("Newton, ridge", "ridge"),
        "damped-newton": ("damped Newton, logistic", "damped Newton"),
        "damped-newton-of-any-length": ("the same for any n", "damped Newton, any n"),
    },
    {
        "linear-attention-on-mixtures": ("best layer of linear attention", "linear attention"),
        "symmetric-expectation-maximisation": ("EM for b and -b", "EM, b and -b"),
        "expectation-maximisation": ("EM for three components", "EM"),
        "expectation-maximisation-in-turn": ("the same, two at a time", "EM, two at a time"),
    },
)


# by dashes, as some constructions have one layer and so no line
MARKS = {"-": "o", "--": "s", ":": "^", "-.": "D"}


class Theorem(NamedTuple):
    """What is said of a construction. layers: where it claims something.  bound: of its gap, rounding or its own tolerance."""

    reference: str
    layers: list[int]
    bound: float


@cache
def theorem(name: str) -> Theorem:
    """It is made while JAX traces, so that nothing is compiled but its tolerance."""
    made = []

    def tolerance() -> ScalarLike:
        made.append(CONSTRUCTIONS[name]())
        return made[0].tolerance

    with jax.enable_x64(True):
        bound = max(1e-12, float(jax.jit(tolerance)()))
    return Theorem(made[0].reference, [layer for _, layer in made[0].at], bound)


def plot(results: Results) -> Figure:
    """The largest gap by layer: a column a precision, a line a construction that was tried; LISTA-VM is shown in full."""
    shown = [labels for labels in ROWS if any(gaps_under(results, f"float64/{name}") for name in labels)]
    figure, panels = plt.subplots(len(shown), 2, figsize=(10.5, 3.5 * len(shown)), sharey="col", squeeze=False)
    for row, labels in zip(panels, shown, strict=True):
        for axes, dtype in zip(row, DTYPES, strict=True):
            for name, (label, algorithm) in labels.items():
                by_layer(axes, results, f"{dtype}/{name}", label, algorithm)
            axes.set(title=dtype, xlabel="layer")
        row[0].set_ylabel("largest |network − solver| / (1 + max |solver|)")
        row[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def gaps_under(results: Results, key: str) -> list[np.ndarray]:
    """The gaps of a construction, or of each of its laws."""
    return [value for found, value in results.items() if found == key or found.startswith(f"{key}/")]


def by_layer(axes: Axes, results: Results, key: str, label: str, algorithm: str) -> None:
    """The largest gap of all prompts at every layer of the claim."""
    rows = gaps_under(results, key)
    if not rows:
        return  # the theorem was not tried
    largest = np.concatenate(rows).max(axis=0)
    name = key.partition("/")[2]
    layers = theorem(name).layers if name in CONSTRUCTIONS else np.arange(len(largest))
    shown = np.where(largest > 0.0, largest, np.nan)  # before the first layer the gap is exactly zero
    style = style_of(algorithm)
    filled, size = ("full", 3.5) if style["linestyle"] == "-" else ("none", 5.5)
    axes.semilogy(layers, shown, label=label, marker=MARKS[style["linestyle"]], fillstyle=filled, markersize=size, **style)


def claims(results: Results) -> list[Claim]:
    """The largest gap of every construction; the theorems say that it is rounding."""

    def exact(name: str, bits: int, text: str, key: str, bound: float) -> Claim:
        rows = gaps_under(results, key)
        return claim(
            f"exactness/{name}-f{bits}",
            text,
            float(max(value.max() for value in rows)),
            "<=",
            bound,
            n=sum(len(value) for value in rows),
            seeds=(SEED,),
            kind="theorem",
            source=theorem(name).reference,
        )

    full = "largest gap over all layers, prefixes and laws"
    tried = [name for name in CONSTRUCTIONS if name != "lista-vm" and f"float64/{name}" in results]
    return [
        exact("lista-vm", 64, f"LISTA-VM in float64: {full}", "float64/full", 1e-12),
        exact("lista-vm", 32, f"LISTA-VM in float32: {full}", "float32/full", 1e-4),
        *(exact(name, 64, f"{name} in float64: largest gap", f"float64/{name}", theorem(name).bound) for name in tried),
    ]
