# SPDX-License-Identifier: Apache-2.0
"""proto/README.md lists the rows of core/base/reasons.cc: the same reasons, codes and meanings.

proto/CLIENTS.md says of each of them what to do, and which metadata the code sends with it.
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def rows_of_code(text):
    """[(name, code, meaning)] of the table kRows."""
    table = text[text.index("kRows[]"):]
    table = table[:table.index("};")]
    rows = []
    for name, code, literals in re.findall(
            r'\{Reason::k\w+,\s*"(\w+)",\s*Code::k(\w+),\s*((?:"[^"]*"\s*)+)\}', table):
        upper = re.sub(r"(?<!^)(?=[A-Z])", "_", code).upper()
        rows.append((name, upper, "".join(re.findall(r'"([^"]*)"', literals))))
    return rows


def rows_of_page(text, header):
    """[(name, second cell, third cell)] of the table under the line `header`."""
    lines = text[text.index(header):].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        name, second, third = [cell.strip() for cell in line.strip("|").split("|")]
        rows.append((name.strip("`"), second, third))
    return rows


def rows_of_readme(text):
    return rows_of_page(text, "| reason | code | meaning |")


def rows_of_clients(text):
    return rows_of_page(text, "| reason | what to do | metadata |")


def metadata_of_code(text):
    """{enumerator: {key}} of the calls of MakeError in `text`, such as {"kDraining": {"version"}}."""
    keys = {}
    text = text.replace("'\"'", "0")  # the one literal that looks like the begin of a string
    text = re.sub(r'"(?:[^"\\\n]|\\.)*"', lambda found: re.sub("[()]", "", found.group()), text)
    for call in re.finditer(r"\bMakeError\(", text):
        depth, end = 1, call.end()
        while depth > 0:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        arguments = text[call.end():end]
        reason = re.search(r"Reason::(k\w+)", arguments)
        found = re.findall(r'\{"(\w+)",', arguments)
        if found:
            keys.setdefault(reason.group(1), set()).update(found)
    return keys


def production_code():
    for room in ("core", "server"):
        for path in sorted((ROOT / room).rglob("*.cc")):
            if not path.name.endswith("_test.cc"):
                yield path, path.read_text()


class ReasonsTest(unittest.TestCase):
    def test_readme_lists_every_reason(self):
        code = (ROOT / "core/base/reasons.cc").read_text()
        rows = rows_of_code(code)
        self.assertEqual(code.count("{Reason::k"), len(rows))  # every row was understood
        self.assertEqual(rows, rows_of_readme((ROOT / "proto/README.md").read_text()))

    def test_clients_page_says_what_to_do_about_every_reason(self):
        names = [name for name, _, _ in rows_of_code((ROOT / "core/base/reasons.cc").read_text())]
        rows = rows_of_clients((ROOT / "proto/CLIENTS.md").read_text())
        self.assertEqual(names, [name for name, _, _ in rows])
        for name, what, _ in rows:
            self.assertRegex(what, r"\b(resend|pull|join|mend|stop)\b", name)

    def test_clients_page_names_the_metadata_that_the_code_sends(self):
        enumerators = dict(re.findall(r'\{Reason::(k\w+),\s*"(\w+)"',
                                      (ROOT / "core/base/reasons.cc").read_text()))
        sent = {}
        for path, text in production_code():
            for enumerator, keys in metadata_of_code(text).items():
                sent.setdefault(enumerators[enumerator], set()).update(keys)
            # Metadata that a call of MakeError gets by a name would not be seen here.
            if path.name not in ("reasons.cc", "status_to_grpc.cc"):
                self.assertNotIn("ErrorMetadata", text, path)
        said = {name: set(re.findall(r"`(\w+)`", keys)) for name, _, keys
                in rows_of_clients((ROOT / "proto/CLIENTS.md").read_text()) if "`" in keys}
        self.assertEqual(sent, said)
        self.assertGreater(len(sent), 2)

    def test_readers_read(self):
        code = """constexpr ReasonRow kRows[] = {
            {Reason::kDraining, "DRAINING", Code::kUnavailable, "It is "
             "stopping."},
        };"""
        table = ("| reason | code | meaning |\n|---|---|---|\n"
                 "| `DRAINING` | UNAVAILABLE | It is stopping. |\n\nMore.\n")
        self.assertEqual([("DRAINING", "UNAVAILABLE", "It is stopping.")], rows_of_code(code))
        self.assertEqual(rows_of_code(code), rows_of_readme(table))
        self.assertNotEqual(rows_of_code(code), rows_of_readme(table.replace("It", "She")))
        call = 'x = MakeError(Reason::kDraining, StrCat("a (", 1), "", {{"version", Text(2)}});'
        self.assertEqual({"kDraining": {"version"}}, metadata_of_code(call))
        self.assertEqual({}, metadata_of_code('MakeError(Reason::kDraining, "a")'))


if __name__ == "__main__":
    unittest.main(verbosity=2)
