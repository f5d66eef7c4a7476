"""The Functions app: settings, services, and what the host calls."""

import os

import azure.functions as func

from core.settings import Settings
from core.wiring import Runtime
from functions import logs
from functions.api import OPERATIONS
from functions.pipeline import Pipeline
from functions.queues import queues_blueprint
from functions.registration import register
from functions.timers import timers_blueprint

logs.configure()
settings = Settings.read(os.environ)
runtime = Runtime(settings).app

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
register(app, OPERATIONS, Pipeline(runtime, platform_authentication=settings.platform_authentication))
app.register_functions(timers_blueprint(runtime))
app.register_functions(queues_blueprint(runtime))
