# SPDX-License-Identifier: Apache-2.0
"""Every relative link in a Markdown file leads somewhere, and every room has its README."""

import pathlib
import re
import unittest

import arrows

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("client", "core", "deploy", "proto", "server", "tests")


def pages():
    found = list(ROOT.glob("*.md"))
    for folder in FOLDERS:
        found += (ROOT / folder).rglob("*.md")
    return found


def broken_links(page, text):
    """Links of `text`, as written at `page`, that lead nowhere."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        target = link.split("#")[0]
        if target and not re.match(r"[a-z]+:", link) and not (page.parent / target).exists():
            broken.append(f"{page.relative_to(ROOT)}: {link}")
    return broken


class LinksTest(unittest.TestCase):
    def test_lead_somewhere(self):
        self.assertIn(ROOT / "README.md", pages())
        self.assertEqual([], [b for page in pages() for b in broken_links(page, page.read_text())])

    def test_broken_link_is_found(self):
        page = ROOT / "README.md"
        self.assertEqual([], broken_links(page, "[a](proto/README.md#limits) [b](https://x.org)"))
        self.assertEqual(["README.md: nowhere.md"], broken_links(page, "[a](nowhere.md)"))


class RoomsTest(unittest.TestCase):
    def test_have_a_readme(self):
        rooms = [room for room in arrows.ARROWS if (ROOT / room).is_dir()]
        self.assertIn("core/base", rooms)
        self.assertIn("client/cpp/example", rooms)
        self.assertEqual([], [room for room in rooms if not (ROOT / room / "README.md").exists()])


if __name__ == "__main__":
    unittest.main(verbosity=2)
