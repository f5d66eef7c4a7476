"""The shapes of requests and answers on the wire, as pydantic models."""
