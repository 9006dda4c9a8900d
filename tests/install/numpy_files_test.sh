#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/numpy_files_test.sh TALWEG ADDRESS
#
# Runs numpy_files_test.py with a Python that has NumPy.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$(bash "$here/../golden/torch_python.sh")
exec "$python" -B "$here/numpy_files_test.py" "$@"
