"""The local certificate authority: strict verification, reuse and renewal."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from local.tls import Leaf, ensure_authority


def handshake(leaf: Leaf, trust: ssl.SSLContext, host: str) -> None:
    """Connect a client that trusts `trust` to a server with `leaf`; raises when the client refuses."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(leaf.cert_file, leaf.key_file)
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with trust.wrap_socket(near, server_hostname=host) as connection:
            connection.send(b"x")
    finally:
        near.close()
        thread.join(timeout=5)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_leaf_is_verified_strictly(tmp_path: Path, host: str) -> None:
    authority = ensure_authority(tmp_path)
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    assert trust.verify_flags & ssl.VERIFY_X509_STRICT
    handshake(authority.issue("server"), trust, host)


def test_another_host_is_refused(tmp_path: Path) -> None:
    authority = ensure_authority(tmp_path)
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(authority.issue("server", hosts=("other.example",)), trust, "localhost")


def test_an_expired_leaf_is_refused(tmp_path: Path) -> None:
    authority = ensure_authority(tmp_path)
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(authority.issue("server", expired=True), trust, "localhost")


def test_files_are_used_again(tmp_path: Path) -> None:
    first = ensure_authority(tmp_path).issue("server").cert_file.read_bytes()
    ca = (tmp_path / "ca.pem").read_bytes()
    assert ensure_authority(tmp_path).issue("server").cert_file.read_bytes() == first
    assert (tmp_path / "ca.pem").read_bytes() == ca


def test_an_expired_leaf_is_renewed(tmp_path: Path) -> None:
    authority = ensure_authority(tmp_path)
    authority.issue("server", expired=True)
    handshake(authority.issue("server"), ssl.create_default_context(cafile=str(authority.ca_file)), "localhost")


def test_a_lost_authority_takes_its_leaves_along(tmp_path: Path) -> None:
    ensure_authority(tmp_path).issue("server")
    (tmp_path / "ca.pem").unlink()
    authority = ensure_authority(tmp_path)
    handshake(authority.issue("server"), ssl.create_default_context(cafile=str(authority.ca_file)), "localhost")
