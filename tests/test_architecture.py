"""The tree of the library as tables: who may import whom, what has one place, and what every file must have.

Nothing is run here: the files are read as syntax trees. The checks are functions of source text, and are themselves tried
on made-up bad modules, so that they cannot pass by seeing nothing.
"""

import ast
from pathlib import Path

import pytest

from experiments import common
from experiments.placement import PLACED

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "jaxl2o").rglob("*.py"))
EXPERIMENTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "experiments").rglob("*.py"))
MODULES = LIBRARY + EXPERIMENTS

BOTTOM = {"types", "checks", "files", "objectives"}
SIBLINGS = {"tasks", "solvers", "limits", "models", "training"}
MIDDLE = BOTTOM | SIBLINGS | {"constructions", "certified"}
TOP = {"evaluation", "methods", "recover", "pretrained", "sklearn"}

# layer of jaxl2o -> the other layers that its files may import
LAYERS = {
    "checks": set(),
    "files": set(),
    "types": {"checks"},
    "objectives": {"checks", "types"},
    **dict.fromkeys(SIBLINGS, frozenset(BOTTOM)),
    "constructions": BOTTOM | {"tasks", "solvers", "limits", "models"},
    "certified": BOTTOM | {"solvers"},
    "evaluation": MIDDLE,
    "pretrained": MIDDLE,
    "methods": MIDDLE | {"pretrained"},
    "recover": MIDDLE | {"pretrained", "methods"},
    "sklearn": MIDDLE | {"pretrained", "methods", "recover"},
    "cli": MIDDLE | TOP,
    "__init__": MIDDLE | {"evaluation", "pretrained", "recover"},
}

# file -> all of jaxl2o that it may import, its own folder aside
NARROW = {
    "jaxl2o/models/learner.py": {"types"},
    "jaxl2o/solvers/learned.py": {"checks", "types", "objectives"},
}

# outside package -> the folders and files that may import it
PLACES = {
    "flax": ("jaxl2o/models/", "jaxl2o/constructions/learner.py"),
    "orbax": ("jaxl2o/training/checkpoint.py",),
    "matplotlib": ("experiments/",),
    "tyro": ("experiments/", "jaxl2o/cli.py"),
    "rich": ("experiments/", "jaxl2o/cli.py"),
    "sklearn": ("experiments/", "jaxl2o/sklearn.py"),
    "chex": (),
}

# name -> the files that may say it
NAMES = dict.fromkeys(("Mesh", "make_mesh", "shard_map", "pmap"), ("jaxl2o/training/parallel.py",))

# what experiments may import of each other
SHARED_EXPERIMENTS = {
    "claims",
    "committed",
    "common",
    "figures",
    "fitting",
    "intervals",
    "machine",
    "parts",
    "placement",
    "provenance",
    "report",
    "shipping",
}

# methods whose meaning is Flax's
HOOKS = {"setup"}

LONGEST = 260


def read(module: str) -> str:
    """The source text of a file, its path relative to the root."""
    return (ROOT / module).read_text(encoding="utf-8")


def imports(module: str, source: str) -> set[str]:
    """All dotted names that a file imports, `from a import b` being a.b; relative imports made absolute."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(module.split("/")[: -node.level]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def part(dotted: str, level: int) -> str:
    """The level-th part of a dotted name, or nothing."""
    parts = dotted.split(".")
    return parts[level] if len(parts) > level else ""


def layer_of(module: str) -> str:
    """The layer of a file: its folder or its own name under jaxl2o/."""
    return module.split("/")[1].removesuffix(".py")


def imported_layers(module: str, source: str) -> set[str]:
    """The layers of jaxl2o, other than its own, that a file imports; what is no layer's comes from __init__."""
    named = {part(name, 1) for name in imports(module, source) if part(name, 0) == "jaxl2o"}
    return {name if name in LAYERS else "__init__" for name in named} - {layer_of(module)}


def wrong_layers(module: str, source: str) -> set[str]:
    """The layers that a file of jaxl2o imports and may not."""
    allowed = LAYERS.get(layer_of(module), set()) & NARROW.get(module, set(LAYERS))
    return imported_layers(module, source) - allowed


def wrong_packages(module: str, source: str) -> set[str]:
    """The outside packages that a file imports, but that have their place elsewhere."""
    roots = {part(name, 0) for name in imports(module, source)}
    return {package for package, places in PLACES.items() if package in roots and not module.startswith(places)}


