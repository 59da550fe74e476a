"""The extension of Sphinx that this site is built with: docstrings and signatures by `plain`, and a directive for modules."""

from typing import Any

from docutils import nodes
from plain import docstring, signature
from sphinx.util.docutils import SphinxDirective


def process_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The docstring as `plain` writes it."""
    lines[:] = docstring(lines)


def process_signature(app: Any, what: str, name: str, obj: Any, options: Any, given: str | None, returns: str | None) -> Any:
    """The signature as `plain` finds it, of what is the library's own."""
    if what == "module" or given is None or not str(obj.__module__).startswith("jaxl2o"):
        return None
    return signature(obj, bound=what == "method")


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
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
