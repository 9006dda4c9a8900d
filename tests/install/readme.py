# SPDX-License-Identifier: Apache-2.0
"""Reads the root README: `python3 readme.py FILE` writes its example, the block after
`<!-- example -->`, to FILE."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def example(readme):
    """The C++ block that follows the marker."""
    return re.search(r"<!-- example -->\s*```cpp\n(.*?)```", readme, re.DOTALL)[1]


def example_source():
    """What stands between the markers of the client's example."""
    return (ROOT / "client/cpp/example/worker.cc").read_text().split("// [readme]\n")[1]


def scripts(page):
    """Scripts that a page tells its reader to run with bash."""
    return sorted(set(re.findall(r"\bbash ((?:\.ci|deploy|tests|client)/\S*?)(?=[\s`#]|$)", page)))


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(example((ROOT / "README.md").read_text()))
