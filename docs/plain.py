"""Docstrings and signatures as the source writes them, for Sphinx.

The docstrings are plain text: paragraphs of prose; lists of `name: what it is`, two spaces apart; formulas, indented; tables
from symbols to code, in columns. Prose flows, lists become lists, and what is set out by hand keeps its columns. Signatures
come from the source text, so that a shape is shown as it was written, `Float[Array, 'n d']`, and an alias by its name.
"""

import ast
import inspect
import re
import sys
import textwrap
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

# what reST would read as its own
SPECIAL = re.compile(r"([\\*|_`<>\[\]])")
# `name: ` or `a, b: `, at the head of a paragraph or of a line in it, or two spaces behind what comes before
ENTRY = re.compile(r"(?:^|\n|  )(?=\w+(?:, \w+)*(?: \(\w\))?: )")
# what stands apart from the word before by more than a sentence does
COLUMNS = re.compile(r"[^.:;\s] {2,}\S|\S {3,}\S")


def paragraph(text: str) -> list[str]:
    """The reST lines of one paragraph."""
    lines = text.split("\n")
    if text.startswith(" ") or (len(lines) > 1 and all(COLUMNS.search(line) for line in lines[:2])):
        return ["::", "", *("    " + line for line in textwrap.dedent(text).split("\n")), ""]
    head, *entries = ENTRY.split(text)
    if head or not entries:
        return [prose(text), ""]
    named = [entry.split(": ", 1) for entry in entries]
    return [line for name, says in named for line in (f"- {prose(f'`{name}`')}: {prose(says)}", "")]


def prose(text: str) -> str:
    """One line of reST that reads as the text does; what stands in backticks is code."""
    parts = " ".join(text.split()).split("`")
    quoted = len(parts) % 2 == 1
    return r"\ " + "".join(
        rf"\ ``{part}``\ " if quoted and i % 2 and part else SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts)
    )


def docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The docstring's paragraphs, one after another."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))
    lines[:] = [line for text in paragraphs if text.strip() for line in paragraph(text)]


class Qualified(ast.NodeTransformer):
    """Names of the library's classes as the module of an object knows them, with the module where each was written."""

    def __init__(self, obj: Any) -> None:
        self.known = vars(sys.modules[obj.__module__])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """jaxl2o's classes get their module, which tells those of one name apart."""
        meant = self.known.get(node.id)
        ours = isinstance(meant, type) and meant.__module__.startswith("jaxl2o") and meant.__name__ == node.id
        return ast.parse(f"{meant.__module__}.{node.id}", mode="eval").body if ours else node


def signature(app: Any, what: str, name: str, obj: Any, options: Any, given: str | None, returns: str | None) -> Any:
    """(arguments, what is returned) from the source text of a function, or of a class by its fields or its `__init__`."""
    if what == "module" or given is None or not str(obj.__module__).startswith("jaxl2o"):
        return None
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(obj))).body
    if isinstance(node, ast.ClassDef):
        inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if not inits:
            fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
            return f"({', '.join(text_of(field, obj) for field in fields)})", None
        node, what = inits[0], "method"
    if not isinstance(node, ast.FunctionDef):
        return None
    if what == "method":
        node.args.args = node.args.args[1:]
    return f"({text_of(node.args, obj)})", node.returns and text_of(node.returns, obj)


def text_of(node: ast.AST, obj: Any) -> str:
    """The source of a part of an object; the space that marks a shape of one axis to linters is left out."""
    return re.sub(r"'\s+(\S+)'", r"'\1'", ast.unparse(Qualified(obj).visit(node)))


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Fields stand in the signature of their class."""
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field number") else None


class Modules(SphinxDirective):
    """A section for each of the modules named, one a line, with all that is public in it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The sections."""
        text = "\n".join(f"### {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in self.content)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Any) -> dict[str, Any]:
    """Connect these to autodoc, and name the directive."""
    app.add_directive("modules", Modules)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
