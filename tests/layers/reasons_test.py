# SPDX-License-Identifier: Apache-2.0
"""proto/README.md lists the rows of core/base/reasons.cc: the same reasons, codes and meanings."""

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


def rows_of_readme(text):
    """[(name, code, meaning)] of the table under the header `| reason | code | meaning |`."""
    lines = text[text.index("| reason | code | meaning |"):].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        name, code, meaning = [cell.strip() for cell in line.strip("|").split("|")]
        rows.append((name.strip("`"), code, meaning))
    return rows


class ReasonsTest(unittest.TestCase):
    def test_readme_lists_every_reason(self):
        code = (ROOT / "core/base/reasons.cc").read_text()
        rows = rows_of_code(code)
        self.assertEqual(code.count("{Reason::k"), len(rows))  # every row was understood
        self.assertEqual(rows, rows_of_readme((ROOT / "proto/README.md").read_text()))

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
