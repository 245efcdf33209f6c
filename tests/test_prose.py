"""Prose is plain American English: no file has one of a few hard-to-read habits."""

import io
import pathlib
import re
import tokenize

import pytest

from tests.tiny import REPO

STEMS = (
    "categor|character|custom|discret|emphas|factor|final|general|initial|local|material|maxim|minim|normal|optim|organ"
    "|parameter|parametr|parallel|penal|quant|random|real|recogn|regular|serial|special|summar|synchron|token|util|vector|visual"
)

# Each pattern and what to write instead. Code, in backticks or fences, is not prose.
HABITS = {
    r"\banew\b": "again, from scratch",
    r"\bbut for\b": "except",
    r"\bin its place\b": "instead",
    r"\bof which\b": "two sentences",
    r"\bthat there (?:is|are) not\b": "that does not exist",
    r"\bgoes on on\b": "continues on",
    r"\bas it has to be\b": "the property that is missing",
    r"\b(?:has|have|had) not(?=[.,;:)]|$)": "does not have",
    r"\b(?:has|have) not (?:memory|enough|so many|any)\b": "does not have",
    r"\bnot (?:among )?so many\b": "fewer than",
    r"\bWhat (?:can|could) \w+ (?:is|are)\b": "subject, verb, object",
    r"\bnobody's\b|\bsomebody\b": "the subject's name",
    r"\bis asked of all\b": "all agree on",
    r"\bno say in\b": "does not affect",
    r"\blessened\b|\bwherefore\b|\bthereof\b|\bthereby\b": "a plain word",
    # British spellings.
    rf"\b(?:un|re|de|pre)?(?:{STEMS})is(?:es?|ed|ers?|ing|ations?)\b": "-ize",
    r"\b\w*(?:colour|behaviour|favour|neighbour|honour|labour)\w*": "-or",
    r"\b(?:centre|metre|fibre)s?\b": "-er",
    r"\b(?:labell|modell|travell|signall)(?:ed|ing|er)\b": "one l",
    r"\b(?:grey|artefacts?|licence|whilst|analys(?:e|ed|ing)|judgement|catalogue)\b": "American spelling",
}

PAGES = {".md", ".rst", ".j2", ".cff"}
SCRIPTS = {".sh", ".yml", ".yaml", ".cfg", ".toml", ".sbatch"}
ROOMS = ("softshare_jax", "configs", "launch", "benchmarks", "examples", "docs", "tests", ".ci", ".github")


def files():
    """Yields all files with prose of this repository."""
    inside = [file for room in ROOMS for file in (REPO / room).rglob("*")]
    for file in sorted([*REPO.glob("*"), *inside]):
        generated = file.is_relative_to(REPO / "docs/examples") or "workdirs" in file.parts
        kept = file.suffix in {".py", *PAGES, *SCRIPTS} or file.name in {"Makefile", "run", "test-wheel"}
        if file.is_file() and kept and not generated and file != pathlib.Path(__file__):
            yield file


def prose(file: pathlib.Path) -> list[tuple[int, str]]:
    """Returns the prose of a file: texts, each with its first line.

    In Python files this is comments, strings and the names of tests; in other files all text.
    """
    text = file.read_text()
    if file.suffix in PAGES:
        return [(1, without_code(text))]
    if file.suffix != ".py":
        return [(1, text)]
    texts = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            texts.append((token.start[0], without_code(token.string)))
        elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            texts.append((token.start[0], without_code(token.string.strip("\"'"))))
        elif token.type == tokenize.NAME and token.string.startswith("test_"):
            texts.append((token.start[0], token.string.replace("_", " ")))
    return texts


def without_code(text: str) -> str:
    """Removes text in backticks or fences, but keeps line numbers."""
    code = re.compile(r"^```.*?^```|``[^`]+``|`[^`\n]+`", re.DOTALL | re.MULTILINE)
    return code.sub(lambda found: "\n" * found[0].count("\n"), text)


def hits(file: pathlib.Path) -> list[str]:
    """Returns a line for every habit in a file: its place, its text, and what to write instead."""
    found = []
    for start, text in prose(file):
        for pattern, instead in HABITS.items():
            for match in re.finditer(pattern, text, re.MULTILINE | re.IGNORECASE):
                line = start + text.count("\n", 0, match.start())
                found.append(f"{file.relative_to(REPO)}:{line}: {match[0]!r}; write: {instead}")
    return found


def test_no_file_has_a_habit():
    found = [hit for file in files() for hit in hits(file)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# The run begins anew.\n", "'anew'"),
        ('"""Optimiser states."""\n', "'Optimiser'"),
        ("fail(f'{name} is not normalised, of which')\n", "'normalised'"),
        ("def test_colour_is_kept(): ...\n", "'colour'"),
        ("# A field which the model has not.\n", "'has not'"),
    ],
)
def test_habits_are_found(tmp_path, monkeypatch, text, said):
    monkeypatch.setitem(globals(), "REPO", tmp_path)
    file = tmp_path / "page.py"
    file.write_text(text)
    assert any(said in hit for hit in hits(file))


def test_code_and_plain_prose_have_none(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "REPO", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("The optimizer has not run yet; `optimiser` is an old name.\n\n```\nnormalise()\n```\n")
    module = tmp_path / "page.py"
    module.write_text(
        "colour = promise = 1  # raised otherwise, exercised, precise, noise, advised, revised\n"
    )
    assert not hits(page)
    assert not hits(module)
