"""Values in what a container runs: its command, its arguments, the source of a script.

Knows how shells and interpreters find their program among their arguments, and what Kubernetes
expands in an environment. Must not know templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bridge.domain.templates_tags import Misplaced, Tag, tags_of, values_of

_SHELL = re.compile(r"(?:|ba|da|a|z|k|mk|c|tc|fi)sh|busybox|pwsh|powershell")
_INTERPRETER = re.compile(
    r"python[\d.]*|node|nodejs|deno|bun|perl|ruby|php|lua|awk|gawk|mawk|sed|jq|yq"
)
_WITH_OPERAND = frozenset({"-o", "+o", "-O", "-W", "-X", "-I", "-M", "-r", "--require"})
_CODE_FIRST = re.compile(r"-[A-Za-z]*c|-e|--eval")
_TO_BE_EXPANDED = re.compile(r"\$(?:\([^)]*)?$")
_ACTS_BY_ITSELF = frozenset(
    {
        "BASH_ENV",
        "ENV",
        "IFS",
        "PATH",
        "PS4",
        "SHELLOPTS",
        "LD_AUDIT",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PERL5LIB",
        "PERL5OPT",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "RUBYLIB",
        "RUBYOPT",
        "JAVA_TOOL_OPTIONS",
        "GIT_SSH_COMMAND",
        "KUBECONFIG",
    }
)


def misplaced_in_source(source: str, *, command: Sequence[str]) -> Iterator[Misplaced]:
    """Every value in the *source* of a script that *command* reads."""
    for tag in values_of(source):
        line = _line_around(source, tag)
        why = "is written into the script, which runs whatever it holds"
        yield Misplaced(tag, line.strip(), why, _by_environment(line, tag, command))


def misplaced_in_arguments(
    arguments: Sequence[str], *, named: bool
) -> Iterator[tuple[int, Misplaced]]:
    """Every value in *arguments* that is run and not only read, with its argument's place.

    *named*: whether the first of them is the command; without one the image's own runs, which
    may be a shell.
    """
    program = _program(arguments, named=named)
    for position, text in enumerate(arguments):
        if position == 0 and named:
            found: Iterator[Misplaced] = _chosen(text)
        elif position in program:
            runs = arguments[program.start - 1] if program.start else "the image"
            found = _interpreted(text, arguments, by=runs)
        else:
            found = _expanded(text)
        for misplaced in found:
            yield position, misplaced


def misplaced_in_environment(text: str, *, name: str) -> Iterator[Misplaced]:
    """Every value in the environment variable *name* that something acts on by itself."""
    if name in _ACTS_BY_ITSELF:
        for tag in values_of(text):
            why = f"is put into {name}, which changes what programs do"
            yield Misplaced(tag, text, why, f'{{name: {tag.name}, value: "{tag.text}"}}')
    else:
        yield from _expanded(text)


def _chosen(text: str) -> Iterator[Misplaced]:
    for tag in values_of(text):
        yield Misplaced(tag, text, "chooses the program that runs", "the name of one program")


def _interpreted(text: str, arguments: Sequence[str], *, by: str) -> Iterator[Misplaced]:
    for tag in values_of(text):
        line = _line_around(text, tag)
        why = f"is part of the program that {by} runs"
        yield Misplaced(tag, line.strip(), why, _by_environment(line, tag, arguments))


def _expanded(text: str) -> Iterator[Misplaced]:
    """Values that Kubernetes would take for the name in a ``$(NAME)``."""
    for tag in values_of(text):
        before = _TO_BE_EXPANDED.search(text[: tag.start])
        if before is not None:
            mended = f"{text[: before.start()]}${text[before.start() :]}"
            why = "stands behind a $, so Kubernetes reads it as the name of a variable"
            yield Misplaced(tag, text, why, mended)


def _program(arguments: Sequence[str], *, named: bool) -> range:
    """Which arguments a shell or interpreter takes for options and for its program."""
    start = _interpreter(arguments, named=named)
    if start is None:
        return range(0)
    position = start + 1
    while position < len(arguments) and arguments[position][:1] in {"-", "+"}:
        position += 2 if arguments[position] in _WITH_OPERAND else 1
    return range(start + 1, position + 1)


def _interpreter(arguments: Sequence[str], *, named: bool) -> int | None:
    """Where a shell or interpreter stands among *arguments*, -1 for that of the image."""
    if not named:
        return -1 if arguments and _CODE_FIRST.fullmatch(arguments[0]) else None
    for position, text in enumerate(arguments):
        first = position == 0 or arguments[position - 1].rpartition("/")[2] == "env"
        name = text.rpartition("/")[2]
        if _SHELL.fullmatch(name) or (_INTERPRETER.fullmatch(name) and (first or "/" in text)):
            return position
    return None


def _line_around(text: str, tag: Tag) -> str:
    start = text.rfind("\n", 0, tag.start) + 1
    end = text.find("\n", tag.end)
    return text[start : end if end >= 0 else len(text)]


def _by_environment(line: str, tag: Tag, command: Sequence[str]) -> str:
    """*line* with the tag read from the environment, and the variable to add."""
    variable = f'env: [{{name: {tag.name}, value: "{tag.text}"}}]'
    return f"{_reading(line, tag, command)} with {variable}"


def _reading(line: str, tag: Tag, command: Sequence[str]) -> str:
    name = tag.name
    program = " ".join(text.rpartition("/")[2] for text in command[:2] if not tags_of(text))
    quoted = re.compile(rf"""(['"]){re.escape(tag.text)}\1""")
    if "python" in program:
        return _replaced(quoted, line, tag, f'os.environ["{name}"]')
    if "node" in program:
        return _replaced(quoted, line, tag, f"process.env.{name}")
    if quoted.search(line) or line.partition(tag.text)[0].count('"') % 2 == 0:
        return _replaced(quoted, line, tag, f'"${{{name}}}"')
    return line.replace(tag.text, f"${{{name}}}")


def _replaced(quoted: re.Pattern[str], line: str, tag: Tag, text: str) -> str:
    return quoted.sub(lambda _: text, line).replace(tag.text, text).strip()
