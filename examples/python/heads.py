"""What server_fastapi.py asks of the head of a request: it comes whole, in time, and is not too long."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
import uploads
from uvicorn.protocols.http.h11_impl import H11Protocol


class Heads(H11Protocol):
    """HTTP in which the head of a request arrives whole within a limit of time, or is refused in words."""

    refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self.waiting = self.loop.call_later(uploads.BODY_SECONDS, self.refuse, 408, uploads.SLOW)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self.waiting.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; wait for a head as long as it is not complete, and drop what comes after a refusal."""
        if self.refused:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self.waiting.cancel()
        elif self.waiting.cancelled() and not self.refused:
            self.waiting = self.loop.call_later(uploads.BODY_SECONDS, self.refuse, 408, uploads.SLOW)

    def send_400_response(self, msg: str) -> None:
        """Refuse what h11 cannot read."""
        self.refuse(400, uploads.NO_REQUEST)

    def refuse(self, status: int, values: dict[str, Any]) -> None:
        """Answer, and close after a second: cut off while it still sends, a client would lose the answer."""
        self.refused = True
        self.waiting.cancel()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = json.dumps(values).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        if not self.transport.is_closing():
            self.transport.write("\r\n".join((*head, "", "")).encode() + body)
            self.transport.write_eof()
            self.loop.call_later(1, self.transport.close)
