"""From operations to native functions: one each, named for it, so that the portal tells them apart."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

import azure.functions as func

from functions.operations import Operation
from functions.pipeline import Pipeline

type Function = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


def register(app: func.FunctionApp, operations: Iterable[Operation], pipeline: Pipeline) -> None:
    """Register every operation with `app`, in a blueprint for each tag."""
    blueprints: dict[str, func.Blueprint] = defaultdict(func.Blueprint)
    for operation in operations:
        blueprint = blueprints[operation.tag]
        # Keysteward authenticates its callers itself; function keys would be a second, weaker door.
        route = blueprint.route(route=operation.route, methods=[operation.method], auth_level=func.AuthLevel.ANONYMOUS)
        blueprint.function_name(operation.name)(route(_function(operation, pipeline)))
    for blueprint in blueprints.values():
        app.register_functions(blueprint)


def _function(operation: Operation, pipeline: Pipeline) -> Function:
    async def answer(req: func.HttpRequest) -> func.HttpResponse:
        return await pipeline.answer(operation, req)

    answer.__name__ = answer.__qualname__ = operation.name
    answer.__doc__ = operation.summary
    return answer
