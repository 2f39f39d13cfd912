"""What is done with one file of a student: `fer diagnose` in a limited process, here or elsewhere."""

import socket
from dataclasses import dataclass
from functools import lru_cache

from fer_lib.files import UsageError, sha256_of
from fer_tools import scratch
from fer_tools.grading import limited, verdict
from fer_tools.json_files import sha256_of_json
from fer_tools.run import provenance, source_code

EXIT_CODES = (0, 1, 2)  # of `fer diagnose`: fine, findings, refused
_CODE = "from fer_tools.grading import diagnosis, player"  # all that decides what is said of a file


@dataclass(frozen=True)
class Settings:
    """What a diagnosis depends on besides the files.

    Attributes
    ----------
    data : str
        Path or name of the data set.
    data_digest, version : str
        What they have to be where the work is done: of `load.data_digest` and `version`.
    parameters : int
        The limit.
    """

    data: str
    data_digest: str
    version: str
    parameters: int


@dataclass(frozen=True)
class Files:
    """What a process gets to see of a submission.

    Attributes
    ----------
    contents : dict of str to bytes
        By where they lie: names without "..", from the folder of the process on.
    model : str
        Which of them is diagnosed.
    game : str or None
        Which of them is the program that plays with it; it is read and not executed.
    """

    contents: dict[str, bytes]
    model: str
    game: str | None = None

    def key(self, needs: Settings) -> str:
        """Return the name of a diagnosis: equal for equal files, data, tools and limits."""
        contents = {name: sha256_of(content) for name, content in self.contents.items()}
        depends = [needs.data_digest, needs.version, needs.parameters]
        return sha256_of_json([contents, self.model, self.game, *depends])


@lru_cache(maxsize=1)
def version() -> str:
    """Return the digest of the tools: of all code that a diagnosis reaches, and of the packages it uses."""
    code = source_code.reached(_CODE)
    return sha256_of(*(part for pair in sorted(code.items()) for part in pair), str(provenance.versions()))


@lru_cache(maxsize=4)
def _data_digest(data: str) -> str:
    from fer_lib.data import load

    return load.data_digest(data)


def settings(data: str, parameters: int) -> Settings:
    """Return the settings as they are here.

    Raises
    ------
    UsageError
        If there are no such data.
    """
    return Settings(data, _data_digest(data), version(), parameters)


def diagnose(files: Files, needs: Settings) -> tuple[bytes | None, str]:
    """Diagnose a model, and the game that plays with it.

    Returns
    -------
    bytes or None
        JSON; see `verdict.read`. None, if there is no diagnosis.
    str
        Why there is none.
    """
    try:
        if settings(needs.data, needs.parameters) != needs:
            return (
                None,
                f"the worker on {socket.gethostname()} has other data or another version of the tools",
            )
        with scratch.folder() as folder:
            for name, content in files.contents.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            arguments = ["diagnose", "--json", "--data", needs.data, "--limit", str(needs.parameters)]
            arguments += ["--game", files.game] if files.game else []
            ended = limited.run([*arguments, "--", files.model], folder)
        if ended.code not in EXIT_CODES or not ended.output.strip():
            return None, ended.why.removeprefix(f"{files.model}: ") or f"it ended with exit code {ended.code}"
        verdict.read(ended.output)
        return ended.output, ""
    except OSError as error:  # names that no file can have, for example
        return None, f"its files cannot be laid out here ({error.strerror})"
    except UsageError as error:
        return None, str(error)
