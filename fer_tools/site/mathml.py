"""Equations as MathML, which browsers draw by themselves: no script, nothing asked for elsewhere."""

import json
import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from docutils import nodes
from sphinx.util import logging

from fer_tools import environment
from fer_tools.report.build import pandoc

logger = logging.getLogger(__name__)
THIN = '<mspace width="0.17em"></mspace>'  # between log and p, where browsers leave nothing

ACCENTS = {0x302: "\u02c6", 0x303: "\u02dc"}  # hat and tilde: those that combine are stretched, or cut off


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

    Returns
    -------
    dict
        MathML by kind and TeX; without those that are beyond pandoc.
    """
    listed = sorted({*equations})
    blocks = [{"t": "Para", "c": [{"t": "Math", "c": [{"t": kind}, tex]}]} for kind, tex in listed]
    document = {"pandoc-api-version": [1, 23, 1], "meta": {}, "blocks": blocks}
    command = [pandoc(), "--from=json", "--to=html", "--mathml", "--wrap=none"]
    given = json.dumps(document).encode()
    variables = environment.of_tool()
    done = subprocess.run(command, input=given, capture_output=True, env=variables, check=False)
    text = re.sub("<mo>&#8289;</mo>(?=</mrow><m(?!o[ >]))", THIN, done.stdout.decode()).translate(ACCENTS)
    found = zip(listed, re.findall(r"<p>(.*?)</p>", text, re.DOTALL), strict=True)
    return {equation: shown for equation, shown in found if shown.startswith("<math")}


def _key(node: Any) -> tuple[str, str]:
    return "InlineMath" if isinstance(node, nodes.math) else "DisplayMath", node.astext().strip()


def _convert(app: Any, env: Any) -> None:
    """Convert all equations of all pages by one call of pandoc, before processes share the writing."""
    pages = (env.get_doctree(name) for name in sorted(env.found_docs))
    found = [node for page in pages for kind in (nodes.math, nodes.math_block) for node in page.findall(kind)]
    env.mathml = mathml(map(_key, found))
    for node in found:
        if _key(node) not in env.mathml:
            logger.warning("no equation that can be shown: %s", node.astext(), location=node)


def _inline(translator: Any, node: Any) -> None:
    translator.body.append(translator.builder.env.mathml.get(_key(node), ""))
    raise nodes.SkipNode


def _display(translator: Any, node: Any) -> None:
    translator.body.append('<div class="math">')
    with suppress(nodes.SkipNode):
        _inline(translator, node)
    translator.body.append("</div>")
    raise nodes.SkipNode
