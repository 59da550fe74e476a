"""Docstrings and signatures as the source writes them, in the language of Sphinx.

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


def docstring(lines: list[str]) -> list[str]:
    """The reST lines of a docstring: its paragraphs, one after another."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))
    return [line for text in paragraphs if text.strip() for line in paragraph(text)]


class Qualified(ast.NodeTransformer):
    """Names of the library's classes as the module of an object knows them, with the module where each was written."""

    def __init__(self, obj: Any) -> None:
        self.known = vars(sys.modules[obj.__module__])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """jaxl2o's classes get their module, which tells those of one name apart."""
        meant = self.known.get(node.id)
        ours = isinstance(meant, type) and meant.__module__.startswith("jaxl2o") and meant.__name__ == node.id
        return ast.parse(f"{meant.__module__}.{node.id}", mode="eval").body if ours else node


def signature(obj: Any, bound: bool = False) -> tuple[str, str | None] | None:
    """(arguments, what is returned) from the source text of a function, or of a class by its fields or its `__init__`.

    bound: the first argument, which a call does not name, is left out.
    """
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(obj))).body
    if isinstance(node, ast.ClassDef):
        inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if not inits:
            fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
            return f"({', '.join(text_of(field, obj) for field in fields)})", None
        node, bound = inits[0], True
    if not isinstance(node, ast.FunctionDef):
        return None
    if bound:
        node.args.args = node.args.args[1:]
    return f"({text_of(node.args, obj)})", node.returns and text_of(node.returns, obj)


def text_of(node: ast.AST, obj: Any) -> str:
    """The source of a part of an object; the space that marks a shape of one axis to linters is left out."""
    return re.sub(r"'\s+(\S+)'", r"'\1'", ast.unparse(Qualified(obj).visit(node)))
