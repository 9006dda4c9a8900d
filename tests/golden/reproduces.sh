#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails unless make_golden.py still makes the golden files that are checked in.
set -euo pipefail
cd "$(dirname "$0")"
python=$(./torch_python.sh)
exec "$python" -B make_golden.py --check
