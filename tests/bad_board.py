"""A board that means ill: stands in for ssh, and answers as an agent does until it does one thing otherwise.

    python bad_board.py BEHAVIOUR FOLDER -- ADDRESS PROGRAM

FOLDER has `facts.json`, and what a board has made: `made/NAME` and `results.sqlite`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HELLO = b"edgecnn-agent 1\n"
FRAME = 1 << 20


class Board:
    """Behaves well. A behaviour is a subclass, and its docstring a regular expression for what the desk says.

    `words` is the command that meets it.
    """

    words: tuple[str, ...] = ("profile", "m.onnx", "--json")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = json.loads((folder / "facts.json").read_text())
        self.made = {path.name: path.read_bytes() for path in sorted((folder / "made").iterdir())}
        self.source, self.sink = sys.stdin.buffer, sys.stdout.buffer

    def serve(self) -> None:
        self.source.read(int(self.source.readline()))
        self.greet()
        while line := self.source.readline():
            header = json.loads(line)
            self.source.read(header.get("size", 0))
            self.answer(header)

    def greet(self) -> None:
        self.write(HELLO)
        self.send(self.facts)

    def answer(self, header: dict[str, Any]) -> None:
        getattr(self, f"do_{header['do']}")(header)

    def do_ping(self, header: dict[str, Any]) -> None:
        self.send({"pong": True})

    def do_stop(self, header: dict[str, Any]) -> None:
        pass

    def do_lock(self, header: dict[str, Any]) -> None:
        self.send({})

    do_put = do_link = do_remove = do_lock

    def do_have(self, header: dict[str, Any]) -> None:
        self.send({"missing": {}})

    def do_run(self, header: dict[str, Any]) -> None:
        self.send({"of": "stdout"}, self.printed())
        self.send({"exit": 0, "why": None})

    def printed(self) -> bytes:
        return b'{"path": "m.onnx"}\n'

    def do_list(self, header: dict[str, Any]) -> None:
        self.send({"files": self.listed()})

    def listed(self) -> list[Any]:
        return [[name, len(body), hashlib.sha256(body).hexdigest()] for name, body in self.made.items()]

    def do_get(self, header: dict[str, Any]) -> None:
        body = self.made[Path(header["path"]).name]
        self.send({"of": "file"}, body[header["offset"] :][:FRAME])

    def send(self, header: Any, body: bytes = b"") -> None:
        if body:
            header = {**header, "size": len(body)}
        self.write(json.dumps(header).encode() + b"\n" + body)

    def write(self, content: bytes) -> None:
        self.sink.write(content)
        self.sink.flush()

    def for_ever(self, content: bytes, pause: float = 0.0) -> None:
        while True:
            self.write(content)
            time.sleep(pause)


class _Made(Board):
    words = ("compile", "m.onnx", "--backend", "ort", "-o", "out.ort")

    #: Name that is offered.
    name = "out.ort"

    def listed(self) -> list[Any]:
        body = b"evil"
        self.made[Path(self.name).name] = body
        return [[self.name, len(body), hashlib.sha256(body).hexdigest()]]


# Before the agent's first word, and the word itself.


class NeverSaysAWord(Board):
    """does not answer any more"""

    def greet(self) -> None:
        time.sleep(60)


class MakesNoiseWithoutEnd(Board):
    """more than 1048576 bytes before its agent's first word"""

    def greet(self) -> None:
        self.for_ever(b"x" * 65536)


class LeavesAtOnce(Board):
    """the connection to board broke: ssh says nothing"""

    def serve(self) -> None:
        pass


class FloodsStandardError(Board):
    """does not answer any more"""

    def greet(self) -> None:
        while True:
            os.write(2, b"e" * 65536)


class GreetsAndLeaves(Board):
    """the connection to board broke"""

    def greet(self) -> None:
        self.write(HELLO)
        sys.exit(0)


class KeepsStandardOutputOpen(Board):
    """does not answer any more"""

    def greet(self) -> None:
        self.write(HELLO)
        if os.fork() == 0:
            os.close(0)
            time.sleep(8)
        os._exit(0)


# Frames.


class SendsAHeaderWithoutEnd(Board):
    """a header of more than 262144 bytes"""

    def greet(self) -> None:
        self.write(HELLO + b'{"home": "')
        self.for_ever(b"x" * 65536)


