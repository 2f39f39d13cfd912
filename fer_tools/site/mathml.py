"""Equations as MathML, which browsers draw by themselves: no script, no font, nothing asked for elsewhere."""

import json
import re
import subprocess
from collections.abc import Iterable
from typing import Any

from docutils import nodes

from fer_tools import environment
from fer_tools.report.build import pandoc


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("env-updated", _convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def mathml(equations: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the MathML of equations.

    Parameters
    ----------
    equations : iterable of (kind, TeX)
        Kinds are "InlineMath" and "DisplayMath".

    Raises
    ------
    ValueError
        If one is beyond pandoc; says which.
    """
    listed = sorted({*equations})
    blocks = [{"t": "Para", "c": [{"t": "Math", "c": [{"t": kind}, tex]}]} for kind, tex in listed]
    document = {"pandoc-api-version": [1, 23, 1], "meta": {}, "blocks": blocks}
    command = [pandoc(), "--from=json", "--to=html", "--mathml", "--wrap=none"]
    given = json.dumps(document).encode()
    variables = environment.of_tool()
    done = subprocess.run(command, input=given, capture_output=True, env=variables, check=False)
    if done.returncode or done.stderr:
        raise ValueError(" ".join(done.stderr.decode(errors="replace").split()))
    found = re.findall(r"<math .*?</math>", done.stdout.decode(), re.DOTALL)
    return dict(zip(listed, found, strict=True))


def _key(node: Any) -> tuple[str, str]:
    return "InlineMath" if isinstance(node, nodes.math) else "DisplayMath", node.astext().strip()


def _convert(app: Any, env: Any) -> None:
    """Convert all equations of all pages by one call of pandoc, before processes share the writing."""
    pages = (env.get_doctree(name) for name in env.found_docs)
    either = lambda node: isinstance(node, nodes.math | nodes.math_block)  # noqa: E731
    env.mathml = mathml(_key(node) for page in pages for node in page.findall(either))


def _inline(translator: Any, node: Any) -> None:
    translator.body.append(translator.builder.env.mathml[_key(node)])
    raise nodes.SkipNode


def _display(translator: Any, node: Any) -> None:
    translator.body.append(f'<div class="math">{translator.builder.env.mathml[_key(node)]}</div>')
    raise nodes.SkipNode
