# SPDX-License-Identifier: Apache-2.0
"""series_test.py TALWEG ADDRESS

What `talweg session watch` and `session export` tell of a run, against a real server. The files are
read by readers of their own: CSV by Python's, TensorBoard's event files by the one below, which
shares nothing with what wrote them.
"""

import csv
import fcntl
import hashlib
import json
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time

TALWEG, ADDRESS = sys.argv[1], sys.argv[2]
ENVIRONMENT = dict(os.environ, TALWEG_SERVER=ADDRESS, TERM="xterm")
NUMBERS = ["loss", "learning_rate", "gradient_norm", "update_norm", "clip_factor", "staleness",
           "contributors", "total_weight", "num_late", "num_expired", "num_abstained",
           "num_losses_left_out",
           "num_non_finite", "first_non_finite", "too_stale", "rejected_non_finite",
           "round_closed", "step_seconds", "seconds_since_last"]
DIGEST_EVERY = 4


def talweg(*arguments, code=0):
    """Standard output of a command that ends with `code`."""
    done = subprocess.run([TALWEG, *arguments], env=ENVIRONMENT, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def write_npy(path, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(values)},), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                     struct.pack(f"<{len(values)}f", *values))


def crc32c(data):
    """Bit by bit, from the definition: reflected polynomial 0x1EDC6F41."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # the check value of the standard


def unmasked(crc):
    rotated = (crc - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def frames(data):
    """The records of a TFRecord file, each with both checksums verified."""
    while data:
        (length, length_crc), rest = struct.unpack("<QI", data[:12]), data[12:]
        assert unmasked(length_crc) == crc32c(data[:8]), "checksum of a length"
        record, (crc,) = rest[:length], struct.unpack("<I", rest[length:length + 4])
        assert len(record) == length and unmasked(crc) == crc32c(record), "checksum of a record"
        yield record
        data = rest[length + 4:]


def fields(message):
    """(number, value) of a protobuf message: integers, bytes, or the raw bytes of fixed numbers."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (message[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if message[at - 1] < 0x80:
                return value, at
    at = 0
    while at < len(message):
        key, at = varint(at)
        kind = key & 7
        if kind == 0:
            value, at = varint(at)
        else:
            assert kind in (1, 2, 5), kind
            length, at = varint(at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at:at + length], at + length
        yield key >> 3, value


def events(path):
    """[(step, wall_time, {tag: value})] of an event file, after its head."""
    records = list(frames(path.read_bytes()))
    assert dict(fields(records[0]))[3] == b"brain.Event:2", records[0]
    found = []
    for record in records[1:]:
        event = dict(fields(record))
        values = {}
        for number, value in fields(event[5]):
            assert number == 1
            value = dict(fields(value))
            values[value[1].decode()] = struct.unpack("<f", value[2])[0]
        found.append((event[2], struct.unpack("<d", event[1])[0], values))
    return found


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def number(record, name):
    for part in (record, record["refusals"], record["report"]):
        if name in part:
            return float(part[name])
    raise KeyError(name)


def check_files(folder, records):
    csv_path, board = folder / "run.csv", folder / "board" / "run"
    board.mkdir(parents=True)
    stale = "events.out.tfevents.0000000000.run"  # of the session before, which is replaced
    (board / stale).write_bytes(b"stale")
    said = talweg("session", "export", "run", "--csv", str(csv_path), "--tensorboard", str(board))
    assert said.startswith(f"{len(records)} records in {csv_path}\n"), said
    with open(csv_path, encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    (event_path,) = board.iterdir()
    assert "tfevents" in event_path.name
    steps = events(event_path)
    assert len(rows) == len(steps) == len(records)
    for record, row, (step, wall_time, values) in zip(records, rows, steps):
        assert int(row["version"]) == step == int(record["version"])
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(wall_time)))
        assert row["time"].startswith(seconds) and record["time"].startswith(seconds), row["time"]
        for name in NUMBERS:
            if name in ("loss", "first_non_finite") and name not in record["report"]:
                assert row[name] == "" and name not in values
                continue
            assert float(row[name]) == number(record, name), (name, row[name])
            assert values[name] == float32(number(record, name)), (name, values[name])
        # The session does not search.
        assert not any(row[name] for name in row if name.startswith("search_")), row
        assert not any(name.startswith("search_") for name in values), values
        assert row["state_digest"] == record["report"].get("state_digest", ""), row
    # Again: the same file, not a second one that TensorBoard would draw over the first.
    talweg("session", "export", "run", "--tensorboard", str(board))
    assert list(board.iterdir()) == [event_path]
    assert talweg("session", "export", "run", "--csv", "-") == csv_path.read_text("ascii")
    exported = json.loads(talweg("session", "export", "run", "--json"))
    assert exported["records"] == records
    assert "--csv" in talweg("session", "export", "run", code=2)
    assert "cannot write" in talweg("session", "export", "run", "--csv", str(folder / "no" / "f"),
                                    code=1)