class SendsNoJson(Board):
    """a header that is no JSON"""

    def greet(self) -> None:
        self.write(HELLO + b"{facts\n")


class SendsNoText(Board):
    """a header that is no JSON"""

    def greet(self) -> None:
        self.write(HELLO + b'{"home": "\xff\xfe"}\n')


class NestsWithoutEnd(Board):
    """a header that is no JSON"""

    def greet(self) -> None:
        self.write(HELLO + b"[" * 200_000 + b"\n")


class SendsANumberOfManyDigits(Board):
    """a header that is no JSON"""

    def greet(self) -> None:
        self.write(HELLO + b'{"free": ' + b"9" * 200_000 + b"}\n")


class SendsAList(Board):
    """a header without a size"""

    def greet(self) -> None:
        self.write(HELLO + b"[]\n")


class SendsANegativeSize(Board):
    """a header without a size"""

    def greet(self) -> None:
        self.write(HELLO + b'{"size": -1}\n')
        self.for_ever(b"x" * 65536)


class SendsAHugeSize(Board):
    """a header without a size"""

    def greet(self) -> None:
        self.write(HELLO + b'{"size": 4800000000}\n')
        self.for_ever(b"x" * 65536)


class SendsASizeThatIsATruth(Board):
    """a header without a size"""

    def greet(self) -> None:
        self.write(HELLO + b'{"size": true}\nx')


class SendsABodyByBytes(Board):
    """does not answer any more"""

    def do_lock(self, header: dict[str, Any]) -> None:
        self.write(b'{"size": 1000}\n')
        self.for_ever(b"x", 0.05)


class SendsAHeaderByBytes(Board):
    """does not answer any more"""

    def do_lock(self, header: dict[str, Any]) -> None:
        self.for_ever(b" ", 0.05)


class LeavesWithinABody(Board):
    """the connection to board broke"""

    def do_lock(self, header: dict[str, Any]) -> None:
        self.write(b'{"size": 1000}\nhalf')
        sys.exit(0)


# Facts.


class _Fact(Board):
    def greet(self) -> None:
        self.facts = {**self.facts, **self.changed()}
        super().greet()

    def changed(self) -> dict[str, Any]:
        raise NotImplementedError


class SaysNothingOfItself(Board):
    """home is None"""

    def greet(self) -> None:
        self.write(HELLO)
        self.send({})


class MakesUpAPython(_Fact):
    r"""python is \[3, '10/\.\./\.\./\.\./made_up', 0\]"""

    def changed(self) -> dict[str, Any]:
        return {"python": [3, "10/../../../made_up", 0], "environments": {}}


class MakesUpAProcessor(_Fact):
    """machine is"""

    def changed(self) -> dict[str, Any]:
        return {"machine": "../../../made_up", "environments": {}}


class MakesUpACLibrary(_Fact):
    """there are wheels for glibc"""

    def changed(self) -> dict[str, Any]:
        return {"libc": ["glibc", "2.999999999"], "environments": {}}


class HasAHomeOfNoPath(_Fact):
    """home is"""

    def changed(self) -> dict[str, Any]:
        return {"home": ["/"]}


class HasAHomeOfTwoLines(_Fact):
    """home is"""

    def changed(self) -> dict[str, Any]:
        return {"home": "/a\nerror: b"}


class HasFactsOfOtherKinds(_Fact):
    """environments is"""

    def changed(self) -> dict[str, Any]:
        return {"environments": ["environment-x"]}


class HasTooManyEnvironments(_Fact):
    """environments is"""

    def changed(self) -> dict[str, Any]:
        return {"environments": {f"environment-{number}": True for number in range(5000)}}


# Questions.


class RefusesAtLength(Board):
    """board: no no no"""

    def do_lock(self, header: dict[str, Any]) -> None:
        self.send({"refused": "no " * 50_000, "hint": "give up " * 5000})


class RefusesWithANumber(Board):
    """it refuses without a word"""

    def do_lock(self, header: dict[str, Any]) -> None:
        self.send({"refused": 5})


class SaysThatItIsThereForEver(Board):
    """does not answer any more"""

    def do_lock(self, header: dict[str, Any]) -> None:
        self.for_ever(b'{"pong": true}\n', 0.01)


class FloodsWithSignsOfLife(Board):
    """does not answer any more"""

    def do_lock(self, header: dict[str, Any]) -> None:
        self.for_ever(b'{"pong": true}\n' * 1000)


