"""The page of a class, for the teacher: one file that asks for no other, whatever students wrote."""

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from fer_tools.grading import marks, pieces
from fer_tools.grading.grades import Graded, Student
from fer_tools.grading.marks import STATES, SectionMarks

MEANING = {
    "graded": "every check has decided",
    "look": "a check leaves it to a person",
    "missing": "a file is not there",
    "ambiguous": "which file is meant cannot be told",
    "unreadable": "a file cannot be opened",
}
WIDTH, ROW, MARGIN, HEAD = 720, 14, 24, 34  # of the drawing
NOTHING = "–"  # in a cell


def text(graded: Graded) -> str:
    """Return the page."""
    title = escape(graded.title)
    body = f"""<a class="skip" href="#students">Skip to the students</a>
<main>
<h1>{title}</h1>
{_counts(graded)}
<p class="soft">What a check has not decided has no points yet, which is not 0.</p>
{_remarks(graded)}
{"".join(_distribution(graded))}
<h2 id="students">Students</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Table of students">
{_table(graded)}
</div>
{_shared(graded)}
<h2>About</h2>
<dl class="facts">{"".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in graded.facts)}</dl>
</main>"""
    return pieces.document(title, body, script=True)


def _counts(graded: Graded) -> str:
    counted = Counter(student.marked.state for student in graded.students)
    entries = (
        f'<li><strong>{counted[state]}</strong> <span class="state {state}">{state}</span>'
        f' <span class="soft">{MEANING[state]}</span></li>'
        for state in reversed(STATES)
        if counted[state]
    )
    return f'<ul class="counts">{"".join(entries)}</ul>'


def _remarks(graded: Graded) -> str:
    if not graded.remarks:
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in graded.remarks)
    return f"<details><summary>{len(graded.remarks)} remarks</summary><ul>{lines}</ul></details>"


# -- the drawing -------------------------------------------------------------------------------------------


def _distribution(graded: Graded) -> Iterator[str]:
    """Yield a drawing for each section that asks for an accuracy."""
    for name, threshold in graded.rubric.thresholds.items():
        found = []
        for student in graded.students:
            figures = graded.figures(student, name)
            if figures:
                found.append((*figures, student.name))
        if found:
            section = next(s for s in graded.rubric.sections if s.id == name)
            yield f"<h2>Accuracy, {escape(section.title)}</h2>\n" + _drawing(sorted(found), threshold)


def _drawing(found: list[tuple[float, float, float, str]], threshold: float) -> str:
    """Draw a point and an interval a student, the best at the top, and the threshold."""
    low = min(0.3, *(each[1] for each in found)) // 0.1 * 0.1
    height = HEAD + ROW * len(found) + MARGIN

    def x(share: float) -> float:
        return round(MARGIN + (share - low) / (1 - low) * (WIDTH - 2 * MARGIN), 1)

    kinds = Counter()
    lines = []
    for tenth in range(round(low * 10), 11):
        at = x(tenth / 10)
        lines.append(f'<line class="axis" x1="{at}" x2="{at}" y1="{HEAD - 8}" y2="{height - MARGIN + 4}"/>')
        lines.append(f'<text x="{at}" y="{height - 4}" text-anchor="middle">{10 * tenth} %</text>')
    for i, (share, start, end, name) in enumerate(reversed(found)):
        y = HEAD + ROW * i + ROW // 2
        kind = "within" if start <= threshold <= end else "above" if share > threshold else "below"
        kinds[kind] += 1
        said = escape(f"{name}: {share:.1%} ({start:.1%} to {end:.1%})")
        lines.append(
            f'<g class="{kind}"><title>{said}</title>'
            f'<line class="interval" x1="{x(start)}" x2="{x(end)}" y1="{y}" y2="{y}"/>'
            f"{_point(kind, x(share), y)}</g>"
        )
    at = x(threshold)
    lines.append(f'<line class="threshold" x1="{at}" x2="{at}" y1="{HEAD - 12}" y2="{height - MARGIN + 4}"/>')
    anchor = "end" if at > WIDTH - 60 else "start" if at < 60 else "middle"
    label = f"threshold {threshold:.0%}"
    lines.append(f'<text class="threshold-label" x="{at}" y="14" text-anchor="{anchor}">{label}</text>')
    summary = (
        f"{len(found)} models: {kinds['above']} above {threshold:.0%} beyond doubt, {kinds['below']} "
        f"below it, {kinds['within']} whose 95 % interval holds it."
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Drawing of accuracies">'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{summary}">{"".join(lines)}</svg></div>'
        f'<p class="soft">{summary} A point is a model, its line the interval; figures are in the table.</p>'
    )


def _point(kind: str, x: float, y: int) -> str:
    """Draw a point whose shape says what its colour says."""
    if kind == "below":
        return f'<path d="M{x - 4} {y - 3.5}h8l-4 7.5z"/>'
    return f'<circle cx="{x}" cy="{y}" r="4"/>'


# -- the table ---------------------------------------------------------------------------------------------


def _table(graded: Graded) -> str:
    sections = [section for section in graded.rubric.sections if section.id in graded.rubric.thresholds]
    headings = [("Student", ""), ("State", "")]
    headings += [(section.id, "number") for section in sections]
    headings += [("Points", "number")]
    head = "".join(
        f'<th scope="col"{_class(kind)}><button type="button">{escape(name)}</button></th>'
        for name, kind in headings
    )
    rows = "\n".join(
        _row(graded, student, [section.id for section in sections], i)
        for i, student in enumerate(graded.students)
    )
    return f'<table class="students"><thead><tr>{head}</tr></thead>\n{rows}\n</table>'


