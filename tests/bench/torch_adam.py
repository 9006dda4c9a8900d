# SPDX-License-Identifier: Apache-2.0
"""The peer of adam_bench: torch.optim.Adam(foreach=True), driven over a pipe.

    torch_adam.py NUM_TENSORS ELEMENTS_EACH THREADS

Prints its version when ready; then for each line on standard input, a number of steps, takes those
steps and prints the seconds of one. Needs an interpreter that has torch.
"""

import sys
import time

import torch


def main():
    num_tensors, elements, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    parameters = [torch.nn.Parameter(torch.randn(elements)) for _ in range(num_tensors)]
    for parameter in parameters:
        parameter.grad = torch.randn(elements)
    optimizer = torch.optim.Adam(parameters, foreach=True)
    optimizer.step()  # makes its state
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        steps = int(line)
        start = time.perf_counter()
        for _ in range(steps):
            optimizer.step()
        print((time.perf_counter() - start) / steps, flush=True)


if __name__ == "__main__":
    main()