class FallsSilent(Board):
    """does not answer any more"""

    def do_lock(self, header: dict[str, Any]) -> None:
        time.sleep(60)


class NeverReads(Board):
    """does not answer any more"""

    def do_have(self, header: dict[str, Any]) -> None:
        self.send({"missing": dict.fromkeys(header["files"], 0)})
        time.sleep(60)


class LacksWhatWasNotOffered(Board):
    """of the file '/etc/shadow' it has 0 bytes"""

    def do_have(self, header: dict[str, Any]) -> None:
        self.send({"missing": {"/etc/shadow": 0}})


class HasLessThanNothing(Board):
    """it has -1000 bytes"""

    def do_have(self, header: dict[str, Any]) -> None:
        self.send({"missing": dict.fromkeys(header["files"], -1000)})


class LacksNobodyKnowsWhat(Board):
    """it does not say which files are missing"""

    def do_have(self, header: dict[str, Any]) -> None:
        self.send({"missing": 7})


# What a program prints, and how it ends.


class PrintsWithoutEnd(Board):
    """more than 4 MiB of output"""

    def do_run(self, header: dict[str, Any]) -> None:
        while True:
            self.send({"of": "stdout"}, b"x" * 65536)


class ComplainsWithoutEnd(Board):
    """more than 4 MiB of output"""

    def do_run(self, header: dict[str, Any]) -> None:
        while True:
            self.send({"of": "stderr"}, b"x" * 65536)


class PrintsNothingForEver(Board):
    """output that no program prints"""

    def do_run(self, header: dict[str, Any]) -> None:
        self.for_ever(b'{"of": "stdout"}\n')


class PrintsToSomewhereElse(Board):
    """output that no program prints"""

    def do_run(self, header: dict[str, Any]) -> None:
        self.send({"of": "/dev/sda"}, b"x")


class RunsForEver(Board):
    """does not answer any more"""

    def do_run(self, header: dict[str, Any]) -> None:
        self.for_ever(b'{"pong": true}\n', 0.05)


class EndsWithAText(Board):
    """a program ended with '0; rm'"""

    def do_run(self, header: dict[str, Any]) -> None:
        self.send({"exit": "0; rm", "why": None})


class EndsByASignalThatIsNone(Board):
    """a program ended with -999"""

    def do_run(self, header: dict[str, Any]) -> None:
        self.send({"exit": -999, "why": None})


class EndsByASignalWithoutAName(Board):
    """the program there was ended by signal 33"""

    def do_run(self, header: dict[str, Any]) -> None:
        self.send({"exit": -33, "why": None})


class AnswersWithoutJson(Board):
    """what the command printed there is no JSON object"""

    def printed(self) -> bytes:
        return b"\xff\x00 no json"


class AnswersWithNoNumber(Board):
    """what the command printed there is no JSON object"""

    def printed(self) -> bytes:
        return b'{"latency_ms": NaN}'


class AnswersInNests(Board):
    """what the command printed there is no JSON object"""

    def printed(self) -> bytes:
        return b'{"a": ' + b"[" * 100_000


class AnswersWithAList(Board):
    """what the command printed there is no JSON object"""

    def printed(self) -> bytes:
        return b"[]"


# Files.


class OffersKeys(_Made):
    """a file '\\.ssh/authorized_keys', which nobody asked for"""

    name = ".ssh/authorized_keys"


class OffersTheInput(_Made):
    """a file 'm.onnx', which nobody asked for"""

    name = "m.onnx"


class OffersAnotherOutput(_Made):
    """a file 'out.xml', which nobody asked for"""

    name = "out.xml"


class OffersAnAbsolutePath(_Made):
    """a file '/etc/cron.d/evil', which nobody asked for"""

    name = "/etc/cron.d/evil"


class OffersWhatIsAbove(_Made):
    """a file '../evil', which nobody asked for"""

    name = "../evil"


class OffersThroughALink(_Made):
    """a file 'link/evil', which nobody asked for"""

    name = "link/evil"


class OffersAnotherWayToTheSame(_Made):
    """a file './out.ort', which nobody asked for"""

    name = "./out.ort"


class OffersOneTwice(_Made):
    """a file 'out.ort', which nobody asked for"""

    def listed(self) -> list[Any]:
        return super().listed() * 2


class OffersAMillion(_Made):
    """a header of more than 262144 bytes"""

    def listed(self) -> list[Any]:
        return [[f"out{number}", 1, "0" * 64] for number in range(100_000)]


