"""The worker protocol's messages, by attribute names only: no protobuf and no gRPC.

Names, fields and enum values are those of FunctionRpc.proto, because the worker library reads and constructs them. Only
fields that the worker touches are here. This module itself is the `protos` namespace that the worker asks for.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar


class TypedData:
    """One value of a `oneof`; `WhichOneof('data')` tells which kind it holds, or None."""

    __slots__ = ("_kind", "_value")

    def __init__(self, **kind_and_value: Any) -> None:  # noqa: ANN401 - a oneof of the wire, of any type
        if len(kind_and_value) > 1:
            raise ValueError("TypedData holds one value")
        self._kind: str | None = next(iter(kind_and_value), None)
        self._value = kind_and_value[self._kind] if self._kind else None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """Return the kind of the value held."""
        return self._kind

    @property
    def TypedData(self) -> "TypedData":  # noqa: N802 - the worker looks for a wrapper of this name before it falls back
        """Return this value itself."""
        return self

    def __getattr__(self, kind: str) -> Any:  # noqa: ANN401
        """Return the value when asked for by its kind."""
        if kind == self._kind:
            return self._value
        raise AttributeError(kind)


@dataclass(slots=True)
class ParameterBinding:
    """A named argument of an invocation, or a named output."""

    name: str
    data: TypedData | None

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - protobuf's name
        """Return 'data': values never travel in shared memory here."""
        return "data"


@dataclass(slots=True)
class RpcHttp:
    """A request (method, url, params, query) or a response (status_code, cookies); both have headers and a body."""

    headers: dict[str, str] = field(default_factory=dict)
    body: TypedData | None = None
    method: str = ""
    url: str = ""
    params: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    status_code: str = ""
    cookies: "list[RpcHttpCookie] | None" = None
    enable_content_negotiation: bool = False


@dataclass(slots=True)
class Nullable:
    """A value that is present; an absent one is None."""

    value: Any


NullableString = NullableBool = NullableDouble = NullableTimestamp = Nullable


@dataclass(slots=True)
class Timestamp:
    """Seconds since 1970."""

    seconds: int


class _SameSite:
    Lax = "Lax"
    Strict = "Strict"
    ExplicitNone = "None"


# A keyword of Python, but the name of the default in the protocol's enum.
setattr(_SameSite, "None", None)


@dataclass(slots=True)
class RpcHttpCookie:
    """A cookie that a function sets."""

    name: str
    value: str
    domain: Nullable | None = None
    path: Nullable | None = None
    expires: Nullable | None = None
    secure: Nullable | None = None
    http_only: Nullable | None = None
    same_site: str | None = None
    max_age: Nullable | None = None

    SameSite: ClassVar[type[_SameSite]] = _SameSite


@dataclass(slots=True)
class RpcException:
    """An exception of the app: `message` is type and text, `stack_trace` the worker's rendering."""

    message: str
    stack_trace: str = ""
    source: str = ""


@dataclass(slots=True)
class StatusResult:
    """Outcome of a request to the worker."""

    status: int
    exception: RpcException | None = None

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1


@dataclass(slots=True)
class BindingInfo:
    """Type and direction of a binding."""

    type: str
    data_type: int | None
    direction: int

    undefined: ClassVar[int] = 0
    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2


@dataclass(slots=True)
class RpcRetryOptions:
    """Retry policy of a function; times are timedeltas."""

    max_retry_count: int
    retry_strategy: str
    delay_interval: Any = None
    minimum_interval: Any = None
    maximum_interval: Any = None


@dataclass(slots=True)
class RpcFunctionMetadata:
    """A function as the worker indexed it; `raw_bindings` are JSON texts with `%SETTING%` unresolved."""

    name: str
    function_id: str
    raw_bindings: list[str]
    bindings: dict[str, BindingInfo]
    directory: str
    script_file: str
    entry_point: str
    language: str
    properties: dict[str, str]
    managed_dependency_enabled: bool = False
    is_proxy: bool = False
    retry_options: RpcRetryOptions | None = None


@dataclass(slots=True)
class WorkerMetadata:
    """Versions of the worker."""

    runtime_name: str
    runtime_version: str
    worker_version: str
    worker_bitness: str
    custom_properties: dict[str, str]


@dataclass(slots=True)
class WorkerInitResponse:
    """Answer to the first message."""

    capabilities: dict[str, str]
    worker_metadata: WorkerMetadata
    result: StatusResult


@dataclass(slots=True)
class FunctionMetadataResponse:
    """The functions found; None when the app has no script file."""

    use_default_metadata_indexing: bool
    function_metadata_results: list[RpcFunctionMetadata] | None
    result: StatusResult


@dataclass(slots=True)
class InvocationResponse:
    """Outcome of a call."""

    invocation_id: str
    result: StatusResult
    return_value: TypedData | None = None
    output_data: list[ParameterBinding] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Tell whether the function returned."""
        return self.result.status == StatusResult.Success


@dataclass(slots=True)
class TraceContext:
    """W3C trace context of the call."""

    trace_parent: str
    trace_state: str
    attributes: dict[str, str]


@dataclass(slots=True)
class RetryContext:
    """The host does not retry: always the first attempt."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: RpcException | None = None


@dataclass(slots=True)
class InvocationRequest:
    """A call of one function."""

    invocation_id: str
    function_id: str
    input_data: list[ParameterBinding]
    trigger_metadata: dict[str, TypedData]
    trace_context: TraceContext
    retry_context: RetryContext


@dataclass(slots=True)
class WorkerInitRequest:
    """The first message: where the app is."""

    function_app_directory: str
    capabilities: dict[str, str]


@dataclass(slots=True)
class StreamingMessage:
    """Envelope of every request; holds one of them."""

    worker_init_request: WorkerInitRequest | None = None
    invocation_request: InvocationRequest | None = None


@dataclass(slots=True)
class WorkerRequest:
    """What the worker's entry points take."""

    request: StreamingMessage
    properties: dict[str, Any] = field(default_factory=dict)
