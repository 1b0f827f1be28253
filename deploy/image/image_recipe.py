"""The Dockerfile, read: its stages, and what the image tells whoever runs it.

Knows the few instructions that the bridge's Dockerfile uses, and refuses any other, so that the
build without Docker cannot leave one out. Must not carry anything out.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
_BUILDS = {"FROM", "WORKDIR", "COPY", "RUN", "ARG"}
_TELLS = {"LABEL", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


class RecipeError(Exception):
    """The Dockerfile says something that is not carried out here."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name in capitals, and all the rest."""

    name: str
    rest: str

    def words(self) -> tuple[str, ...]:
        """The rest, as a JSON list says it or as a shell would split it."""
        if self.rest.startswith("["):
            return tuple(json.loads(self.rest))
        return tuple(shlex.split(self.rest))

    def pairs(self) -> dict[str, str]:
        """``NAME=value`` each."""
        return dict(word.partition("=")[::2] for word in self.words())


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it starts from, and its instructions in order."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> tuple[Instruction, ...]:
        """The instructions of that name."""
        return tuple(one for one in self.instructions if one.name == name)

    def last(self, name: str) -> Instruction:
        """The one of that name that counts.

        Raises:
            RecipeError: There is none.
        """
        found = self.all(name)
        if not found:
            raise RecipeError(f"the stage from {self.base} has no {name}")
        return found[-1]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole file."""

    build: Stage
    image: Stage

    @classmethod
    def read(cls, path: Path = DOCKERFILE) -> Recipe:
        """Read it.

        Raises:
            RecipeError: An instruction is not known here, or there are not two stages.
        """
        stages = tuple(_stages(path.read_text(encoding="utf-8")))
        if len(stages) != 2:  # one that builds, one that is the image
            raise RecipeError(f"{path} has {len(stages)} stages, not two")
        return cls(*stages)

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return {name: value for one in self.image.all("ENV") for name, value in one.pairs().items()}

    @property
    def user(self) -> tuple[int, int]:
        """User and group, as numbers."""
        user, _, group = self.image.last("USER").rest.partition(":")
        return int(user), int(group)

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """What is always run."""
        return self.image.last("ENTRYPOINT").words()

    @property
    def command(self) -> tuple[str, ...]:
        """What it is given unless somebody says otherwise."""
        return self.image.last("CMD").words()

    @property
    def directory(self) -> str:
        """Where it runs."""
        return self.image.last("WORKDIR").rest


def _stages(text: str) -> Iterator[Stage]:
    base, name, found = "", "", []
    for instruction in _instructions(text):
        if instruction.name != "FROM":
            found.append(instruction)
            continue
        if base:
            yield Stage(base, name, tuple(found))
        words = instruction.words()
        base, name, found = words[0], words[-1] if len(words) > 1 else "", []
    yield Stage(base, name, tuple(found))


def _instructions(text: str) -> Iterator[Instruction]:
    lines = (line for line in text.splitlines() if not re.match(r"\s*(#|$)", line))
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    for line in whole.splitlines():
        name, _, rest = line.partition(" ")
        if name not in _BUILDS | _TELLS:
            raise RecipeError(f"{name} is not carried out without Docker: {line}")
        yield Instruction(name, rest.strip())
