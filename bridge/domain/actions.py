"""What an action is: the model of ``action.yaml``.

Knows the fields of a definition and how they must agree (design, section 3). Must not know
files: ``definitions`` reads text, an adapter reads folders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bridge.domain.entities import digest
from bridge.domain.inputs import InputSchema
from bridge.domain.references import FILTERS, Reference, document_references, template_references
from bridge.domain.secret_inputs import check_use, refuse_secrets, secret_fields

_DURATION = re.compile(r"(\d+)(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

AFTER_THE_RUN = frozenset({"workflow", "entity"})
"""Roots that have values only once the workflow exists."""


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError("must be a duration such as 90s, 30m, 6h or 1d")
    return int(match[1]) * _UNITS[match[2]]


def _draft7(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    InputSchema.compile(schema)
    return schema


Duration = Annotated[str, Field(pattern=rf"^{_DURATION.pattern}$")]
Whole = Annotated[int, Field(gt=0)]
Seconds = Annotated[Whole, BeforeValidator(_seconds, json_schema_input_type=Whole | Duration)]
JsonSchema = Annotated[Mapping[str, Any], AfterValidator(_draft7)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Source(_Model):
    """Where a value comes from: exactly one of ``from``, ``const`` and ``template``."""

    from_: str | None = Field(default=None, alias="from")
    as_: str | None = Field(default=None, alias="as")
    default: Any = None
    const: Any = None
    template: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("from_", "const", "template") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("needs exactly one of from, const and template")
        if self.as_ is not None and self.as_ not in FILTERS:
            raise ValueError(f"{self.as_!r} is not a filter; there are {', '.join(FILTERS)}")
        self.references()
        return self

    def references(self) -> tuple[Reference, ...]:
        """Every reference that the source reads."""
        if self.from_ is not None:
            return (Reference.parse(self.from_, filter_name=self.as_),)
        return template_references(self.template) if self.template is not None else ()


class Metadata(_Model):
    """Who an action is."""

    id: Annotated[str, Field(pattern=r"^[a-z][A-Za-z0-9-]*(:[a-z][A-Za-z0-9-]*)+$", max_length=80)]
    title: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=10_000)] = ""
    owner: str = ""


def _lock(value: object) -> object:
    return {"key": value} if isinstance(value, str) else value


class WorkflowSpec(_Model):
    """Which WorkflowTemplate runs, with what parameters."""

    template: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
    target: str = "default"
    parameters: Mapping[str, Source] = Field(default_factory=dict)


class Lock(_Model):
    """What only one run at a time may work on, and what becomes of the next one."""

    key: Annotated[str, Field(min_length=1, max_length=300)]
    when_held: Literal["refuse", "queue"] = Field(default="refuse", alias="whenHeld")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for reference in template_references(self.key):
            if reference.path[0] in AFTER_THE_RUN:
                raise ValueError(f"{'.'.join(reference.path)} has no value before the run")
        return self


class Approval(_Model):
    """When somebody must agree, who may, what they may fill in and how long there is."""

    node: str
    when: JsonSchema = Field(default_factory=dict)
    by: tuple[str, ...] = ()
    not_requester: bool = Field(default=True, alias="notRequester")
    inputs: JsonSchema = Field(
        default_factory=lambda: {"type": "object", "additionalProperties": False}
    )
    timeout: Seconds | None = None


class CatalogSpec(_Model):
    """The entity that a succeeded run puts into the catalog, or takes out."""

    entity: Mapping[str, Any]
    mode: Literal["upsert", "remove"] = "upsert"

    @model_validator(mode="after")
    def _readable(self) -> Self:
        document_references(self.entity)
        return self


class Access(_Model):
    """Who may run the action (empty: everyone with a valid token), and whose a run is."""

    groups: tuple[str, ...] = ()
    team: Source | None = None


class Example(_Model):
    """An input that works, with a word on what it shows."""

    description: str
    input: Mapping[str, Any]


class Spec(_Model):
    """What an action takes, does and gives."""

    input: JsonSchema
    output: JsonSchema = Field(default_factory=lambda: {"type": "object", "properties": {}})
    workflow: WorkflowSpec
    lock: Annotated[
        Lock | None, BeforeValidator(_lock, json_schema_input_type=Lock | str | None)
    ] = None
    outputs: Mapping[str, Source] = Field(default_factory=dict)
    approval: Approval | None = None
    catalog: CatalogSpec | None = None
    access: Access = Access()
    examples: tuple[Example, ...] = ()
    wait: bool = True
    max_wait: Seconds = Field(default=21_600, alias="maxWait")
    cancel: Literal["stop", "terminate"] = "stop"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        fields = self.input.get("properties", {})
        for name, source in self.workflow.parameters.items():
            for reference in source.references():
                root, *rest = reference.path
                if root in AFTER_THE_RUN and reference.path != ("workflow", "name"):
                    where = ".".join(reference.path)
                    raise ValueError(
                        f"workflow.parameters.{name}: {where} has no value before the run"
                    )
                if root == "input" and rest[0] not in fields:
                    raise ValueError(
                        f"workflow.parameters.{name}: input.{rest[0]} is not a field of spec.input"
                    )
        self._team_is_given(fields)
        self._secrets_stay_apart()
        return self

    def _secrets_stay_apart(self) -> None:
        """Nothing but a parameter of the workflow may read a secret, and nothing else be one."""
        refuse_secrets(self.output, what="output")
        elsewhere = [(f"outputs.{name}", each.references()) for name, each in self.outputs.items()]
        if self.lock is not None:
            elsewhere.append(("lock", template_references(self.lock.key)))
        if self.catalog is not None:
            elsewhere.append(("catalog.entity", document_references(self.catalog.entity)))
        if self.access.team is not None:
            elsewhere.append(("access.team", self.access.team.references()))
        parameters = self.workflow.parameters.items()
        secret = secret_fields(self.input)
        check_use(
            secret,
            parameters=((name, source.references()) for name, source in parameters),
            elsewhere=elsewhere,
        )
        if self.approval is not None:
            refuse_secrets(self.approval.inputs, what="approval.inputs")
            named = secret & self.approval.when.get("properties", {}).keys()
            if named:
                raise ValueError(f"approval.when: {min(named)} is secret and decides nothing")

    def _team_is_given(self, fields: Mapping[str, Any]) -> None:
        """Whose a run is must be known, and checked, before it is accepted."""
        references = self.access.team.references() if self.access.team is not None else ()
        for reference in references:
            root, *rest = reference.path
            if root != "input" or rest[0] not in fields:
                where = ".".join(reference.path)
                raise ValueError(f"access.team: {where} is not a field of spec.input")


class ActionDefinition(_Model):
    """One action, as its folder declares it."""

    api_version: Literal["bridge/v1"] = Field(alias="apiVersion")
    kind: Literal["Action"]
    metadata: Metadata
    spec: Spec

    @property
    def id(self) -> str:
        """The action's id, such as ``namespace:create``."""
        return self.metadata.id

    @cached_property
    def document(self) -> dict[str, Any]:
        """The definition as JSON: what a run keeps, so that a later edit does not change it."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @cached_property
    def digest(self) -> str:
        """Identifies this very text of the definition."""
        return digest(self.document)

    @cached_property
    def secret_fields(self) -> frozenset[str]:
        """The fields of the input that are never kept or shown in clear."""
        return secret_fields(self.spec.input)

    @cached_property
    def input_schema(self) -> InputSchema:
        """The compiled input schema."""
        return InputSchema.compile(self.spec.input)

    def check_input(self, value: Any) -> dict[str, Any]:
        """The input with defaults; raises InputInvalid with every field that is wrong."""
        return self.input_schema.check(value, secret=self.secret_fields)

    def approval_required(self, given: Mapping[str, Any]) -> bool:
        """Whether *given* (checked input) must wait for somebody's agreement."""
        approval = self.spec.approval
        return approval is not None and InputSchema.compile(approval.when).matches(dict(given))