def wrong_names(module: str, source: str) -> set[str]:
    """The names that a file says, but that have their place elsewhere."""
    said = {part(name, level) for name in imports(module, source) for level in range(name.count(".") + 1)}
    for node in ast.walk(ast.parse(source)):
        said |= {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
    return {name for name, places in NAMES.items() if name in said and module not in places}


def wrong_neighbours(module: str, source: str) -> set[str]:
    """The other experiments that an experiment imports; what is shared is everyone's, a subfolder its own."""
    own = module.split("/")[1].removesuffix(".py")
    others = {part(name, 1) for name in imports(module, source) if part(name, 0) == "experiments"} - {""}
    return others - SHARED_EXPERIMENTS - {own}


def undocumented(source: str) -> set[str]:
    """The public classes, functions and methods without a docstring; '' is the module itself."""
    tree = ast.parse(source)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    methods = [
        (f"{node.name}.{child.name}", child)
        for node in public
        if isinstance(node, ast.ClassDef)
        for child in node.body
        if isinstance(child, kinds) and not child.name.startswith("_") and child.name not in HOOKS
    ]
    named = [("", tree), *((node.name, node) for node in public), *methods]
    return {name for name, node in named if not ast.get_docstring(node)}


@pytest.mark.parametrize("module", LIBRARY)
def test_imports_go_one_way(module):
    """types <- tasks | solvers | limits | models | training <- constructions <- evaluation, recover, ... <- cli."""
    assert layer_of(module) in LAYERS
    assert wrong_layers(module, read(module)) == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_dependency_has_one_place(module):
    """flax in models/, orbax in training/checkpoint.py, matplotlib in experiments/, and so on."""
    assert wrong_packages(module, read(module)) == set()


@pytest.mark.parametrize("module", MODULES)
def test_devices_are_named_in_one_file(module):
    """Mesh, shard_map and pmap stand in training/parallel.py alone."""
    assert wrong_names(module, read(module)) == set()


def test_experiments_do_not_import_each_other():
    """Of each other experiments import what is shared alone; the library imports none of them."""
    assert [(module, wrong) for module in EXPERIMENTS if (wrong := wrong_neighbours(module, read(module)))] == []
    roots = {part(name, 0) for module in LIBRARY for name in imports(module, read(module))}
    assert not roots & {"experiments", "tests"}
    assert {"jax", "jaxl2o"} <= roots


def test_a_placement_is_for_those_who_use_it():
    """The experiments that take --devices, --sharding and --at-once are those whose own files place trainings."""
    shared = {f"experiments/{name}.py" for name in SHARED_EXPERIMENTS | {"__main__"}}
    use = {m for m in EXPERIMENTS if m not in shared and ("placement.of(" in read(m) or "fitting import fit" in read(m))}
    packages = {name.replace(".", "/") for name in common.EXPERIMENTS}

    def owner(module: str) -> str:
        inside = module.removeprefix("experiments/").removesuffix(".py")
        return max((name for name in packages if f"{inside}/".startswith(f"{name}/")), key=len).replace("/", ".")

    assert {owner(module) for module in use} == PLACED


def test_the_table_of_constructions_is_imported_by_no_construction():
    """constructions/__init__.py gathers its files, so none of them may import it."""
    inside = [module for module in LIBRARY if module.startswith("jaxl2o/constructions/") and "__init__" not in module]
    of_folder = {m.removeprefix("jaxl2o/constructions/").removesuffix(".py") for m in inside}
    for module in inside:
        names = {name for name in imports(module, read(module)) if name.startswith("jaxl2o.constructions")}
        assert {part(name, 2) for name in names} <= of_folder, module


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_docstring(module):
    """Every module, public class, function and method says what it is."""
    assert undocumented(read(module)) == set()


@pytest.mark.parametrize("module", LIBRARY)
def test_a_file_is_read_in_one_sitting(module):
    """No file of the library is longer than 260 lines."""
    assert read(module).count("\n") <= LONGEST


def test_no_file_is_called_utils():
    """A file is named after its idea."""
    assert not [module for module in MODULES if Path(module).stem in {"utils", "util", "helpers", "misc"}]


def test_every_layer_is_seen():
    """The walk reaches every folder of the library, and every narrow file exists."""
    folders = {path.name for path in (ROOT / "jaxl2o").iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert {"tasks", "solvers", "limits", "models", "constructions"} <= folders <= set(LAYERS)
    assert set(NARROW) <= set(LIBRARY)
    assert {"jaxl2o/types.py", "jaxl2o/solvers/unroll.py"} <= set(LIBRARY)


# (checker, where the made-up file stands, its text, what the checker must find)
BAD_MODULES = [
    (wrong_layers, "jaxl2o/solvers/bad.py", "from jaxl2o.tasks.sparse import fresh", {"tasks"}),
    (wrong_layers, "jaxl2o/tasks/bad.py", "from jaxl2o import models", {"models"}),
    (wrong_layers, "jaxl2o/tasks/bad.py", "import jaxl2o.solvers.proximal", {"solvers"}),
    (wrong_layers, "jaxl2o/tasks/bad.py", "import jaxl2o", {"__init__"}),
    (wrong_layers, "jaxl2o/tasks/bad.py", "from jaxl2o import lasso", {"__init__"}),
    (wrong_layers, "jaxl2o/tasks/bad.py", "from ..limits import least_squares", {"limits"}),
    (wrong_layers, "jaxl2o/limits/bad.py", "def late():\n    from jaxl2o.solvers.lista import lista", {"solvers"}),
    (wrong_layers, "jaxl2o/types.py", "from jaxl2o.objectives import least_squares", {"objectives"}),
    (wrong_layers, "jaxl2o/constructions/bad.py", "from jaxl2o.training import loop", {"training"}),
    (wrong_layers, "jaxl2o/evaluation/bad.py", "from jaxl2o import cli", {"cli"}),
    (wrong_layers, "jaxl2o/models/learner.py", "from jaxl2o.objectives import linear_prediction", {"objectives"}),
    (wrong_packages, "jaxl2o/solvers/bad.py", "from flax import linen as nn", {"flax"}),
    (wrong_packages, "jaxl2o/training/loop.py", "import orbax.checkpoint as ocp", {"orbax"}),
    (wrong_packages, "jaxl2o/evaluation/bad.py", "import matplotlib.pyplot as plt", {"matplotlib"}),
    (wrong_packages, "jaxl2o/recover.py", "import tyro, rich", {"tyro", "rich"}),
    (wrong_packages, "jaxl2o/certified/lasso.py", "from sklearn.linear_model import Lasso", {"sklearn"}),
    (wrong_packages, "experiments/bad.py", "import chex", {"chex"}),
    (wrong_names, "jaxl2o/training/loop.py", "import jax\njax.shard_map(f)", {"shard_map"}),
    (wrong_names, "jaxl2o/training/loop.py", "from jax.sharding import Mesh as Devices", {"Mesh"}),
    (wrong_names, "experiments/bad.py", "from jax import pmap", {"pmap"}),
    (wrong_neighbours, "experiments/bad.py", "from experiments import exactness, common", {"exactness"}),
    (wrong_neighbours, "experiments/__main__.py", "from experiments.newton import run", {"newton"}),
    (wrong_neighbours, "experiments/bad.py", "from . import newton, figures", {"newton"}),
    (lambda _, source: undocumented(source), "", "def f(): pass\nclass A:\n    def g(self): pass", {"", "f", "A", "A.g"}),
    (
        lambda _, source: undocumented(source),
        "",
        '"""m."""\ndef _f(): pass\nclass A:\n    "a."\n    def g(self): pass',
        {"A.g"},
    ),
]


@pytest.mark.parametrize(("checker", "module", "source", "found"), BAD_MODULES)
def test_the_checks_refuse_a_bad_module(checker, module, source, found):
    """Each rule finds exactly what is wrong with a file that breaks it."""
    assert checker(module, source) == found


# (checker, where the file may stand, a text that breaks the rule elsewhere)
GOOD_MODULES = [
    (wrong_layers, "jaxl2o/constructions/good.py", "from jaxl2o.tasks import sparse\nfrom jaxl2o import checks"),
    (wrong_layers, "jaxl2o/cli.py", "from jaxl2o import recover, evaluation"),
    (wrong_layers, "jaxl2o/solvers/good.py", "from jaxl2o.solvers.unroll import unroll\nfrom jaxl2o import checks"),
    (wrong_packages, "jaxl2o/constructions/learner.py", "import flax"),
    (wrong_packages, "jaxl2o/sklearn.py", "from sklearn.base import BaseEstimator"),
    (wrong_packages, "jaxl2o/evaluation/good.py", "from jaxl2o import sklearn, rich"),
    (wrong_names, "jaxl2o/training/parallel.py", "import jax\njax.make_mesh((8,), ('batch',))"),
    (wrong_neighbours, "experiments/speed/solvers.py", "from experiments import common\nfrom experiments.speed import timing"),
]


@pytest.mark.parametrize(("checker", "module", "source"), GOOD_MODULES)
def test_the_checks_let_a_good_module_pass(checker, module, source):
    """No rule refuses what is in its place."""
    assert checker(module, source) == set()
