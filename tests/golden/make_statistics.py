#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes statistics.json beside this script; --check compares instead.

The Kronecker factors A and S of layers whose inputs and derivatives are known, in float64, by the
definitions of core/curvature/kronecker_layer.h: EXPAND is KFC (Grosse, Martens 2016,
arXiv:1602.01407), REDUCE is K-FAC-reduce (Eschenhagen et al. 2023, arXiv:2311.00636).
statistics_golden_test.cc sends the same rows, and compares the triangles that come out.

A case has a seed, a number of samples, whether the derivatives are those of the mean loss, and its
layers. The numbers of a layer come from the Generator of make_golden.py, as `rows` below says: the
inputs, then the derivatives with a `shift` of 2. A layer with a `convolution` has images instead of
inputs, [samples, channels, height, width]; its A is made from their pixels, without any patches, and
torch confirms in which order a patch has them. A layer with `"triangles": true` is sent as its two
triangles. `factors` has the upper triangles of A and S of each layer, row by row.
"""

import json
import math
import sys

from make_golden import HERE, Generator, np, torch, write_cases

DIGITS = 12


def rows(generator, count, width, rank=None, shift=0):
    """[count, width] float32: (x + 1/4) 2^-(c mod 3) 2^-shift in column c, in which x is the next
    number of the generator. There are `rank` such numbers in a row, which repeat, so that the columns
    span no more than `rank` dimensions; None: as many as columns."""
    rank = min(rank or width, width)
    made = np.empty((count, width), np.float32)
    for row in made:
        x = [generator.next() + 0.25 for _ in range(rank)]
        for column in range(width):
            row[column] = math.ldexp(x[column % rank], -(column % 3) - shift)
    return made


def input_factor(a, samples, sharing, bias):
    """A from a, [samples * places, inputs]."""
    a = a.astype(np.float64).reshape(samples, -1, a.shape[1])
    if bias:
        a = np.concatenate([a, np.ones((*a.shape[:2], 1))], axis=2)
    if sharing == "REDUCE":
        return sum(np.outer(x, x) for x in a.mean(axis=1)) / samples
    return np.einsum("nti,ntj->ij", a, a) / samples


def derivative_factor(g, samples, sharing, of_mean_loss):
    """S from g, [samples * places, outputs]."""
    g = g.astype(np.float64).reshape(samples, -1, g.shape[1])
    if of_mean_loss:  # l = sum of l_n / N, so that the derivative of l_n is N times as large
        g = g * samples
    if sharing == "REDUCE":
        return sum(np.outer(x, x) for x in g.sum(axis=1)) / samples
    return np.einsum("nti,ntj->ij", g, g) / (samples * g.shape[1])


def sizes_of(convolution):
    """Height and width of the output."""
    _, height, width = convolution["image"]
    stride, padding = convolution["stride"], convolution["padding"]
    return tuple((size + 2 * padding - kernel) // stride + 1
                 for size, kernel in zip((height, width), convolution["kernel"]))


def omega(images, convolution, bias):
    """A of a convolution, pixel by pixel: an element for each two weights [channel, i, j]."""
    (rows_, columns), stride = sizes_of(convolution), convolution["stride"]
    pad = convolution["padding"]
    samples, channels = len(images), images.shape[1]
    padded = np.pad(images.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    kernel = convolution["kernel"]
    weights = [(c, i, j) for c in range(channels) for i in range(kernel[0])
               for j in range(kernel[1])]

    def seen(c, i, j):
        """What one weight is multiplied with, at each place of each sample."""
        return np.array([padded[n, c, stride * y + i, stride * x + j]
                         for n in range(samples) for y in range(rows_) for x in range(columns)])

    values = [seen(*weight) for weight in weights]
    if bias:
        values.append(np.ones_like(values[0]))
    made = np.array([[u @ v / samples for v in values] for u in values])
    unfolded = torch.nn.functional.unfold(torch.from_numpy(images), tuple(kernel), padding=pad,
                                          stride=stride).numpy()  # [samples, weights, places]
    assert np.array_equal(unfolded.transpose(1, 0, 2).reshape(len(weights), -1),
                          np.array(values[:len(weights)]))
    return made


def layer(inputs, outputs, bias=False, sharing="NONE", places=1, **more):
    return {"inputs": inputs, "outputs": outputs, "bias": bias, "sharing": sharing,
            "places": places, **more}


def convolution(image, kernel, outputs, bias, stride, padding):
    made = {"image": image, "kernel": kernel, "stride": stride, "padding": padding}
    return layer(image[0] * kernel[0] * kernel[1], outputs, bias, "EXPAND",
                 math.prod(sizes_of(made)), convolution=made)


def cases():
    shared = [layer(5, 3, bias, sharing, places) for bias in (False, True)
              for sharing, places in (("NONE", 1), ("EXPAND", 4), ("REDUCE", 4), ("EXPAND", 1),
                                      ("REDUCE", 1))]
    convolutions = [convolution([2, 5, 4], [3, 2], 3, True, 1, 1),
                    convolution([3, 7, 5], [2, 3], 5, False, 2, 0)]
    mixed = [layer(9, 7, True), layer(3, 4, True, "REDUCE", 5, triangles=True),
             layer(6, 1, False, "EXPAND", 2), layer(1, 5, False, triangles=True)]
    for of_mean_loss in False, True:
        for samples, layers in (7, shared), (3, convolutions), (4, mixed), (1, mixed):
            yield {"samples": samples, "of_mean_loss": of_mean_loss, "layers": layers}


def triangle(matrix):
    return [float(f"{x:.{DIGITS}g}") for x in matrix[np.triu_indices(len(matrix))]]


def factors_of(case):
    generator, samples = Generator(case["seed"]), case["samples"]
    for one in case["layers"]:
        shape = one.get("convolution")
        if shape:
            images = rows(generator, samples, math.prod(shape["image"]))
            yield triangle(omega(images.reshape(samples, *shape["image"]), shape, one["bias"]))
        else:
            a = rows(generator, samples * one["places"], one["inputs"])
            yield triangle(input_factor(a, samples, one["sharing"], one["bias"]))
        g = rows(generator, samples * one["places"], one["outputs"], shift=2)
        yield triangle(derivative_factor(g, samples, one["sharing"], case["of_mean_loss"]))


def statistics():
    made = []
    for seed, case in enumerate(cases(), 1):
        case = {"seed": seed, **case}
        case["factors"] = list(factors_of(case))
        made.append(case)
    return {"script": "tests/golden/make_statistics.py", "numpy_version": np.__version__,
            "torch_version": torch.__version__, "cases": made}


def differs(old, new):
    if {**old, "factors": 0} != {**new, "factors": 0}:
        return True
    a, b = old["factors"], new["factors"]
    return [len(x) for x in a] != [len(x) for x in b] or any(
        not np.allclose(x, y, rtol=1e-10, atol=1e-10) for x, y in zip(a, b))


def compare(name, made):
    """Whether the file `name` has other cases than `made`; says which."""
    written = json.loads((HERE / name).read_text())
    found = [f"{name}: case {number} differs"
             for number, pair in enumerate(zip(written["cases"], made["cases"]))
             if differs(*pair)]
    if len(written["cases"]) != len(made["cases"]):
        found.append(f"{name}: the number of cases differs")
    return found


def main():
    made = statistics()
    if "--check" in sys.argv[1:]:
        found = compare("statistics.json", made)
        print("\n".join(found) or "statistics: as made")
        return 1 if found else 0
    write_cases(HERE / "statistics.json", made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
