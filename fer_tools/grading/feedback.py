"""What a student reads: in plain words, of the own files alone, with the line to change."""

import re
from collections.abc import Iterator
from html import escape

from fer_tools.grading import pieces
from fer_tools.grading.marks import Mark, Marked, SectionMarks
from fer_tools.grading.rubric import Rubric

SUFFIXES = (".md", ".html")
# What somebody can do about what was not graded.
WAYS_OUT = {
    "unreadable": 'Save the network anew, `model.save("model.keras")`, open it once yourself with '
    '`keras.models.load_model("model.keras")`, and hand in that file, in a plain folder or zip.',
    "ambiguous": "Hand in one model a section, or add a file `submission.json` that says which is which, for "
    "example `{example}`.",
    "missing": 'Hand in the file that `model.save("model.keras")` wrote, with the section in its name, for '
    "example `{name}.keras`.",
    "look": "A person will look at it.",
}
GAME = "Hand in the one program with `_get_emotion`, as a plain .py file."
# What means something in Markdown; what does not is left, to be read as it is.
SPECIAL = re.compile(r"([\\`*\[\]|#~]|^[>+-]|(?<!\w)_|_(?!\w)|<(?=[a-zA-Z/!?])|&(?=[#\w]+;))")


def texts(name: str, marked: Marked, rubric: Rubric) -> dict[str, str]:
    """Return the feedback of a student as Markdown and as a page, by `SUFFIXES`."""
    blocks = list(_blocks(name, marked, rubric))
    return {".md": _markdown(blocks), ".html": _page(name, blocks)}


def _blocks(name: str, marked: Marked, rubric: Rubric) -> Iterator[tuple[str, str]]:
    """Yield what is said: (kind, text), the kinds being those of `_TAGS`."""
    yield "title", f"{rubric.assignment or 'Feedback'}: {name}"
    yield (
        "text",
        f"Points so far: {marked.points} that are decided by measuring. {marked.most(False):g} more are a "
        "person's to give, who has the last word on all of them.",
    )
    for section in marked.sections:
        yield "section", section.section.title
        yield from _of_section(section, rubric)


def _of_section(section: SectionMarks, rubric: Rubric) -> Iterator[tuple[str, str]]:
    diagnosis = section.diagnosis
    if section.place:
        yield "text", f"File: `{section.place.replace('`', '')}`"
    if section.state in WAYS_OUT:
        example = ", ".join(f'"{s.id}": "{s.id}.keras"' for s in rubric.sections if s.file == "model")
        yield "text", f"Not decided yet: {section.why}."
        name = "".join((section.section.named or (section.section.id,))[0].split())
        game = section.section.file == "game" and section.state != "look"
        way = GAME if game else WAYS_OUT[section.state].format(example=f"{{{example}}}", name=name)
        yield "advice", way
    for mark in section.marks:
        yield "item", _of_item(mark)
    if diagnosis is None or diagnosis["state"] == "refused":
        return
    if section.section.file == "model" and diagnosis["reading"]:
        yield "text", diagnosis["reading"]["sentence"]
    if section.section.file == "game" and diagnosis["game"]:
        yield "text", diagnosis["game"]["sentence"]
    found = pieces.findings_of(section)
    if found:
        yield "subtitle", "What was found, and what to change"
    for finding in found:
        yield "finding", finding["text"]
        if finding["advice"]:
            yield "advice", finding["advice"]


def _of_item(mark: Mark) -> str:
    item = mark.item
    most = f"{item.points:g} point{'s' * (item.points != 1)}"
    if mark.points is not None:
        points = f"{mark.points:g} of {most}"
    else:
        points = f"{most}, {'not decided yet' if item.kind == 'auto' else 'by a person'}"
    # Where nothing could be measured, the section has said why; what a person gets to see is the person's.
    why = f": {mark.why}" if mark.why and mark.state in ("graded", "look") else ""
    return f"{item.text} ({points}){why}"


def _markdown(blocks: list[tuple[str, str]]) -> str:
    starts = {"title": "# ", "section": "\n## ", "subtitle": "\n### ", "item": "- ", "finding": "\n1. "}
    starts |= {"text": "\n", "advice": "\n   What to do: "}
    lines, before = [], ""
    for kind, text in blocks:
        said = "".join(
            f"`{part}`" if is_code else SPECIAL.sub(r"\\\1", part)
            for is_code, part in pieces.code_and_words(text)
        )
        if kind == "item" and before != "item":
            lines.append("")
        lines.append(starts[kind] + said)
        before = kind
    return "\n".join(lines) + "\n"


def _page(name: str, blocks: list[tuple[str, str]]) -> str:
    tags = {"title": "h1", "section": "h2", "subtitle": "h3", "text": "p", "finding": "p"}
    body = []
    for kind, text in blocks:
        said = pieces.html_of(text)
        if kind == "item":
            body.append(f"<ul><li>{said}</li></ul>")
        elif kind == "advice":
            body.append(f'<p class="advice"><strong>What to do:</strong> {said}</p>')
        else:
            body.append(f"<{tags[kind]}>{said}</{tags[kind]}>")
    content = "\n".join(body).replace("</ul>\n<ul>", "\n")
    return pieces.document(f"Feedback: {escape(name)}", f'<main class="narrow">\n{content}\n</main>')