class Terminal:
    """`talweg` with a terminal of `columns` by `rows` of its own."""

    def __init__(self, columns, rows, *arguments):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [TALWEG, *arguments], env=ENVIRONMENT, stdin=slave, stdout=slave, stderr=slave,
            close_fds=True, preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)))
        os.close(slave)
        self.text = ""

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, words):
        """Reads on until `words` come; returns what it read."""
        deadline, begin = time.monotonic() + 30, len(self.text)
        while words not in self.text[begin:]:
            assert time.monotonic() < deadline, f"no {words!r} in {self.text[begin:]!r}"
            self.read(0.2)
        return self.text[begin:]

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += piece.decode("utf-8", "replace")
        return bool(piece)

    def end(self):
        """The exit code; all that was written is in `text`."""
        while self.read(30):
            pass
        os.close(self.master)
        return self.process.wait(timeout=30)


def pages(text):
    """The pages drawn in `text`, as lists of lines without control sequences."""
    return [[re.sub(r"\x1b\[[?0-9]*[A-Za-z]", "", line) for line in page.split("\r\n")]
            for page in text.split("\x1b[H")[1:]]


def check_terminal(folder):
    terminal = Terminal(90, 30, "session", "watch", "run")
    page = pages(terminal.wait_for("version 12") + terminal.wait_for("\x1b[H"))[0]
    assert page[0].startswith("run  version 12"), page
    loss = [index for index, line in enumerate(page) if line.startswith("loss ")]
    assert loss and "█" in page[loss[0] + 1], page
    assert any(re.match(r"gradient_norm .*█", line) for line in page), page
    talweg("step", "run", "--gradient", str(folder / "1.npy"), "--loss", "7")
    terminal.wait_for("version 13")
    # A smaller window: from then on every page fits into it.
    terminal.resize(60, 8)
    terminal.wait_for("\x1b[H")
    terminal.wait_for("\x1b[H")
    seen = terminal.wait_for("\x1b[H") + terminal.wait_for("\x1b[H")
    for page in pages(seen)[:-1]:
        assert len([line for line in page if line]) <= 8, page
        assert max(map(len, page)) <= 60, page
    os.write(terminal.master, b"\x03")
    assert terminal.end() == 130
    assert terminal.text.startswith("\x1b[?1049h\x1b[?25l"), terminal.text[:40]
    tail = terminal.text[terminal.text.rindex("\x1b[?25h\x1b[?1049l"):]
    assert "\x1b[?25l" not in tail and "version 13" in tail, tail
    assert tail.endswith("talweg: stopped\r\n"), tail

    # What fails before there is a page leaves the terminal alone.
    terminal = Terminal(90, 30, "session", "watch", "nobody")
    assert terminal.end() == 1
    assert "SESSION_NOT_FOUND" in terminal.text and "\x1b" not in terminal.text, terminal.text


def main():
    folder = pathlib.Path(tempfile.mkdtemp())
    talweg("session", "create", "run", "--layout", "w:2", "--optimizer", "gradient_descent",
           "--learning_rate", "0.5", "--init", "*=constant:0", "--digest_every", str(DIGEST_EVERY))
    assert talweg("session", "watch", "run", "--once") == ""
    for step in range(1, 13):
        write_npy(folder / f"{step}.npy", [step, -1])
        loss = [] if step == 5 else ["--loss", str(10 / step)]
        talweg("step", "run", "--gradient", str(folder / f"{step}.npy"), *loss)

    records = [json.loads(line)
               for line in talweg("session", "watch", "run", "--once", "--json").splitlines()]
    assert [int(record["version"]) for record in records] == list(range(1, 13))
    assert records[3]["report"]["loss"] == 2.5 and "loss" not in records[4]["report"]
    assert records[11]["report"]["gradient_norm"] == (12**2 + 1)**0.5
    digests = [record["report"].get("state_digest") for record in records]
    told = [version for version, digest in enumerate(digests, 1) if digest]
    assert told == [4, 8, 12] and len(set(digests)) == 4, digests
    # The text of proto/README.md, by hand: 12 steps of rate 0.5 from 0.
    w = struct.pack("<2f", -0.5 * sum(range(1, 13)), 0.5 * 12)
    text = ("talweg.state.v1\nversion 12\n"
            f"parameters float32 2 {hashlib.sha256(w).hexdigest()}\n")
    assert digests[11] == hashlib.sha256(text.encode()).hexdigest(), digests
    described = talweg("session", "get", "run")
    assert digests[11] in described and hashlib.sha256(w).hexdigest() in described, described
    lines = talweg("session", "watch", "run", "--once", "--after_version", "10").splitlines()
    assert len(lines) == 2 and lines[0].startswith("version=11 time=20"), lines
    assert " loss=0.909091 learning_rate=0.5 " in lines[0], lines
    assert lines[1].endswith(f" state_digest={digests[11]}"), lines

    check_files(folder, records)
    check_terminal(folder)

    # Off a terminal it follows line by line, and ends with the session.
    with subprocess.Popen([TALWEG, "session", "watch", "run"], env=ENVIRONMENT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follower:
        for version in range(1, 14):
            assert follower.stdout.readline().startswith(f"version={version} ")
        talweg("step", "run", "--gradient", str(folder / "1.npy"))
        assert follower.stdout.readline().startswith("version=14 ")
        talweg("session", "delete", "run")
        assert "SESSION_DELETED" in follower.communicate(timeout=60)[1]
        assert follower.returncode == 1


main()
