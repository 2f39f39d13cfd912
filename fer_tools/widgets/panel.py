"""Controls above a sentence and a picture, in an open notebook; where it is executed by no page, nothing."""

import html
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fer_lib.figures.style import Figure
from fer_lib.files import UsageError

DOTS = 120  # an inch, as in the outputs of cells
Answer = tuple[str, Figure | None]  # a sentence, and the picture that goes with it, if any


def opened() -> bool:
    """Return whether a page executes this cell: pages say of which cell a request is, papermill does not.

    So nothing is shown, and a notebook keeps its bytes, where papermill, nbconvert or nbval executes it.
    """
    interactive = sys.modules.get("IPython")
    request = getattr(interactive and interactive.get_ipython(), "parent_header", {})
    return "cellId" in request.get("metadata", {})


def settled(answer: Callable[..., Answer], **chosen: Any) -> Answer:
    """Return an answer; where there is none, the sentence says why, in place of a traceback."""
    try:
        return answer(**chosen)
    except UsageError as error:
        return str(error), None


def show(answer: Callable[..., Answer], controls: Callable[[], Mapping[str, Any]]) -> None:
    """Show controls, and the answer to what they are set to; anew whenever one of them is moved.

    Parameters
    ----------
    answer : callable
        Takes the values of the controls by name.
    controls : callable
        Makes the widgets, by name; called only where they are shown.
    """
    if not opened():
        return
    import ipywidgets
    from IPython.display import display

    made = controls()
    said, picture = (
        ipywidgets.HTML(),
        ipywidgets.Image(layout={"max_width": "100%", "align_self": "flex-start"}),
    )

    def draw(_: Any = None) -> None:
        sentence, figure = settled(answer, **{name: control.value for name, control in made.items()})
        picture.value = _png(figure) if figure else b""
        picture.layout.display = None if figure else "none"
        said.value = (
            f"<span>{html.escape(sentence)}</span>"  # last: where it can be read, the picture is there
        )

    for control in made.values():
        control.style.description_width = "initial"
        control.layout.margin = "2px 20px 2px 2px"
        control.observe(draw, "value")
    draw()
    row = ipywidgets.HBox(list(made.values()), layout={"flex_flow": "row wrap", "align_items": "center"})
    display(ipywidgets.VBox([row, said, picture]))


def _png(figure: Figure) -> bytes:
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=DOTS)
        return buffer.getvalue()


def choice(name: str, options: Sequence[tuple[str, str]]) -> Any:
    """Return a widget that offers values by their labels; where there is but one, it cannot be moved."""
    import ipywidgets

    one = len(options) == 1
    return ipywidgets.Dropdown(
        options=options, description=name, disabled=one, layout={"width": "max-content"}
    )


def number(name: str, value: int, least: int, most: int) -> Any:
    """Return a widget for a whole number."""
    import ipywidgets

    bounds = {"min": least, "max": most}
    return ipywidgets.BoundedIntText(value, description=name, layout={"width": "9em"}, **bounds)
