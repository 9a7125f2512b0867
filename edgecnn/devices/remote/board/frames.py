"""What goes between a desk and a board: a line of JSON, then as many bytes as its "size" says.

Runs at both ends, so it needs nothing but Python 3.6.
"""

import json

#: Comes before the first frame: a shell's start-up files may print something of their own.
HELLO = b"edgecnn-agent 1\n"
#: Seconds without a word after which the desk is taken for lost; it speaks every fifth of them.
SILENCE = 40.0
#: Most bytes of one frame: a slow network must carry it before either end takes the other for lost.
FRAME = 1 << 20


def read_frame(stream):
    """Return the next (header, bytes), or None where the stream ends, be it within a frame."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line.decode())
    size = header.get("size", 0)
    body = stream.read(size) if size else b""
    return (header, body) if len(body) == size else None


def write_frame(stream, header, body=b""):
    """Write a frame and flush the stream."""
    if body:
        header = dict(header, size=len(body))
    stream.write(json.dumps(header).encode() + b"\n" + body)
    stream.flush()
