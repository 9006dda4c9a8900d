# SPDX-License-Identifier: Apache-2.0
"""The peer of the benchmark "noise": torch.randn on one thread, driven over a pipe.

    torch_randn.py ELEMENTS

Without torch it is NumPy's Philox generator. Prints its name when ready; then for each line on
standard input, a number of calls, makes those calls and prints the seconds of one. Each call fills
the same array, which suits the peer best: it stays in the cache.
"""
import sys
import time


def make_fill(elements):
    try:
        import torch
        torch.set_num_threads(1)
        array = torch.empty(elements)
        return f"torch_randn_{torch.__version__}", lambda: torch.randn(elements, out=array)
    except ImportError:
        import numpy as np
        generator = np.random.Generator(np.random.Philox(1))
        array = np.empty(elements, np.float32)
        return (f"numpy_philox_{np.__version__}",
                lambda: generator.standard_normal(out=array, dtype=np.float32))


def main():
    name, fill = make_fill(int(sys.argv[1]))
    fill()
    print(name, flush=True)
    for line in sys.stdin:
        calls = int(line)
        start = time.perf_counter()
        for _ in range(calls):
            fill()
        print((time.perf_counter() - start) / calls, flush=True)


if __name__ == "__main__":
    main()
