# SPDX-License-Identifier: Apache-2.0
"""The peer of the benchmark "es_update_table": the sum over pairs by a table of noise, in NumPy.

    noise_table.py PAIRS ELEMENTS TABLE_ELEMENTS

Each pair is a random slice of one table of normals. The weighted sum is that of OpenAI's
evolution-strategies-starter (batched_weighted_sum in es_distributed/es.py): slices are gathered in
batches, and a batch becomes one array and one product. NumPy's BLAS uses the threads that it likes.

Prints its name when ready; then for each line on standard input, a size of batches, makes one sum
and prints its seconds.
"""
import sys
import time

import numpy as np


def groups(items, size):
    group = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def batched_weighted_sum(weights, vectors, size):
    total = 0.0
    for some_weights, some_vectors in zip(groups(weights, size), groups(vectors, size)):
        total += np.dot(np.asarray(some_weights, dtype=np.float32),
                        np.asarray(some_vectors, dtype=np.float32))
    return total


def main():
    pairs, elements, table_elements = map(int, sys.argv[1:])
    generator = np.random.default_rng(1)
    table = generator.standard_normal(table_elements, dtype=np.float32)
    weights = generator.standard_normal(pairs).astype(np.float32)
    print(f"numpy_table_{np.__version__}", flush=True)
    for line in sys.stdin:
        size = int(line)
        begins = generator.integers(0, table_elements - elements + 1, pairs)
        start = time.perf_counter()
        batched_weighted_sum(weights, (table[i:i + elements] for i in begins), size)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
