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
#: Most bytes of a header that a board sends. Whatever may need more is asked for in parts.
HEADER = 1 << 18
#: Most files that one question names, so that the answer is such a header.
FILES = 1000


class Damaged(Exception):
    """What came is no frame, or not what was asked for; says how."""


def read_frame(stream, longest=-1):
    """Return the next (header, bytes), or None where the stream ends, be it within a frame.

    `longest` is the most bytes of a header, -1 for any. Raises Damaged.
    """
    line = stream.readline(longest)
    if not line.endswith(b"\n"):
        if len(line) == longest:
            raise Damaged(f"a header of more than {longest} bytes")
        return None
    try:
        header = json.loads(line.decode())
    except (ValueError, RecursionError):
        raise Damaged("a header that is no JSON") from None
    size = header.get("size", 0) if isinstance(header, dict) else None
    if type(size) is not int or not 0 <= size <= FRAME:
        raise Damaged("a header without a size")
    body = stream.read(size) if size else b""
    return (header, body) if len(body) == size else None


def write_frame(stream, header, body=b""):
    """Write a frame and flush the stream."""
    stream.write(frame(header, body))
    stream.flush()


def frame(header, body=b""):
    """Return a frame as bytes."""
    if body:
        header = dict(header, size=len(body))
    return json.dumps(header).encode() + b"\n" + body
