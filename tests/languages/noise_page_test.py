# SPDX-License-Identifier: Apache-2.0
"""noise_page_test.py PAGE VECTORS: the formulas of proto/NOISE.md, run as they stand, give the vectors.

A line of the page is Python except for hexadecimal floats, `<-`, and a remark behind three spaces.
Float32 arrays keep float32 whatever small number of Python they meet.
"""
import json
import pathlib
import re
import sys

import numpy as np

MASK = 0xFFFFFFFF
MATHEMATICS = {
    "fl": lambda whole: whole.astype(np.float32), "sqrt": np.sqrt,
    "signed": lambda bits: (bits & MASK).astype(np.uint32).view(np.int32),
    "bits_of": lambda x: x.view(np.uint32).astype(np.int64),
    "float_of": lambda bits: bits.astype(np.uint32).view(np.float32),
    "high": lambda product: product >> 32, "low": lambda product: product & MASK,
    "hexadecimal": lambda digits: np.float32(float.fromhex(digits)),
}


def formulas(section):
    """The statements of each block of formulas, as Python."""
    for block in re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        lines = []
        for line in block.splitlines():
            found = re.match(r"\s*([\w, ]+?)\s*(?:=|<-)\s+(\S.*?)(?:   .*)?$", line)
            if found:
                right = re.sub(r"0x1\.?[0-9a-f]*p-?\d+", r'hexadecimal("\g<0>")', found[2])
                lines.append(f"{found[1]} = {right}")
        yield lines


def run(lines, **names):
    names.update(MATHEMATICS)
    for line in lines:
        exec(line, names)
    return names


def philox(lines, counter, key):
    *rounds, constants = lines  # the last line is `M0 = …, M1 = …; …`
    words = dict(zip(("c0", "c1", "c2", "c3", "k0", "k1"), [*counter, *key]))
    words.update((name, int(digits, 16)) for name, digits in re.findall(
        r"(M\d) = (0x[0-9A-F]+)", constants))
    for _ in range(10):
        words = {name: words[name] & MASK for name in ("c0", "c1", "c2", "c3", "k0", "k1", "M0", "M1")}
        words = run(rounds, **words)
    return [words[name] & MASK for name in ("c0", "c1", "c2", "c3")]


def box_muller(section, a, b):
    outer, logarithm, angle = formulas(section)
    names = run(outer, a=a, b=b, log_share=lambda k: run(logarithm, k=k)["log_share"])
    names = run(angle, **names)
    turned = np.empty((2, len(a)), np.float32)
    for quarter, first, second in re.findall(r"^\| (\d) \| (.*) \| (.*) \|$", section, re.MULTILINE):
        here = names["turns"] % 4 == int(quarter)
        for row, formula in enumerate((first, second)):
            turned[row, here] = eval(formula, dict(names))[here]
    return turned


def main():
    page = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    vectors = json.loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])

    def words(text):
        return [int(text[i:i + 8], 16) for i in range(0, len(text), 8)]
    (lines,) = formulas(sections["Words: Philox4x32-10"])
    for row in vectors["philox"]:
        got = philox(lines, words(row["counter"]), words(row["key"]))
        assert got == words(row["words"]), (got, row)

    given = np.array([words(row[0]) for row in vectors["normals"]])
    wanted = np.array([words(row[1]) for row in vectors["normals"]])
    for first in (0, 2):
        got = box_muller(sections["Normals"], given[:, first], given[:, first + 1])
        assert got.dtype == np.float32
        wrong = np.flatnonzero((got.view(np.uint32) != wanted[:, first:first + 2].T).any(axis=0))
        assert wrong.size == 0, [vectors["normals"][i] for i in wrong[:3]]
    print(f"page: {wanted.size} normals have the published bits")


main()
