"""Drives `azure_functions_runtime`, Microsoft's Python worker as a library.

Its state is module-global: one app a process. Async functions run on the caller's event loop, sync ones on the
library's thread pool.
"""

import json
import sys
import uuid
from contextvars import ContextVar
from pathlib import Path
from random import getrandbits
from typing import Any

import azure_functions_runtime as runtime

from local.host import messages
from local.host.functions import Function

# True in whatever the app runs, and in the tasks it starts; the crash hook counts calls by it.
INSIDE_APP: ContextVar[bool] = ContextVar("inside_app", default=False)


class AppLoadError(Exception):
    """The app could not be imported or indexed; the text is the worker's message and trace."""


class Worker:
    """The one app of this process."""

    async def load(self, app_dir: Path) -> list[Function]:
        """Import the app and return its functions, or raise AppLoadError."""
        sys.path.insert(0, str(app_dir))
        runtime.start_threadpool_executor()
        request = messages.WorkerRequest(
            messages.StreamingMessage(worker_init_request=messages.WorkerInitRequest(str(app_dir), {})),
            {"host": "localhost", "protos": messages},
        )
        _raise_on_failure((await runtime.worker_init_request(request)).result)
        answer = await runtime.functions_metadata_request(messages.WorkerRequest(messages.StreamingMessage()))
        if answer.function_metadata_results is None:
            raise AppLoadError(f"no function_app.py, or no function in it, in {app_dir}")
        return [_function(found) for found in answer.function_metadata_results]

    async def invoke(
        self,
        function: Function,
        argument: messages.TypedData,
        *,
        metadata: dict[str, messages.TypedData] | None = None,
        trace_parent: str = "",
        trace_state: str = "",
    ) -> messages.InvocationResponse:
        """Call `function` with its trigger's value; an exception of the app is in the answer's result."""
        request = messages.InvocationRequest(
            invocation_id=str(uuid.UUID(int=getrandbits(128), version=4)),
            function_id=function.id,
            input_data=[messages.ParameterBinding(function.trigger.name, argument)],
            trigger_metadata=metadata or {},
            trace_context=messages.TraceContext(trace_parent or _new_trace_parent(), trace_state, {}),
            retry_context=messages.RetryContext(),
        )
        token = INSIDE_APP.set(True)
        try:
            answer: messages.InvocationResponse = await runtime.invocation_request(
                messages.WorkerRequest(messages.StreamingMessage(invocation_request=request))
            )
        finally:
            INSIDE_APP.reset(token)
        return answer

    def stop(self) -> None:
        """Wait for sync functions and end the thread pool."""
        runtime.stop_threadpool_executor()


def _new_trace_parent() -> str:
    return f"00-{getrandbits(128):032x}-{getrandbits(64):016x}-01"


def _raise_on_failure(result: messages.StatusResult) -> None:
    if result.status != messages.StatusResult.Success:
        error = result.exception
        raise AppLoadError(f"{error.message}\n{error.stack_trace}" if error else "the worker gave no reason")


def _function(found: messages.RpcFunctionMetadata) -> Function:
    bindings: list[dict[str, Any]] = [json.loads(text) for text in found.raw_bindings]
    return Function.from_bindings(found.function_id, found.name, bindings)
