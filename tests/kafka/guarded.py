"""A guard before a broker: TLS, and a login by SASL. The brokers that can be had from PyPI have neither.

Clients speak Kafka's protocol with it: https://kafka.apache.org/protocol.html#sasl_handshake. After the login, everything is
passed on.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import ssl
import struct
import threading
from pathlib import Path

#: Numbers of requests.
API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
AUTHENTICATION_FAILED = 58
ITERATIONS = 4096


class Guard:
    """Listens on `port`, and lets through to `target` who knows the password (if there is one)."""

    def __init__(self, certificate: Path, key: Path, mechanism: str | None = None, clients: Path | None = None) -> None:
        self.target = 0
        self.mechanism = mechanism
        self.user, self.password = "amore", "correct horse"
        self.logins: list[str] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        # kafka-python drops a connection on which something comes before it has asked.
        self._tls.num_tickets = 0
        if clients is not None:
            self._tls.load_verify_locations(clients)
            self._tls.verify_mode = ssl.CERT_REQUIRED
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(timeout=60)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Ends it."""
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                if self.mechanism is None or await self._login(reader, writer, to_reader, to_writer):
                    await asyncio.gather(_pass_on(reader, to_writer), _pass_on(to_reader, writer))
            finally:
                to_writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _login(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        to_reader: asyncio.StreamReader,
        to_writer: asyncio.StreamWriter,
    ) -> bool:
        scram = Scram(self.user, self.password, self.mechanism or "")
        while True:
            request = await _message(reader)
            api, version, correlation = struct.unpack(">hhi", request[:8])
            if api == API_VERSIONS:
                _send(to_writer, request)
                _send(writer, await _message(to_reader))
                continue
            (length,) = struct.unpack(">h", request[8:10])
            body = request[10 + length :]
            if api == SASL_HANDSHAKE:
                assert version == 1, version
                name = (self.mechanism or "").encode()
                wrong = 0 if body[2:] == name else 33
                _send(writer, struct.pack(">ihih", correlation, wrong, 1, len(name)) + name)
                continue
            # Anything else before the login ends the connection, as brokers do.
            if api != SASL_AUTHENTICATE:
                return False
            assert version in (0, 1), version
            said = body[4:]
            if self.mechanism == "PLAIN":
                # Who is represented, which may be left out; who logs in; the password.
                represented, *known = said.decode().split("\0")
                is_right = known == [self.user, self.password] and represented in ("", self.user)
                answer = b"" if is_right else None
                is_last = True
            else:
                answer, is_last = scram.step(said)
            code = 0 if answer is not None else AUTHENTICATION_FAILED
            why = struct.pack(">h", -1) if answer is not None else _text("wrong user or password")
            lifetime = struct.pack(">q", 0) if version == 1 else b""
            answer_bytes = struct.pack(">i", len(answer or b"")) + (answer or b"")
            _send(writer, struct.pack(">ih", correlation, code) + why + answer_bytes + lifetime)
            await writer.drain()
            if answer is None or is_last:
                self.logins.append("refused" if answer is None else "accepted")
                return answer is not None


class Scram:
    """The server's side of SCRAM (RFC 5802)."""

    def __init__(self, user: str, password: str, mechanism: str) -> None:
        self.user, self.password = user, password
        self.digest = mechanism.removeprefix("SCRAM-").replace("-", "").lower()
        self._salt = os.urandom(16)
        self._first: tuple[str, str] | None = None

    def step(self, said: bytes) -> tuple[bytes | None, bool]:
        """The answer to a message of the client, None if it is refused; and whether it is the last one."""
        fields = dict(field.split("=", 1) for field in said.decode().removeprefix("n,,").split(","))
        if self._first is None:
            nonce = fields["r"] + base64.b64encode(os.urandom(12)).decode()
            answer = f"r={nonce},s={base64.b64encode(self._salt).decode()},i={ITERATIONS}"
            self._first = said.decode().removeprefix("n,,"), answer
            return (answer.encode(), False) if fields["n"] == self.user else (None, True)
        salted = hashlib.pbkdf2_hmac(self.digest, self.password.encode(), self._salt, ITERATIONS)
        message = ",".join([*self._first, said.decode().rpartition(",p=")[0]]).encode()
        client_key = self._hmac(salted, b"Client Key")
        signature = self._hmac(hashlib.new(self.digest, client_key).digest(), message)
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        if base64.b64decode(fields["p"]) != proof:
            return None, True
        verifier = self._hmac(self._hmac(salted, b"Server Key"), message)
        return b"v=" + base64.b64encode(verifier), True

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self.digest).digest()


async def _message(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


def _send(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(struct.pack(">i", len(message)) + message)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.close()
