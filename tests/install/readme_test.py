# SPDX-License-Identifier: Apache-2.0
"""The READMEs tell the truth: their examples are the checked-in ones, their commands exist."""

import subprocess
import unittest

import readme

ROOT = readme.ROOT


class ReadmeTest(unittest.TestCase):
    def test_examples_are_those_of_the_client(self):
        for page, name in [("README.md", "worker.cc"), ("client/README.md", "search_worker.cc")]:
            with self.subTest(page=page):
                self.assertEqual(readme.example_source(name),
                                 readme.example((ROOT / page).read_text()))

    def test_commands_are_scripts_that_parse(self):
        for page, at_least in [("README.md", ["deploy/demo.sh", "tests/run.sh"]),
                               ("CONTRIBUTING.md", [".ci/run", "tests/lint.sh", "tests/run.sh"])]:
            scripts = readme.scripts((ROOT / page).read_text())
            self.assertLessEqual(set(at_least), set(scripts))
            for script in scripts:
                with self.subTest(page=page, script=script):
                    check = subprocess.run(["bash", "-n", ROOT / script], capture_output=True)
                    self.assertEqual((0, b""), (check.returncode, check.stderr))

    def test_readers_read(self):
        self.assertEqual("int x;\n", readme.example("<!-- example -->\n```cpp\nint x;\n```\n"))
        self.assertEqual("a()\n", readme.cmake_lines("```cpp\nb\n```\n```cmake\na()\n```\n"))
        self.assertEqual([".ci/run", "tests/run.sh"],
                         readme.scripts("run `bash .ci/run` or\nbash tests/run.sh   # all\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