class OffersGigabytes(_Made):
    """files of 4800 MB; 2147 MB are allowed"""

    def listed(self) -> list[Any]:
        return [["out.ort", 4_800_000_000, "0" * 64]]


class OffersLessThanNothing(_Made):
    """the file 'out.ort' of -5 bytes"""

    def listed(self) -> list[Any]:
        return [["out.ort", -5, "0" * 64]]


class OffersNoRows(_Made):
    """is no file"""

    def listed(self) -> list[Any]:
        return [None]


class SendsAnotherFile(_Made):
    """arrived damaged"""

    def do_get(self, header: dict[str, Any]) -> None:
        self.send({"of": "file"}, b"EVIL")


class SendsMoreThanItSaid(_Made):
    """1000 bytes of a file of 4"""

    def do_get(self, header: dict[str, Any]) -> None:
        self.send({"of": "file"}, b"x" * 1000)


class SendsNothingOfAFile(_Made):
    """0 bytes of a file of 4"""

    def do_get(self, header: dict[str, Any]) -> None:
        self.send({"of": "file"})


# Results.


class _Results(Board):
    def listed(self) -> list[Any]:
        self.made[".results.sqlite"] = self.results()
        return super().listed()

    def results(self) -> bytes:
        import sqlite3

        path = self.folder / "results.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(self.change())
        return path.read_bytes()

    def change(self) -> str:
        return ""


class HasResultsThatAreNone(_Results):
    """its results are none"""

    def results(self) -> bytes:
        return b"SQLite format 3\0" + b"x" * 5000


class HasResultsWithoutEnd(_Results):
    """is no store of results"""

    def change(self) -> str:
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        return (
            f"ALTER TABLE results RENAME TO other; CREATE VIEW results AS {rows}"
            " SELECT i AS id, 1.0 AS time, 'profile' AS kind, '/m' AS path, '' AS sha256, '' AS host,"
            " '{}' AS result, NULL AS samples FROM n;"
        )


class HasAResultOfAnotherFile(_Results):
    """a result of '/etc/passwd', which nobody asked for"""

    def change(self) -> str:
        return "UPDATE results SET path = '/etc/passwd';"


class HasAResultOfAnotherCommand(_Results):
    """there are results that no profile measured"""

    def change(self) -> str:
        return "UPDATE results SET kind = 'eval';"


class HasAResultInNests(_Results):
    """result 1 of .* is damaged"""

    def change(self) -> str:
        return f"UPDATE results SET result = '{'[' * 100_000}';"


class HasAResultWithoutNumbers(_Results):
    """result 1 of .* is damaged"""

    def change(self) -> str:
        return """UPDATE results SET result = '{"latency_ms": {"p50": 1e999}}';"""


class HasAResultOfNoText(_Results):
    """result 1 of .* is damaged"""

    def change(self) -> str:
        return "UPDATE results SET path = 5.5, result = x'ff';"


class HasTooManyResults(_Results):
    """2001 results of up to"""

    def change(self) -> str:
        columns = "time, kind, path, sha256, host, result"
        copy = f"INSERT INTO results ({columns}) SELECT 1.0, kind, path, '', '', '{{}}'"
        rows = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i FROM n"
        )
        return f"{copy} FROM results, ({rows});"


class HasTooLongAResult(_Results):
    """results of up to"""

    def change(self) -> str:
        return """UPDATE results SET result = '{"a": "' || hex(zeroblob(3000000)) || '"}';"""


class _Steers(Board):
    """Writes wherever it may what would steer a terminal."""

    evil = "\x1b]0;title\x07\x1b[2J\x1b[1A\r\x9b2J[/x]"

    def do_run(self, header: dict[str, Any]) -> None:
        self.send({"of": "stderr"}, f"{self.evil} ...\n{self.evil}\nno end {self.evil}".encode())
        super().do_run(header)

    def printed(self) -> bytes:
        return f"table {self.evil}\nend\n".encode()


#: What is done ill, by name.
BEHAVIOURS = {
    name: kind
    for name, kind in list(globals().items())
    if isinstance(kind, type) and issubclass(kind, Board) and kind is not Board and not name.startswith("_")
}

if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        {"Board": Board, "Steers": _Steers, **BEHAVIOURS}[sys.argv[1]](Path(sys.argv[2])).serve()
