# SPDX-License-Identifier: Apache-2.0
"""Reads the house (every #include, every CMake dependency) and says which arrows.py forbids."""

import pathlib
import posixpath
import re

import arrows

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = (".cc", ".h")
TOP_FOLDERS = ("client", "core", "proto", "server", "tests")


def read_house(root):
    """Returns {path from the root: text} of what the checks below read."""
    files = {}
    for folder in TOP_FOLDERS:
        for path in sorted(pathlib.Path(root, folder).rglob("*")):
            if path.suffix in SOURCES + (".proto",) or path.name == "CMakeLists.txt":
                files[path.relative_to(root).as_posix()] = path.read_text()
    return files


def room_of(path):
    """The room that a file stands in, or its folder if the table has no such room."""
    folder = posixpath.dirname(path)
    top = folder.split("/")[0]
    return top if top in ("tests", "proto") else folder


def is_test(path):
    return path.endswith(("_test.cc", "_bench.cc"))


def is_among(header, names):
    """Names that end in a slash are folders; the others are whole headers."""
    return any(header == name or (name.endswith("/") and header.startswith(name)) for name in names)


def includes_of(text):
    """Every (header, whether in quotes)."""
    return [(match[2], match[1] == '"') for match in INCLUDE.finditer(text)]


def source_of_header(header, files):
    """The file of ours behind a header, also a generated one; None for a header of a library."""
    stem = re.sub(r"(\.grpc)?\.pb\.h$", ".proto", header)
    for path in (header, stem, "proto/" + stem):
        if path in files:
            return path
    return header if header.split("/")[0] in TOP_FOLDERS + ("talweg",) else None


def wrong_include(path, header, quoted, files):
    """Says what is wrong with one #include; None if nothing is."""
    room = room_of(path)
    source = source_of_header(header, files)
    if quoted and "/" not in header:
        return "includes start at the root of the repository"
    if source is not None:
        if source not in files:
            return "no such file"
        target = room_of(source)
        if target not in arrows.ARROWS:
            return f"room {target} has no row in tests/layers/arrows.py"
        in_support = is_test(path) and header.startswith("tests/support/")
        if target != room and target not in arrows.ARROWS[room] and not in_support:
            return f"{room} may not include {target}"
    for names, seers in arrows.LIBRARIES:
        stem = posixpath.splitext(path)[0]
        if is_among(header, names) and room not in seers and stem not in seers:
            return f"only {', '.join(sorted(seers))} may see <{names[0]}…>"
    if header.endswith(".grpc.pb.h") and wrong_include(path, "grpcpp/grpcpp.h", False, files):
        return "gRPC stubs are not seen here"
    if room.startswith("core/") and not is_test(path) and is_among(header, arrows.NOT_IN_CORE):
        return "core is handed time, threads and bytes; it fetches none of them"
    return None


def wrong_includes(files):
    wrong = []
    for path, text in files.items():
        if not path.endswith(SOURCES):
            continue
        if room_of(path) not in arrows.ARROWS:
            wrong.append(f"{path}: room {room_of(path)} has no row in tests/layers/arrows.py")
            continue
        for header, quoted in includes_of(text):
            reason = wrong_include(path, header, quoted, files)
            if reason:
                wrong.append(f"{path}: #include {header}: {reason}")
    return wrong


def without_comments(cmake):
    return re.sub(r"#.*", "", cmake)


def wrong_dependencies(files):
    """Checks CMake's DEPS too: what a room links is an arrow as well."""
    cmakes = {path: without_comments(text) for path, text in files.items()
              if path.endswith("CMakeLists.txt")}
    room_of_target = {}
    for path, text in cmakes.items():
        for match in re.finditer(r"talweg_library\(\s*(\w+)|add_library\(\s*talweg_(\w+)", text):
            room_of_target[match[1] or match[2]] = room_of(path)
    wrong = []
    for path, text in cmakes.items():
        room = room_of(path)
        for name in sorted(set(re.findall(r"\btalweg(?:_|::)(\w+)", text))):
            target = room_of_target.get(name, room)
            if target != room and target not in arrows.ARROWS.get(room, set()):
                wrong.append(f"{path}: {room} may not link talweg_{name} of {target}")
    return wrong


def grpc_units(files):
    """Production files, generated stubs among them, that are compiled with gRPC's headers: they
    include them themselves, or through headers of ours."""
    def sees_grpc(path, seen):
        for header, _ in includes_of(files[path]):
            if header.startswith(("grpc/", "grpcpp/")) or header.endswith(".grpc.pb.h"):
                return True
            if header in files and header not in seen:
                seen.add(header)
                if sees_grpc(header, seen):
                    return True
        return False

    units = [path for path in files
             if path.endswith(".cc") and not is_test(path) and room_of(path) != "tests"
             and sees_grpc(path, {path})]
    stubs = [path for path, text in files.items()
             if path.endswith(".proto") and re.search(r"^service ", text, re.MULTILINE)]
    return units + stubs
