#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the first Python interpreter that has torch and numpy; fails, and says so, if none has.
for python in python3 /usr/bin/python3; do
  if "$python" -c 'import numpy, torch' 2>/dev/null; then
    echo "$python"
    exit 0
  fi
done
echo "torch_python: no python3 here has torch (Debian: python3-torch)" >&2
exit 1
