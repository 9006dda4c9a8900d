#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails unless the scripts still make the golden files that are checked in.
set -euo pipefail
cd "$(dirname "$0")"
python=$(./torch_python.sh)
"$python" -B make_golden.py --check
"$python" -B make_extremes.py --check
"$python" -B make_statistics.py --check
"$python" -B make_kfac.py --check
"$python" -B ../../proto/vectors/make_state_digest.py --check
"$python" -B ../../proto/vectors/make_noise.py --check
exec "$python" -B make_session_golden.py --check
