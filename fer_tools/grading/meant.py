"""Which file of a submission is meant: by a manifest, or by names that say so clearly.

Never the best of several: that would be a choice on the test images.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fer_lib.files import UsageError, printable
from fer_tools.grading.rubric import Rubric, Section
from fer_tools.grading.submissions import LARGEST_TEXT, Contents, File, Unreadable, digest, programs_with
from fer_tools.yaml_files import parsed

MOST_MODELS = 50  # among which names are compared
NAMED = 4  # files in a message
GAME = b"def _get_emotion"
HINT = "a file submission.json such as {example} says it"


@dataclass(frozen=True)
class Choice:
    """What a section is about.

    Attributes
    ----------
    state : str
        "clear", "only" (the only model, and nothing says for which section), "ambiguous", "missing" or
        "unreadable".
    why : str
        How it was found, or why not: one line.
    file : File or None
        Of those that are clear or only.
    sha256 : str
        Of its bytes.
    """

    state: str
    why: str
    file: File | None = None
    sha256: str = ""


@dataclass(frozen=True)
class _Model:
    """A model; `why` it cannot be read, and the sections for which its name says that it is meant."""

    file: File
    sha256: str
    why: str
    sections: set[str]

    def choice(self, state: str, why: str) -> Choice:
        """Return this model as a choice."""
        return Choice("unreadable", self.why) if self.why else Choice(state, why, self.file, self.sha256)


def choose(contents: Contents, rubric: Rubric) -> dict[str, Choice]:
    """Find the file that each section of a rubric is about, by the section's id."""
    sections = [section for section in rubric.sections if section.file]
    try:
        manifest = _manifest(contents, sections)
    except Unreadable as error:
        return {section.id: Choice("ambiguous", str(error)) for section in sections}
    found = {}
    wanted = [section for section in sections if section.file == "model" and manifest is None]
    if wanted:
        found |= _by_names(contents, wanted)
    for section in sections:
        if section.id in found:
            continue
        if section.id in (manifest or {}):
            found[section.id] = _named(contents, section, *manifest[section.id])
        elif section.file == "game":
            found[section.id] = _game(contents)
        else:
            found[section.id] = Choice("missing", f"{contents.manifests[0].place} names no model for it")
    return found


def _manifest(
    contents: Contents, sections: Sequence[Section]
) -> dict[str, tuple[str, tuple[str, ...]]] | None:
    """Return for each section named in a manifest what it says, and the folder that it says it in."""
    if not contents.manifests:
        return None
    file = contents.manifests[0]
    if len(contents.manifests) > 1:
        raise Unreadable(f"several manifests: {_listed(contents.manifests)}; one says which model is meant")
    try:
        document = parsed(file.read(LARGEST_TEXT), file.place)
    except UsageError as error:
        raise Unreadable(printable(str(error))[:300]) from error
    known = [section.id for section in sections]
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise Unreadable(f"{file.place}: not of the form {_example(sections)}")
    if unknown := sorted(set(document) - set(known)):
        raise Unreadable(f"{file.place}: {printable(unknown[0])[:40]!r} is none of {', '.join(known)}")
    return {name: (value, file.pieces[:-1]) for name, value in document.items()}


def _named(contents: Contents, section: Section, name: str, folder: tuple[str, ...]) -> Choice:
    """Find a file that a manifest names, from the manifest's folder on."""
    pieces = tuple(p for p in re.split(r"[\\/]", name) if p not in ("", "."))
    among = contents.models if section.file == "model" else contents.programs
    shown = printable(name)[:120]
    return _one(
        [file for file in among if file.pieces == (*folder, *pieces)], "named by the manifest"
    ) or Choice(
        "missing", f"the manifest names {shown!r}, which is not there among the files that can be graded"
    )


