# SPDX-License-Identifier: Apache-2.0
"""Reads the READMEs: `python3 readme.py FOLDER` writes the root's example, the block after
`<!-- example -->`, to worker.cc and the CMake lines below it to CMakeLists.txt, as a project."""

import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What every project opens with.
PREAMBLE = "cmake_minimum_required(VERSION 3.25)\nproject(worker)\n"


def example(readme):
    """The C++ block that follows the marker."""
    return re.search(r"<!-- example -->\s*```cpp\n(.*?)```", readme, re.DOTALL)[1]


def cmake_lines(readme):
    """The page's one CMake block."""
    (block,) = re.findall(r"```cmake\n(.*?)```", readme, re.DOTALL)
    return block


def example_source(name):
    """What stands between the markers of an example, from the left margin."""
    text = (ROOT / "client/cpp/example" / name).read_text()
    return textwrap.dedent(re.split(r" *// \[readme\]\n", text)[1])


def scripts(page):
    """Scripts that a page tells its reader to run with bash."""
    return sorted(set(re.findall(r"\bbash ((?:\.ci|deploy|tests|client)/\S*?)(?=[\s`#]|$)", page)))


if __name__ == "__main__":
    page = (ROOT / "README.md").read_text()
    folder = pathlib.Path(sys.argv[1])
    (folder / "worker.cc").write_text(example(page))
    (folder / "CMakeLists.txt").write_text(PREAMBLE + cmake_lines(page))
