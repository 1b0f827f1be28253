"""The one error tree.

Knows every way in which the bridge says no and what the user can do about it. Must not know HTTP:
``status`` is only the number that the web layer's RFC 9457 mapper puts on the answer.

Each class has a stable ``code``; ``docs/reference/errors.md`` has a line for each (tested).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: an RFC 6901 pointer and a sentence."""

    pointer: str
    message: str


class BridgeError(Exception):
    """Base of all errors that the bridge raises on purpose."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The bridge failed"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: tuple[FieldError, ...] = (),
        suggestions: tuple[str, ...] = (),
        retry_after: int | None = None,
        run_id: str | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.run_id = run_id
        self.errors = errors
        self.suggestions = suggestions
        self.retry_after = retry_after


# --- what a caller can get wrong -----------------------------------------------------------


class RequestInvalid(BridgeError):
    """The request itself cannot be read."""

    code, status, title = "request_invalid", 400, "The request cannot be read"


class EventIdInvalid(BridgeError):
    """The id to resume after is not a sequence number of this run."""

    code, status, title = "event_id_invalid", 400, "The last event id is not a sequence number"


class Unauthenticated(BridgeError):
    """No valid token."""

    code, status, title = "unauthenticated", 401, "A valid token is needed"


class Forbidden(BridgeError):
    """A valid token that may not do this."""

    code, status, title = "forbidden", 403, "You may not do this"


class RouteUnknown(BridgeError):
    """There is no such address."""

    code, status, title = "route_unknown", 404, "There is nothing at this address"


class MethodNotAllowed(BridgeError):
    """The address exists, the method does not."""

    code, status, title = "method_not_allowed", 405, "This address does not take that method"


class ActionUnknown(BridgeError):
    """No definition has this id."""

    code, status, title = "action_unknown", 404, "There is no such action"


class RunUnknown(BridgeError):
    """No run has this id, or none that the caller may see."""

    code, status, title = "run_unknown", 404, "There is no such run"

    @classmethod
    def of(cls, run_id: str) -> RunUnknown:
        """In the same words for a run that is not there and for one that may not be seen."""
        return cls(f"There is no run {run_id!r}.")


class EntityUnknown(BridgeError):
    """The bridge serves no document for this entity."""

    code, status, title = "entity_unknown", 404, "The bridge has no such entity"


class BodyTooLarge(BridgeError):
    """The body exceeds the limit."""

    code, status, title = "body_too_large", 413, "The request body is too large"


class AddressTooLong(BridgeError):
    """The address of the request exceeds the limit."""

    code, status, title = "address_too_long", 414, "The address is too long"


class HeadersTooLarge(BridgeError):
    """The headers exceed the limit."""

    code, status, title = "headers_too_large", 431, "The headers are too large"


class MediaTypeUnsupported(BridgeError):
    """The body is not said to be JSON."""

    code, status, title = "media_type_unsupported", 415, "The body must be JSON"


class RequestSlow(BridgeError):
    """The request did not arrive in full within the time there is for it."""

    code, status, title = "request_slow", 408, "The request did not arrive in time"


class HostUnknown(BridgeError):
    """A bridge without tokens answers to the names of its own machine only."""

    code, status, title = "host_unknown", 421, "The bridge does not answer to this name"


class CrossSite(BridgeError):
    """A page of another site asks, and no token says that it may."""

    code, status, title = "cross_site", 403, "Pages of other sites may not do this"


class RateLimited(BridgeError):
    """The caller asks too often; ``Retry-After`` says when it may again."""

    code, status, title = "rate_limited", 429, "There are too many requests from you"


class TooManyStreams(BridgeError):
    """The caller has too many live streams open."""

    code, status, title = "too_many_streams", 429, "You have too many live streams open"


class Overloaded(BridgeError):
    """The bridge has as much to do as it takes on. Trying again is right."""

    code, status, title = "overloaded", 503, "The bridge is too busy, try again"


class InputInvalid(BridgeError):
    """The input does not fit the action; ``errors`` names every field."""

    code, status, title = "input_invalid", 422, "The input does not fit the action"


class IdempotencyKeyReused(BridgeError):
    """The key was used for other input."""

    code, status = "idempotency_key_reused", 422
    title = "This Idempotency-Key was used with other input"


class LockHeld(BridgeError):
    """Another run works on the same thing; ``run_id`` is that run."""

    code, status, title = "lock_held", 409, "Another run works on the same thing"


class AlreadyDecided(BridgeError):
    """Somebody has decided otherwise before."""

    code, status, title = "already_decided", 409, "This has been decided already"


class NotWaiting(BridgeError):
    """No approval is open."""

    code, status, title = "not_waiting", 409, "The run does not wait for an approval"


class NotRetryable(BridgeError):
    """Only a run that ended badly can be tried again."""

    code, status, title = "not_retryable", 409, "The run cannot be tried again"


class SecretsUnreadable(BridgeError):
    """What a run was given in secret fields cannot be sealed or read: the key is not there."""

    code, status, title = "secrets_unreadable", 503, "The secrets of the run cannot be read"


class Draining(BridgeError):
    """The server is shutting down."""

    code, status, title = "draining", 503, "The bridge is shutting down, try again"


class IssuerUnavailable(BridgeError):
    """The keys that would prove the token cannot be fetched. Trying again is right."""

    code, status = "issuer_unavailable", 503
    title = "The keys of the token's issuer cannot be read"


class StoreUnavailable(BridgeError):
    """The run store cannot be read or written."""

    code, status, title = "store_unavailable", 503, "The run store is not available"


class LeaseLost(BridgeError):
    """Another replica has taken the run over; this one must not write it any more."""

    code, status, title = "lease_lost", 503, "Another replica has taken the run over"


# --- definitions and settings ---------------------------------------------------------------


class DefinitionInvalid(BridgeError):
    """An action definition cannot be used."""

    code, status, title = "definition_invalid", 500, "The action definition is not valid"

    def __init__(self, detail: str, *, file: str = "", line: int = 0) -> None:
        super().__init__(detail)
        self.file = file
        self.line = line


class SettingsInvalid(BridgeError):
    """The server must not start like this."""

    code, status, title = "settings_invalid", 500, "The settings are not valid"


# --- Argo ------------------------------------------------------------------------------------


class EngineError(BridgeError):
    """Base of what the workflow engine can answer."""

    code, status, title = "engine_error", 502, "Argo answered with an error"


class EngineUnavailable(EngineError):
    """No usable answer: down, cut, overloaded, or a proxy's page. Trying again is right.

    What was asked may have been done all the same.
    """

    code, status, title = "engine_unavailable", 503, "Argo is not reachable"


class EngineUnreached(EngineUnavailable):
    """Argo was never asked, or said no before it did anything. Trying again is right."""

    code, status, title = "engine_unreached", 503, "Argo could not be asked"


class EngineConflict(EngineError):
    """The object changed meanwhile and nothing was applied. Trying again is right."""

    code, status, title = "engine_conflict", 503, "Argo was changing the same workflow"


class EngineForbidden(EngineError):
    """The bridge's own token is refused."""

    code, status, title = "engine_forbidden", 502, "Argo refuses the bridge's credentials"


