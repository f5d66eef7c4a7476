"""What survives a restart, and what a start refuses."""

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm

from local.emulator import seeds
from local.emulator.client import Endpoints, read_endpoints

REPOSITORY = Path(__file__).resolve().parents[2]
DIGEST = bytes(32)


def post(endpoints: Endpoints, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    with requests.post(f"{endpoints.control_url}/control/{path}", json=body, timeout=10) as response:
        response.raise_for_status()
        return dict(response.json()) if response.content else {}


def world_of(endpoints: Endpoints) -> dict[str, Any]:
    with requests.get(f"{endpoints.control_url}/control/world", timeout=10) as response:
        return dict(response.json())


def credential(endpoints: Endpoints, application: dict[str, str]) -> ClientSecretCredential:
    arguments = (application["tenant_id"], application["client_id"], application["secret"])
    return ClientSecretCredential(
        *arguments,
        authority=endpoints.entra_url,
        connection_verify=endpoints.ca_file,
        disable_instance_discovery=True,
    )


def client(endpoints: Endpoints, uri: str, signed_in: ClientSecretCredential) -> KeyClient:
    return KeyClient(uri, signed_in, verify_challenge_resource=False, connection_verify=endpoints.ca_file)


def test_keys_principals_ports_and_tokens_survive_a_restart(start_emulator: Callable[..., Any], tmp_path: Path) -> None:
    first = start_emulator(tmp_path)
    application = post(first.endpoints, "principals", {"display_name": "lasting"})
    policy = {"object_id": application["object_id"], "keys": ["all"]}
    uri = post(first.endpoints, "vaults", {"name": "lasting", "access_policies": [policy]})["uri"]
    with credential(first.endpoints, application) as signed_in:
        with client(first.endpoints, uri, signed_in) as keys:
            key = keys.create_ec_key("signing")
            keys.create_ec_key("doomed")
            keys.begin_delete_key("doomed").wait()
            options: dict[str, Any] = {
                "verify_challenge_resource": False,
                "connection_verify": first.endpoints.ca_file,
            }
            with CryptographyClient(key, signed_in, **options) as cryptography:
                signature = cryptography.sign(SignatureAlgorithm.es256, DIGEST).signature
        assert first.stop() == 0
        assert read_endpoints(tmp_path) is None
        second = start_emulator(tmp_path)
        assert second.endpoints == first.endpoints.__class__(**{**vars(first.endpoints), "pid": second.endpoints.pid})
        # The credential still holds the token of the first run.
        with client(second.endpoints, uri, signed_in) as keys:
            assert keys.get_key("signing").id == key.id
            assert [deleted.name for deleted in keys.list_deleted_keys()] == ["doomed"]
            with CryptographyClient(keys.get_key("signing"), signed_in, **options) as cryptography:
                assert cryptography.verify(SignatureAlgorithm.es256, DIGEST, signature).is_valid


def test_saving_on_demand_and_killing(start_emulator: Callable[..., Any], tmp_path: Path) -> None:
    first = start_emulator(tmp_path)
    post(first.endpoints, "vaults", {"name": "saved"})
    post(first.endpoints, "save", None)
    post(first.endpoints, "vaults", {"name": "unsaved"})
    first.process.kill()
    first.process.wait()
    second = start_emulator(tmp_path)
    assert {vault["name"] for vault in world_of(second.endpoints)["vaults"]} == {seeds.PLATFORM_VAULT, "saved"}


def test_the_state_file_is_private(start_emulator: Callable[..., Any], tmp_path: Path) -> None:
    assert start_emulator(tmp_path).stop() == 0
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls" / "ca.key").stat().st_mode) == 0o600


def test_an_ephemeral_run_neither_reads_nor_writes_state(start_emulator: Callable[..., Any], tmp_path: Path) -> None:
    lasting = start_emulator(tmp_path)
    post(lasting.endpoints, "vaults", {"name": "lasting"})
    lasting.stop()
    before = (tmp_path / "state.json").read_bytes()
    ephemeral = start_emulator(tmp_path, "--ephemeral")
    assert [vault["name"] for vault in world_of(ephemeral.endpoints)["vaults"]] == [seeds.PLATFORM_VAULT]
    ephemeral.stop()
    assert (tmp_path / "state.json").read_bytes() == before


def test_a_taken_port_is_replaced(start_emulator: Callable[..., Any], tmp_path: Path) -> None:
    first = start_emulator(tmp_path)
    port = world_of(first.endpoints)["vaults"][0]["uri"].rstrip("/").rpartition(":")[2]
    first.stop()
    with socket.create_server(("127.0.0.1", int(port))):
        second = start_emulator(tmp_path)
        assert world_of(second.endpoints)["vaults"][0]["uri"] != f"https://localhost:{port}/"


def run_to_its_end(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.emulator", "--data-dir", str(folder)]
    return subprocess.run(  # noqa: S603 - our own command
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_folder_serves_one_emulator_at_a_time(start_emulator: Callable[..., Any], tmp_path: Path) -> None:
    start_emulator(tmp_path)
    second = run_to_its_end(tmp_path)
    assert (second.returncode, second.stdout) == (1, "")
    assert "another emulator runs" in second.stderr


@pytest.mark.parametrize("content", ["nonsense", "{}", '{"format": 99}'])
def test_an_unreadable_state_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    refused = run_to_its_end(tmp_path)
    assert refused.returncode == 1
    assert "delete it to start afresh" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_state_of_another_format_is_refused(start_emulator: Callable[..., Any], tmp_path: Path) -> None:
    start_emulator(tmp_path).stop()
    state = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps(state | {"format": 2}))
    assert "has format 2, not 1" in run_to_its_end(tmp_path).stderr
