"""A TLS server that demands a client certificate of its own CA and says so with an alert, as OpenSSL's servers do."""

import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from local.tls import ensure_authority


@contextmanager
def demanding_server() -> Iterator[tuple[str, str]]:
    """Yield its URL and its CA in PEM."""
    with tempfile.TemporaryDirectory() as folder:
        authority = ensure_authority(Path(folder))
        leaf = authority.issue("server")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
        context.load_cert_chain(leaf.cert_file, leaf.key_file)
        context.verify_mode = ssl.CERT_REQUIRED
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            thread = threading.Thread(target=_serve, args=(listener, context))
            thread.start()
            yield f"https://localhost:{listener.getsockname()[1]}", authority.ca_file.read_text()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        secured.settimeout(5)
        with suppress(OSError):
            secured.do_handshake()
        # What the client has under way is read first: a reset would overtake the alert.
        with socket.socket(fileno=secured.detach()) as plain, suppress(OSError):
            plain.settimeout(5)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