class WorkflowExists(EngineError):
    """A workflow of that name exists already, whoever made it."""

    code, status, title = "workflow_exists", 409, "A workflow of this name exists already"


class WorkflowGone(EngineError):
    """No such workflow, neither live nor archived."""

    code, status, title = "workflow_gone", 404, "The workflow is gone"


class GateClosed(EngineError):
    """No suspended node matches: it was decided already, here or in Argo."""

    code, status, title = "gate_closed", 409, "The approval is not open any more"


class WorkflowRejected(EngineError):
    """Argo will never accept this workflow."""

    code, status, title = "workflow_rejected", 502, "Argo rejects the workflow"


class TemplateMissing(EngineError):
    """The WorkflowTemplate is not installed."""

    code, status, title = "template_missing", 502, "The WorkflowTemplate is not installed"


class WatchExpired(EngineError):
    """The resource version is too old to watch from: list again."""

    code, status, title = "watch_expired", 502, "The watch position has expired"


# --- how a run can end badly -------------------------------------------------------------------


class WorkflowFailed(BridgeError):
    """The workflow ran and failed."""

    code, status, title = "workflow_failed", 502, "The workflow failed"


class WorkflowStuck(BridgeError):
    """Argo took the workflow and never looked at it; it was deleted."""

    code, status, title = "workflow_stuck", 502, "Argo never started the workflow"


class WorkflowLost(BridgeError):
    """The workflow vanished before its end was seen."""

    code, status, title = "workflow_lost", 502, "The workflow vanished before its end was seen"


class RunCancelled(BridgeError):
    """Somebody cancelled the run."""

    code, status, title = "cancelled", 409, "The run was cancelled"


# --- the Backstage catalog ----------------------------------------------------------------------


class CatalogUnavailable(BridgeError):
    """The catalog gives no usable answer. Trying again is right."""

    code, status, title = "catalog_unavailable", 503, "The Backstage catalog is not reachable"


class CatalogRejected(BridgeError):
    """The catalog refuses the location or the entity."""

    code, status, title = "catalog_rejected", 502, "The Backstage catalog refuses the entity"


class EntityConflict(BridgeError):
    """An entity of that name exists that the bridge did not make."""

    code, status, title = "entity_conflict", 409, "The catalog has another entity of this name"


def error_classes() -> tuple[type[BridgeError], ...]:
    """Every class of the tree, base first; the docs test and the OpenAPI document read it."""

    def below(cls: type[BridgeError]) -> list[type[BridgeError]]:
        return [cls, *(found for child in cls.__subclasses__() for found in below(child))]

    return tuple(below(BridgeError))
