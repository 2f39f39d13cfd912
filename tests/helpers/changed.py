"""Print the test files that belong to what has changed since the last commit, or in it if nothing has."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ALWAYS = ("tests/fer_tools/test_house.py", "tests/fer_tools/test_source_code.py")
OF_FOLDERS = {
    "game": "page",
    "notebooks": "notebooks",
    "report": "report",
    "readers": "readers",
    "commands": "commands",
}


def git(*arguments: str) -> list[str]:
    """Return the lines that git prints; none where there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()


def tests_of(path: str) -> list[str]:
    """Return the tests of a file: those named after it or its folder, or else those that import it."""
    file = Path(path)
    if file.name.startswith("test_"):
        return [path] if (ROOT / path).is_file() else []
    for name in (file.stem, OF_FOLDERS.get(file.parent.name, file.parent.name)):
        if found := sorted((ROOT / "tests").glob(f"*/test_{name}.py")):
            return [str(test.relative_to(ROOT)) for test in found]
    if file.suffix != ".py":
        return []
    package, name = ".".join(file.parent.parts), file.stem
    imports = re.compile(rf"^from {package}(\.{name} import|\b import .*\b{name}\b)", re.MULTILINE)
    tests = sorted((ROOT / "tests").glob("*/test_*.py"))
    return [str(test.relative_to(ROOT)) for test in tests if imports.search(test.read_text("utf-8"))]


if __name__ == "__main__":
    changed = git("diff", "--name-only", "HEAD") + git("ls-files", "--others", "--exclude-standard")
    changed = changed or git("diff", "--name-only", "HEAD~1")
    print(*dict.fromkeys([*ALWAYS, *(test for path in changed for test in tests_of(path))]))
