"""A picture of one's own: the faces on it, what a network says of each, and where it looked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fer_lib import attention, evaluation
from fer_lib.data.picture import decode_picture, network_input
from fer_lib.figures import style
from fer_lib.files import printable
from fer_tools import predict_files
from fer_tools.face_finder import draw
from fer_tools.widgets import panel

if TYPE_CHECKING:
    import keras

MOST = 4  # faces that are shown
MOST_CLASSES = 7  # whose probabilities are
THUMBNAIL = 220  # pixels of the picture as it is shown
# Jupyter ends the connection at messages that are too large for it, 10 MB where it is not told otherwise.
NONE = (
    "No picture yet: a JPEG, PNG or BMP. Where none arrives, it is too large for Jupyter; run the cell again."
)


def answer(
    network: "keras.Model", classes: Sequence[str], file: Sequence[Any], crop: bool = False
) -> panel.Answer:
    """Return what is found on a picture, and a row for each face: face, Grad-CAM, probabilities.

    Parameters
    ----------
    network : keras.Model
        As a run has it: of grey images, with values of 0 to 255.
    classes : sequence of str
        Of its outputs, in order.
    file : sequence of at most one mapping
        With `name` and `content`, as an upload has them.
    crop : bool
        Whether the picture is a face already; see `fer_tools.predict_files.predict_files`.

    Raises
    ------
    UsageError
        If it is no picture, or there is no face on it.
    """
    if not file:
        return NONE, None
    name = printable(file[0]["name"])[:100]
    picture = decode_picture(bytes(file[0]["content"]), name)[0]
    found = list(predict_files.faces_on(picture, name, crop))
    faces = np.stack([face for face, _ in found[:MOST]])
    images = network_input(faces, network.input_shape[1])
    probabilities = evaluation.predict(network, images)
    rows = [
        {"class": classes[row.argmax()], "probabilities": dict(zip(classes, map(float, row), strict=True))}
        | place
        for row, (_, place) in zip(probabilities, found, strict=False)
    ]
    shown = draw.drawn(picture, [row for row in rows if row.get("box")], classes)
    shown.thumbnail((THUMBNAIL, THUMBNAIL))
    answers = "; ".join(f"{row['class']} {row['probabilities'][row['class']]:.0%}" for row in rows)
    said = [f"{name}: {answers}."]
    if len(found) > 1:
        those = "they are shown" if len(found) <= MOST else f"the first {MOST} are shown"
        said.append(f"{len(found)} faces were found on it; {those}, from left to right.")
    if rows[0].get("box", True) is None:
        said.append("No face was found on it; as it is small, all of it was taken for one.")
    maps = attention.grad_cam(network, images)
    return " ".join(said), looked_at(shown, faces, maps, probabilities, classes)


@style.styled
def looked_at(
    picture: Image.Image,
    faces: np.ndarray,
    maps: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> style.Figure:
    """Draw the picture, and of each face what the network got, where it looked, and what it says.

    Parameters
    ----------
    picture : PIL.Image.Image
    faces : (n, height, width) uint8
    maps : (n, rows, columns) in 0..1, from `fer_lib.attention.grad_cam`.
    probabilities : (n, k) float
    classes : sequence of str
    """
    n, colours = len(faces), np.array(style.class_colours(classes))
    figure, axes = style.subplots(n, 4, 1.6 * n, width_ratios=(1.6, 1, 1, 1.2))
    for ax in axes[1:, 0]:
        ax.set_axis_off()
    style.show(axes[0, 0], np.asarray(picture))
    for ax in axes[:, :3].flat:
        ax.set_anchor("NW")
    for (_, face, overlay, bars), image, heat, row in zip(axes, faces, maps, probabilities, strict=True):
        height, width = image.shape
        for ax in (face, overlay):
            style.show(ax, image)
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)  # maps cover the face, in fewer and larger places
        overlay.imshow(heat, "inferno", vmin=0, vmax=1, alpha=0.55, extent=extent, interpolation="bilinear")
        likely = np.sort(np.argsort(-row, kind="stable")[:MOST_CLASSES])  # in the order of the classes
        names = [classes[i] for i in likely]
        drawn = bars.barh(names, row[likely], 0.6, color=colours[likely])
        bars.bar_label(drawn, [style.percent(value) for value in row[likely]], padding=3, fontsize=8)
        bars.set(xlim=(0, 1.4), ylim=(len(names) - 0.4, -0.6), xticks=[])
        bars.spines["bottom"].set_visible(False)
        style.bare(bars, ticks="y")
    for ax, title in zip(
        axes[0], ("the picture", "the face", "what speaks for it", "probability"), strict=True
    ):
        ax.set_title(title, loc="left")
    return figure


def show(network: "keras.Model", classes: Sequence[str]) -> None:
    """Show a button for a picture beneath which the answer to it is drawn; see `answer`."""

    def controls() -> dict[str, Any]:
        import ipywidgets

        # Telephones offer their camera, too.
        upload = ipywidgets.FileUpload(accept="image/jpeg,image/png,image/bmp", description="Picture")
        crop = ipywidgets.Checkbox(False, description="crop: all of it is the face", indent=False)
        return {"file": upload, "crop": crop}

    panel.show(lambda **chosen: answer(network, classes, **chosen), controls)