def _row(graded: Graded, student: Student, sections: Iterable[str], i: int) -> str:
    marked, name = student.marked, escape(student.name)
    cells = [f'<th scope="row" data-key="{name}">{name}</th>']
    rank = len(STATES) - STATES.index(marked.state)
    cells.append(f'<td data-key="{rank}"><span class="state {marked.state}">{marked.state}</span></td>')
    for section in sections:
        figures = graded.figures(student, section)
        key, shown = (f"{figures[0]:.6f}", f"{figures[0]:.1%}") if figures else ("", NOTHING)
        title = f' title="{figures[1]:.1%} to {figures[2]:.1%}"' if figures else ""
        cells.append(f'<td class="number" data-key="{key}"{title}>{shown}</td>')
    key = "" if marked.automatic is None else f"{marked.automatic:g}"
    cells.append(f'<td class="number" data-key="{key}">{marked.points}</td>')
    summary = escape(marked.why) or "what was found"
    return (
        f'<tbody id="s{i}"><tr>{"".join(cells)}</tr><tr class="more"><td colspan="{len(cells)}">'
        f"<details><summary>{summary}</summary>{_fold(student)}</details></td></tr></tbody>"
    )


def _fold(student: Student) -> str:
    """Return all that is known of a student's files."""
    parts = [_section(section) for section in student.marked.sections]
    for title, lines in (("To read", student.papers), ("Left out of what was handed in", student.remarks)):
        if lines:
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            parts.append(f"<h3>{title}</h3><ul>{items}</ul>")
    link = escape(f"feedback/{student.file}.html")
    parts.append(f'<p><a href="{link}">Feedback for the student</a></p>')
    return f'<div class="fold">{"".join(parts)}</div>'


def _section(each: SectionMarks) -> str:
    parts = [f"<h3>{escape(each.section.title)}</h3>"]
    if each.place:
        parts.append(f"<p><code>{escape(each.place)}</code>{escape(_file_facts(each))}</p>")
    if each.why:
        parts.append(
            f'<p><span class="state {each.state}">{each.state}</span>: {pieces.html_of(each.why)}</p>'
        )
    parts.append(f'<ul class="items">{"".join(_item(mark, each.why) for mark in each.marks)}</ul>')
    if each.diagnosis and each.section.file == "model":
        if each.diagnosis["reading"]:
            parts.append(f"<p>{pieces.html_of(each.diagnosis['reading']['sentence'])}</p>")
        parts.append(_confusion(each.diagnosis))
    for finding in pieces.findings_of(each):
        advice = f'<p class="advice">{pieces.html_of(finding["advice"])}</p>' if finding["advice"] else ""
        parts.append(f"<p>{pieces.html_of(finding['text'])}</p>{advice}")
    return "".join(parts)


def _item(mark: marks.Mark, known: str) -> str:
    """Return an item with what its points rest on, unless that is known."""
    by = "a check" if mark.state == "graded" else "a person"
    why = f": {pieces.html_of(mark.why)}" if mark.why and mark.why != known else ""
    return (
        f'<li><span class="points">{mark.text}</span> <span>{escape(mark.item.text)} '
        f'<span class="soft">· by {by}{why}</span></span></li>'
    )


def _file_facts(each: SectionMarks) -> str:
    diagnosis = each.diagnosis
    if not diagnosis or diagnosis["state"] == "refused" or each.section.file != "model":
        return ""
    container, size = diagnosis["container"] or {}, diagnosis["input"] or {}
    facts = [container.get("kind"), container.get("keras") and f"Keras {container['keras']}"]
    facts += container.get("notes") or []
    if all(size.get(side) for side in ("height", "width", "channels")):
        facts.append(f"input {size['height']}x{size['width']}x{size['channels']}")
    if diagnosis["parameters"]:
        facts.append(f"{diagnosis['parameters']:,} parameters")
    return "".join(f", {fact}" for fact in facts if fact)


def _confusion(diagnosis: dict[str, Any]) -> str:
    """Return the table of true and recognised expressions."""
    test = diagnosis["test"]
    if not test:
        return ""
    names = ("neutral", "happy", "surprise")
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{name}</th>' + "".join(f'<td class="number">{n}</td>' for n in row) + "</tr>"
        for name, row in zip(names, test["confusion"], strict=True)
    )
    caption = f"Test images: what they are (rows), what was recognised (columns); {test['accuracy']:.1%}"
    if test["accuracy_without_twins"] is not None:
        caption += f", without twins of training images {test['accuracy_without_twins']:.1%}"
    if test["as_the_game"] is not None:
        caption += f", as the game reads it {test['as_the_game']:.1%}"
    return (
        f'<p class="soft">{caption}.</p><table class="confusion"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _shared(graded: Graded) -> str:
    """Return which models have the same weights: a fact about files, for the teacher alone."""
    if not graded.shared:
        return ""
    places = {student.name: i for i, student in enumerate(graded.students)}
    lines = "".join(
        "<li>"
        + ", ".join(
            f'<a href="#s{places[name]}">{escape(name)}</a> ({escape(section)})' for name, section in group
        )
        + "</li>"
        for group in graded.shared
    )
    return (
        "<h2>Models with the same weights</h2>"
        f"<p>Number for number, however the files were packed. Feedback does not say so.</p><ul>{lines}</ul>"
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
