# SPDX-License-Identifier: Apache-2.0
"""The peer of the benchmark "spd_inverse": torch.cholesky_inverse on all cores, driven over a pipe.

    torch_inverse.py N COUNT

Prints its name when ready; then for each line on standard input, inverts COUNT positive definite
matrices of N rows by their Cholesky factors, one after the other, and prints the seconds of all.
Exits with 1 without torch.
"""
import sys
import time


def main():
    try:
        import torch
    except ImportError:
        return 1
    n, count = int(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(1)
    x = torch.randn(count, n, 2 * n)
    matrices = [a @ a.T / (2 * n) + 0.1 * torch.eye(n) for a in x]

    def invert():
        for a in matrices:
            torch.cholesky_inverse(torch.linalg.cholesky(a))

    invert()
    print(f"torch_cholesky_inverse_{torch.__version__}", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        invert()
        print(time.perf_counter() - start, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
