"""A training of an experiment: in a folder of its own, with a progress bar, resumed where it was interrupted.

It is laid out over the devices as the run says.
"""

from experiments.common import Run
from experiments.parts import place_of
from jaxl2o.training.loop import Recipe, start
from jaxl2o.training.run import train_in
from jaxl2o.types import Key, Params


def fit(run: Run, title: str, recipe: Recipe, params: Params, n_steps: int, key: Key) -> Params:
    """The parameters after `n_steps` from these ones; the key draws the tasks."""
    recipe = run.placement.of(recipe)
    with run.bar(title, n_steps, recipe.batch_size) as report:
        identity, size = {"title": title, "n_steps": n_steps}, max(1, n_steps // 10)
        # no name for the state, which would keep it whole on one device
        return train_in(place_of(run, title), recipe, start(recipe, params, key), n_steps, size, identity, report).params
