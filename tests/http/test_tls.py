"""TLS with a certificate of one's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

openssl = shutil.which("openssl")
pytestmark = pytest.mark.skipif(openssl is None, reason="openssl makes the certificate")


def make_certificate(folder: Path) -> None:
    """cert.pem and key.pem for localhost."""
    assert openssl is not None
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([openssl, *words, *names, *files], check=True, capture_output=True)
    (folder / "key.pem").chmod(0o600)


def test_tokens_travel_encrypted(start: Any, database: Any) -> None:
    make_certificate(database.path)
    service = start('certificate = "cert.pem"\nkey = "key.pem"')
    token = service.token("read")
    url = f"https://localhost:{service.port}/v1/proposals"
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, verify=str(database.path / "cert.pem"), timeout=60)
    assert answer.ok
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{service.port}/livez", timeout=60)


def test_a_key_that_others_can_read_is_refused(database: Any) -> None:
    make_certificate(database.path)
    (database.path / "key.pem").chmod(0o644)
    (database.path / "service.toml").write_text('[http]\nlisten = 1\ncertificate = "cert.pem"\nkey = "key.pem"\n')
    assert "chmod o=" in database.amore("listen", code=1).stderr
