"""What the results say of Newton's method in context."""

from collections.abc import Callable

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.newton.config import COVARIANCES, NAMED, TABLES, TEST
from experiments.newton.training_claims import of_attention, of_improved

GIANNOU = "Giannou et al. 2024 (arXiv:2403.03183)"
OWN = "a proposition of this library"
# mean squared errors over d after 0..4 steps at condition 1, and their standard errors: by NumPy, means over 200,000 spectra of
# X'X of sum_i (1 - a l_i^2)^(2 p^t) / d, a = 1 / (l_max^2 + l_min^2), so that solutions and queries are integrated out
ROWS = {
    2: ((0.52057, 0.3688, 0.22778, 0.11745, 0.046762), (1.1e-4, 1.1e-4, 1e-4, 7.7e-5, 5e-5)),
    3: ((0.52057, 0.2835, 0.10257, 0.018192, 8.4347e-4), (1.1e-4, 1.1e-4, 7.3e-5, 2.9e-5, 4.4e-6)),
    4: ((0.52057, 0.22778, 0.046762, 1.9007e-3, 3.9108e-6), (1.1e-4, 1e-4, 5e-5, 7.4e-6, 1.7e-7)),
}
ERROR = 6e-5  # what its |w - exact w| is to stay below
NEAR, ABOVE = 0.1, 10.0  # of the pairs that an order is fitted to: the first distance; the second, over the floor


def claims(results: Results) -> list[Claim]:
    """Those of the parts that were run."""
    found = []
    if "exact/conditions" in results:
        found.append(of_least_squares(results))
    if f"logistic/error/{NAMED}" in results:
        found += of_the_block(results)
    if "orders/1/0/2" in results:
        found.append(of_orders(results))
    found += [*of_improved(results), *of_attention(results)]
    if any(name.startswith("tables/") for name in results):
        found += of_tables(results)
    return found


def of_least_squares(results: Results) -> Claim:
    """All three constructions, every condition and layer."""
    gaps = [values.max() for name, values in results.items() if name.startswith("exact/") and "/float64/" in name]
    return claim(
        "newton/least-squares-gap",
        f"largest gap of Newton-Schulz, the third order and least squares, conditions to {results['exact/conditions'].max()}, "
        "float64",
        float(np.max(gaps)),
        "<=",
        1e-10,
        n=int(results["exact/prompts"]) * len(results["exact/conditions"]),
        seeds=(TEST,),
        kind="theorem",
        source=GIANNOU,
    )


def widths(results: Results) -> list[int]:
    """The numbers of cells, in order."""
    return sorted(int(name.split("/")[-1]) for name in results if name.startswith("logistic/width/"))


def of_the_block(results: Results) -> list[Claim]:
    """Its error, how that falls with the width, the theorem's bounds of it and of where it rests, and its convergence."""
    cells, prompts = widths(results), len(results["logistic/error/exact"])
    errors = np.stack([results[f"logistic/error/{count}"].max(axis=1) for count in cells])
    within = [error.max() / results[f"logistic/tolerance/{count}"] for count, error in zip(cells, errors, strict=True)]
    rest = [results[f"logistic/distance/{count}"][:, -1].max() / results[f"logistic/bound/{count}"] for count in cells]
    network, exact = (results[f"logistic/distance/{title}"] for title in (str(cells[-1]), "exact"))
    floor = float(np.median(network[:, -1]))

    def orders(chosen: np.ndarray) -> tuple[float, float]:
        pairs = (network[chosen][:, :-1] <= NEAR) & (network[chosen][:, 1:] >= ABOVE * floor)
        return order_of(network[chosen], pairs), order_of(exact[chosen], pairs)

    measured, expected = orders(np.arange(prompts))
    apart = resampled(lambda chosen: float(np.subtract(*orders(chosen))), prompts)
    common = {"n": prompts, "seeds": (TEST,)}
    return [
        claim(
            "newton/logistic-error",
            f"largest |w_t - exact w_t| of the Transformer with {NAMED} cells, all prompts and steps, float64",
            float(results[f"logistic/error/{NAMED}"].max()),
            "<=",
            ERROR,
            source=OWN,
            **common,
        ),
        claim(
            "newton/logistic-width-rate",
            f"factor by which that error falls when the width doubles, from {cells[0]} to {cells[-1]} cells: geometric mean",
            falls(errors.max(axis=1)),
            "=",
            4.0,
            source=OWN,
            interval=resampled(lambda chosen: falls(errors[:, chosen].max(axis=1)), prompts),
            **common,
        )._replace(tolerance=0.5),
        *[
            claim(f"newton/logistic-{id}", text, float(np.max(values)), "<=", 1.0, kind="bound", source=OWN, **common)
            for id, text, values in (
                ("bound", "largest |w_t - exact w_t| over the theorem's own bound, all widths, prompts and steps", within),
                (
                    "floor",
                    "largest distance to the minimiser after the last step over the bound of where the block rests, all widths",
                    rest,
                ),
            )
        ],
        claim(
            "newton/order",
            f"slope of log e_t+1 on log e_t above the floor, {cells[-1]} cells; expected: exact damped Newton's, of the same "
            "prompts and steps; interval: that of the difference, about the expected",
            measured,
            "=",
            expected,
            source=GIANNOU,
            interval=(expected + apart[0], expected + apart[1]),
            **common,
        )._replace(tolerance=0.1),
    ]


