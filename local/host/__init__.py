"""A local Azure Functions host on Microsoft's own Python worker library.

    python -m local.host --app-dir . --port 7071 --no-auth-platform

Serves one function app a process over HTTP and drives its timers and queue triggers, with the behaviour of the real
host where clients or the app can see it. It knows nothing of the product, but for the optional clock hook of the tests.
"""
