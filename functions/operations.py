"""What the API offers: one `Operation` per function, from which routing, checks, answers and OpenAPI all follow.

Invariants: an operation's `name` is its function's name and its OpenAPI operationId; whoever calls needs the permission
that the operation names, and that is checked before its handler runs; an operation is public exactly if its handler is
static.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from core.domain.accounts import Principal, PrincipalKind
from core.domain.callers import Actor, ActorKind, Caller
from core.domain.identifiers import IdKind, new_id
from core.domain.permissions import Permission
from core.wiring import App
from functions.models.base import AnswerModel, NoQuery, QueryModel, RequestModel

#: The host's route prefix (host.json has it, too).
API = "/api"


class Openness(StrEnum):
    """Operations that need no permission: of anybody, or of whoever is authenticated."""

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"


class Precondition(StrEnum):
    """Whether an operation heeds `If-Match`, and whether it demands it."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Upload:
    """A member of the body that a file may fill, in base64; `alongside` are members that are then set with it.

    Members are named by dotted paths: `material.value`. A body that comes with a file has none of them.
    """

    member: str
    alongside: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Call[Body, Query]:
    """One request, checked: the handler's only source of what the caller wants.

    `path` holds the ids of the route, well-formed. `principal` is what the caller is in the route's account. `etag` is
    the stored row's ETag out of `If-Match`; a handler of an operation that demands one finds it there.

    `request_id` names the request: the same for each repetition under an idempotency key, so that a service knows its
    own unfinished work again. It says nothing of the request, and another request never has it.
    """

    caller: Caller
    principal: Principal | None
    path: Mapping[str, str]
    body: Body
    query: Query
    etag: str | None = None
    request_id: str = field(default_factory=partial(new_id, IdKind.INTENT))

    @property
    def membership(self) -> Principal:
        """What the caller is in the account, in an operation that needs a permission there."""
        if self.principal is None:
            raise LookupError("an operation without a permission in an account knows no principal")
        return self.principal

    @property
    def account(self) -> str:
        """The route's account."""
        return self.path["account"]

    @property
    def group(self) -> str:
        """The route's group."""
        return self.path["group"]

    @property
    def actor(self) -> Actor:
        """The caller as the cause of a change."""
        if self.principal is None:
            return Actor(ActorKind.USER, self.caller.principal, self.caller.display_name)
        kind = ActorKind.USER if self.principal.kind is PrincipalKind.USER else ActorKind.APPLICATION
        return Actor(kind, self.principal.id, self.principal.name)


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is not JSON of a model. `policy` is its Content-Security-Policy.

    With a `filename` it is a file to be saved; what a header cannot hold of the name is replaced. The `repr` hides the
    content, which may be key material.
    """

    data: bytes = field(repr=False)
    media_type: str
    policy: str = "default-src 'none'"
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers. `etag` is the stored row's; `location` is a path below the API's root.

    `status` stands in place of the operation's own where a job goes on with what was asked for.
    """

    body: AnswerModel | Content | None = None
    etag: str | None = None
    location: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Static:
    """The handler of a public operation: it knows no caller and needs no service."""

    answer: Callable[[], Answer]


type Handler = Callable[[App, Call], Awaitable[Answer]]  # type: ignore[type-arg]  # every handler has its own body type


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API.

    `continued`: what takes too long is answered with 202 and the job that goes on with it. `etagged` answers carry an
    ETag; `located` ones a Location; `attached` ones a file's name; `media_type`
    is that of an answer without a model. `body_optional`: an empty body stands for `{}`. `upload`: the body may come as
    a form with a file. A write's answer that is not `kept` holds what must lie nowhere, not even sealed for a day.
    `errors` are the codes beside those that every operation of its kind may answer with.
    """

    name: str
    method: str
    route: str
    summary: str
    needs: Permission | Openness
    handler: Handler | Static
    tag: str
    description: str = ""
    body: type[RequestModel] | None = None
    body_optional: bool = False
    upload: Upload | None = None
    query: type[QueryModel] = NoQuery
    answer: type[AnswerModel] | None = None
    status: int = 200
    precondition: Precondition = Precondition.NONE
    etagged: bool = False
    located: bool = False
    continued: bool = False
    attached: bool = False
    kept: bool = True
    media_type: str | None = None
    errors: tuple[str, ...] = field(default=())

    @property
    def idempotent(self) -> bool:
        """Whether it writes and its answer may be kept: then it takes an Idempotency-Key."""
        return self.method != "GET" and self.needs is not Openness.PUBLIC and self.kept

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the route's parameters, in order."""
        segments = self.route.split("/")
        return tuple(segment[1:-1] for segment in segments if segment.startswith("{"))