def falls(errors: np.ndarray) -> float:
    """The geometric mean of the ratios of one error and the next."""
    return float((errors[0] / errors[-1]) ** (1.0 / (len(errors) - 1)))


def order_of(distances: np.ndarray, pairs: np.ndarray) -> float:
    """The slope of log e_{t+1} on log e_t, over the chosen prompts and steps."""
    before, after = distances[:, :-1][pairs], distances[:, 1:][pairs]
    return float(np.polyfit(np.log(before), np.log(after), 1)[0])


def resampled(statistic: Callable[[np.ndarray], float], count: int) -> tuple[float, float]:
    """The bootstrap's 95 % interval: prompts are drawn again, with repetition."""
    draw = np.random.default_rng(0)
    found = [statistic(draw.integers(0, count, count)) for _ in range(500)]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def of_orders(results: Results) -> Claim:
    """The rows of three orders at condition one are those computed apart."""
    worst = 0.0
    for order, (row, known) in ROWS.items():
        errors = results[f"orders/1/0/{order}"][:, : len(row)]
        mean, error = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
        worst = max(worst, float((np.abs(mean - np.array(row)) / np.hypot(error, known)).max()))
    return claim(
        "newton/orders-condition-1",
        "Newton's rows of orders 2, 3, 4, condition 1, steps 0 to 4: largest deviation from those computed apart, in standard "
        "errors",
        worst,
        "<=",
        4.0,
        n=len(results["orders/1/0/2"]),
        seeds=(COVARIANCES,),
        source="the expectation over spectra, by NumPy",
    )


def of_tables(results: Results) -> list[Claim]:
    """On real data the Transformer, Newton's method and scikit-learn say the same."""
    keys = [name.removesuffix("/right") for name in results if name.startswith("tables/") and name.endswith("/right")]
    gaps = [np.abs(results[f"{key}/transformer"]).max() for key in keys]
    common = {"n": sum(len(results[f"{key}/transformer"]) for key in keys), "seeds": (TABLES,)}
    return [
        claim(
            "newton/real-data-gap",
            "breast cancer and digits: largest difference of the Transformer's probabilities and scikit-learn's; expected: "
            "what the width allows where the block rests",
            float(np.max(gaps)),
            "<=",
            # a probability moves by at most a quarter of what w does, where |x| <= 1
            0.25 * float(results["tables/bound"]),
            source="scikit-learn",
            **common,
        ),
        claim(
            "newton/real-data-newton-gap",
            "the same for exact damped Newton",
            float(np.max([np.abs(results[f"{key}/newton"]).max() for key in keys])),
            "<=",
            1e-6,
            source="scikit-learn",
            **common,
        ),
    ]