def _one(files: list[File], why: str) -> Choice | None:
    """Take a file of which there may be copies; None if there is none."""
    by_digest: dict[str, File] = {}
    for file in files:
        try:
            by_digest.setdefault(digest(file), file)
        except Unreadable as error:
            return Choice("unreadable", f"{file.place}: {error}")
    if len(by_digest) > 1:
        return Choice("ambiguous", f"several, which differ: {_listed(list(by_digest.values()))}")
    return next((Choice("clear", why, file, sha256) for sha256, file in by_digest.items()), None)


def _game(contents: Contents) -> Choice:
    """Find the program with the function that is to be written."""
    found = list(programs_with(contents, GAME))
    return _one(found, "the only program with _get_emotion") or Choice(
        "missing", f"no program with `_get_emotion` among {contents.files:,} files"
    )


def _by_names(contents: Contents, sections: list[Section]) -> dict[str, Choice]:
    """Find models by their names, each copy once."""
    files = [file for file in contents.models if not file.pieces[-1].lower().endswith(".weights.h5")]
    files = files or contents.models
    everything = {section.id for section in sections}
    if not files:
        left_out = f"; left out: {contents.remarks[0]}" if contents.remarks else ""
        none = f"no model (.keras, .h5) among {contents.files:,} files{left_out}"
        return {name: Choice("missing", none) for name in everything}
    hint = HINT.format(example=_example(sections))
    if len(files) > MOST_MODELS:
        many = f"{len(files):,} models, more than {MOST_MODELS}; {hint}"
        return {name: Choice("ambiguous", many) for name in everything}
    models = []
    for file in files:
        try:
            sha256, why = digest(file), ""
        except Unreadable as error:
            sha256, why = file.place, f"{file.place}: {error}"
        models.append(_Model(file, sha256, why, _claimed(file, sections)))
    return {section.id: _chosen(section, models, hint) for section in sections}


def _chosen(section: Section, models: list[_Model], hint: str) -> Choice:
    """Choose the model of a section: the one whose name says it. Copies are one."""
    own = _copies_once(model for model in models if section.id in model.sections)
    if len(own) > 1:
        return Choice("ambiguous", f"several models say that they are meant: {_listed(own)}; {hint}")
    if own and len(own[0].sections) > 1:
        return Choice("ambiguous", f"{_listed(own)}: the name says several sections; {hint}")
    if own:
        return own[0].choice("clear", "its name says so")
    known = {model.sha256 for model in models if model.sections}
    silent = _copies_once(model for model in models if model.sha256 not in known)
    if len(silent) == 1 and not known:
        return silent[0].choice("only", "the only model, and nothing says for which section")
    if silent and not section.optional:
        return Choice("ambiguous", f"no name says which model is meant: {_listed(silent)}; {hint}")
    return Choice("missing", "none of the models says that it is meant for this section")


def _copies_once(models: Iterable[_Model]) -> list[_Model]:
    found: dict[str, _Model] = {}
    for model in models:
        found.setdefault(model.sha256, model)
    return list(found.values())


def _claimed(file: File, sections: list[Section]) -> set[str]:
    """Return for which sections a file says that it is meant: by its name, or else by its nearest folder."""
    for piece in reversed((*file.pieces[:-1], file.pieces[-1][: -len(file.suffix)])):
        text = _words(piece)
        found = {s.id for s in sections if any(_words(name) in text for name in s.named)}
        if found:
            return found
    return set()


def _words(text: str) -> str:
    """Return a name as words between blanks: "Section5_bestModel" is " section 5 best model "."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", text[:300])
    return f" {' '.join(re.findall(r'[a-z]+|[0-9]+', split.lower()))} "


def _example(sections: Sequence[Section]) -> str:
    pairs = (f'"{section.id}": "FILE"' for section in sections)
    return f"{{{', '.join(pairs)}}}"


def _listed(found: Sequence[File | _Model]) -> str:
    files = [each if isinstance(each, File) else each.file for each in found]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(file.place for file in files[:NAMED]) + more
