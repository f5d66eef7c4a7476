"""The wire: HTTP, timers and queues of the Functions app. The only package that imports azure.functions."""
