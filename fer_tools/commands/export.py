"""Write a network for browsers and phones.

Write a network as ONNX, with which the game plays, or as TFLite: without augmentation. The file
says its classes and its input. It is accepted if it answers 64 images as Keras does, to 0.00001.
"""

from pathlib import Path
from typing import Any


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument(
        "model",
        metavar="RUN",
        nargs="?",
        help="a run, small_model, which is shipped, too, or a .keras file; optimized_model, if not given",
    )
    parser.add_argument("--classes", metavar="A,B,...", help="classes of a .keras file that no run knows")
    parser.add_argument("--scale", metavar="A..B", help="pixels of a .keras file: 0..255, 0..1 or =-1..1")
    parser.add_argument("--format", choices=["onnx", "tflite"], default="onnx")
    parser.add_argument("--out", metavar="FILE", type=Path, help="file to write; default: NAME.onnx here")


def action(options: Any) -> None:
    """Write the file, and say how it compares."""
    from fer_tools import predict_files
    from fer_tools.console import complain, say
    from fer_tools.model_files import export, limits

    classes = options.classes.split(",") if options.classes is not None else None
    with limits.bounded(options.model or "the shipped network"):
        predictor, classes = predict_files.choose(options.model, classes, options.scale)
    source = Path(predictor.name)
    target = options.out or Path(f"{source.stem}.{options.format}")
    made = export.export(predictor.model, source, classes, target, options.format, predictor.scale)
    size, kilobytes = made.metadata["input"]["size"], target.stat().st_size / 1000
    answers = f"{len(classes)} classes, {size}x{size} pixels, {kilobytes:,.0f} kB"
    say(f"{target}: {answers}; differs from Keras by {made.difference:.1g} at most")
    for note in predictor.notes:
        complain(note)
