"""The purposes for which things are sealed. A purpose is on the wire for ever: add, never rename."""

CLIENT_SECRET = "client-secret"  # noqa: S105 - a purpose's name
CLIENT_CERTIFICATE = "client-certificate"
TLS_CLIENT_CERTIFICATE = "tls-client-certificate"
PROXY_PASSWORD = "proxy-password"  # noqa: S105 - a purpose's name
API_KEY_VERIFIER = "api-key-verifier"
ESCROW = "escrow"
IDEMPOTENT_ANSWER = "idempotent-answer"
PAGE_CURSOR = "page-cursor"
KEY_MATERIAL = "key-material"
