"""Transformers as optimisation algorithms: theorems, trained networks and solvers on one scale.

learner.predict(params, prompt)[t] == task.predict(unroll(solver, prompt, T)[t], prompt.x_query)
"""

from importlib.metadata import version

from jaxl2o.certified.choice import lasso_cv as lasso_cv
from jaxl2o.certified.criteria import information_criteria as information_criteria
from jaxl2o.certified.descent import Descent as Descent
from jaxl2o.certified.fista import Fista as Fista
from jaxl2o.certified.homotopy import Homotopy as Homotopy
from jaxl2o.certified.lasso import lasso as lasso
from jaxl2o.certified.paths import lasso_path as lasso_path
from jaxl2o.certified.paths import prefix_lassos as prefix_lassos
from jaxl2o.certified.problem import Fraction as Fraction
from jaxl2o.constructions import CONSTRUCTIONS as CONSTRUCTIONS
from jaxl2o.constructions.construction import Construction as Construction
from jaxl2o.constructions.construction import gap as gap
from jaxl2o.models.config import TransformerConfig as TransformerConfig
from jaxl2o.models.learner import transformer_learner as transformer_learner
from jaxl2o.models.transformer import Transformer as Transformer
from jaxl2o.pretrained import load_pretrained as load_pretrained
from jaxl2o.recover import recover as recover
from jaxl2o.solvers.implicit import Implicit as Implicit
from jaxl2o.solvers.implicit import iterative_solve as iterative_solve
from jaxl2o.solvers.learned import learned as learned
from jaxl2o.solvers.unroll import Truncated as Truncated
from jaxl2o.solvers.unroll import Unrolled as Unrolled
from jaxl2o.solvers.unroll import solve as solve
from jaxl2o.solvers.unroll import unroll as unroll
from jaxl2o.types import Instance as Instance
from jaxl2o.types import Learner as Learner
from jaxl2o.types import Prompt as Prompt
from jaxl2o.types import Solver as Solver
from jaxl2o.types import Task as Task

__version__ = version("jaxl2o")
