# SPDX-License-Identifier: Apache-2.0
"""The noise of proto/NOISE.md in NumPy: perturbations, estimates and weights, bit for bit.

    noise = Noise(shapes=[(784, 512), (512,)], seed=7, sigma=0.01)
    loss_plus = loss(noise.perturb(w, generation, pair, +1))
    loss_minus = loss(noise.perturb(w, generation, pair, -1))
    ...
    weights, factor = weigh([(loss_plus, loss_minus), ...], sigma=0.01)
    g = noise.estimate(generation, dict(zip(pairs, weights)), factor)

All arrays of numbers, perturbations and parameters are float32. Every operation on them is one
float32 operation of NumPy, rounded to nearest even: NumPy fuses nothing. Bad arguments raise
ValueError.
"""
import dataclasses
import itertools
import math
import operator

import numpy as np

F = np.float32
DENSE_NORMAL, INITIAL_VALUES, LOW_RANK_NORMAL = 0, 1, 2
DENSE_RADEMACHER, LOW_RANK_RADEMACHER, DATA_SEED = 3, 4, 5
RADEMACHER = (DENSE_RADEMACHER, LOW_RANK_RADEMACHER)

# The coefficients, float32, highest power first.
_LOG = np.array([7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1,
                 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1,
                 3.3333331174e-1], F)
_LOG2 = np.array([0.693359375, 2.12194440e-4], F)  # their sum is log 2
_SINE = np.array([-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1], F)
_COSINE = np.array([2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5, 1], F)
_ANGLE = np.array([float.fromhex("0x1.921fb6p-32")], F)  # (pi / 2) 2^-32

_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_TILE = 1 << 15  # blocks that are made at a time, so that they stay in the cache
_RUN = 64  # pairs that are summed in float32 before float64 takes over


def philox(counter, key):
    """Philox4x32-10: four arrays (or numbers) of 32-bit words, two such numbers -> uint32 [4, n]."""
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.atleast_1d(np.asarray(c, np.uint64))
                                           for c in counter))
    k0, k1 = (np.uint64(k) for k in key)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = p1 >> _HALF ^ c1 ^ k0, p1 & _LOW
        c2, c3 = p0 >> _HALF ^ c3 ^ k1, p0 & _LOW
        k0, k1 = k0 + np.uint64(0x9E3779B9) & _LOW, k1 + np.uint64(0xBB67AE85) & _LOW
    return np.stack([c0, c1, c2, c3]).astype(np.uint32)


def _polynomial(x, coefficients):
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _log_of_share(k):
    """log(k / 2^31) of float32 [n], whole numbers from 1 to 2^31."""
    bits = k.view(np.uint32) + np.uint32(0x3F800000 - 0x3F3504F3)
    mantissa = ((bits & np.uint32(0x7FFFFF)) + np.uint32(0x3F3504F3)).view(F)
    e = ((bits >> np.uint32(23)).astype(np.int32) - np.int32(158)).astype(F)
    f = mantissa - F(1)
    square = f * f
    rest = _polynomial(f, _LOG) * f * square
    rest = rest - e * _LOG2[1]
    rest = rest - F(0.5) * square
    return (f + rest) + e * _LOG2[0]


def _box_muller(a, b):
    """uint32 [n], uint32 [n] -> the two normals of each pair of words, float32 [n] twice."""
    k = (a >> np.uint32(1) | np.uint32(1)).astype(np.int32).astype(F)
    radius = np.sqrt(F(-2) * _log_of_share(k))
    y = (b << np.uint32(2) | np.uint32(2)).view(np.int32).astype(F)
    y = y * _ANGLE[0]
    square = y * y
    sine = _polynomial(square, _SINE) * square * y + y
    cosine = _polynomial(square, _COSINE)
    quarters = b + np.uint32(1 << 29) >> np.uint32(30)
    odd = (quarters & np.uint32(1)).astype(bool)
    turned = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    signs = quarters + np.uint32(1) & np.uint32(2), quarters & np.uint32(2)
    return tuple(radius * np.where(sign.astype(bool), -value, value)
                 for value, sign in zip(turned, signs))


def normals(words):
    """uint32 [4, n] -> float32 [n, 4], the four normals of each column of words."""
    return np.stack([*_box_muller(words[0], words[1]), *_box_muller(words[2], words[3])], axis=1)


def signs(words):
    """uint32 [4, n] -> float32 [n, 128], +1 for a bit that is 0, lowest bit of word 0 first."""
    bits = words.T[:, :, np.newaxis] >> np.arange(32, dtype=np.uint32) & np.uint32(1)
    return F(1) - F(2) * bits.reshape(-1, 128).astype(F)


def _number(value, bits, name):
    value = operator.index(value)
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{name} is {value}, and must be in [0, 2^{bits})")
    return value


def _words(seed, domain, pair, generation, begin, end):
    seed, pair = _number(seed, 64, "seed"), _number(pair, 32, "pair")
    block = np.arange(begin, end, dtype=np.uint64)
    return philox((block & _LOW, block >> _HALF | np.uint64(domain << 16), pair,
                   _number(generation, 32, "generation")), (seed & 0xFFFFFFFF, seed >> 32))


def numbers(seed, domain, pair, generation, begin, count):
    """Numbers begin to begin + count - 1 of a stream, float32 [count]."""
    make, per_block = (signs, 128) if domain in RADEMACHER else (normals, 4)
    begin, count = operator.index(begin), operator.index(count)
    if begin < 0 or count < 0 or begin + count > per_block << 48:
        raise ValueError(f"no stream has the numbers from {begin} to {begin + count}")
    if count == 0:
        return np.empty(0, F)
    first, last = begin // per_block, (begin + count - 1) // per_block + 1
    made = [make(_words(seed, domain, pair, generation, tile, min(tile + _TILE, last))).reshape(-1)
            for tile in range(first, last, _TILE)]
    return np.concatenate(made)[begin - first * per_block:][:count]


def data_seed(seed, generation):
    """What draws the data of a generation: a number below 2^53, the same for all of its pairs."""
    words = _words(seed, DATA_SEED, 0, generation, 0, 1)
    return (int(words[1, 0]) << 32 | int(words[0, 0])) >> 11


@dataclasses.dataclass(frozen=True)
class Noise:
    """The perturbations of one session: its layout, and what the lease says.

    shapes: of all tensors, in layout order; () is a scalar. seed: below 2^64. sigma: rounded to
    float32. rank: 0 for DENSE, r >= 1 for LOW_RANK(r). rademacher: +1 and -1 instead of normals.
    """
    shapes: tuple
    seed: int
    sigma: float
    rank: int = 0
    rademacher: bool = False

    def __post_init__(self):
        object.__setattr__(self, "shapes", tuple(tuple(map(int, s)) for s in self.shapes))
        object.__setattr__(self, "sigma", F(self.sigma))
        if self.rank < 0 or any(size < 1 for shape in self.shapes for size in shape):
            raise ValueError(f"rank {self.rank}, shapes {self.shapes}: a rank must be at least 0, "
                             "and a size at least 1")

    @property
    def num_elements(self):
        return sum(map(math.prod, self.shapes))

    @property
    def matrix_sigma(self):
        """What a matrix is scaled with: sigma / sqrt(rank), float32."""
        return F(np.float64(self.sigma) / np.sqrt(np.float64(max(self.rank, 1))))

    def _is_matrix(self, shape):
        return self.rank > 0 and len(shape) >= 2

    def _tensors(self):
        """Each tensor's first element of the flat vector, and its shape; one tensor if DENSE."""
        shapes = self.shapes if self.rank else [(self.num_elements,)]
        return zip(itertools.accumulate(map(math.prod, shapes), initial=0), shapes)

    def _terms(self, generation, pair):
        """Yields (slice of the flat vector, A, B) with A = [r, rows], B = [r, cols] float32.

        Where numbers are taken one per element, they stand in A, flat, and B is None.
        """
        low_rank = LOW_RANK_RADEMACHER if self.rademacher else LOW_RANK_NORMAL
        dense = DENSE_RADEMACHER if self.rademacher else DENSE_NORMAL
        domain = low_rank if self.rank else dense
        taken = 0

        def take(count):
            nonlocal taken
            taken += count
            return numbers(self.seed, domain, pair, generation, taken - count, count)

        for begin, shape in self._tensors():
            part = slice(begin, begin + math.prod(shape))
            if self._is_matrix(shape):
                a = take(self.rank * shape[0]).reshape(self.rank, -1)
                yield part, a, take(self.rank * math.prod(shape[1:])).reshape(self.rank, -1)
            else:
                yield part, take(part.stop - part.start), None

    def displacement(self, generation, pair):
        """dW, float32 [num_elements]."""
        moved = np.zeros(self.num_elements, F)
        for part, a, b in self._terms(generation, pair):
            if b is None:
                moved[part] = self.sigma * a
            else:
                _add_products(moved[part], self.matrix_sigma, a, b)
        return moved

    def perturb(self, w, generation, pair, sign):
        """The point plus (sign > 0) or minus (sign < 0): `w` is float32 [num_elements]."""
        w = np.asarray(w)
        if w.dtype != F or w.shape != (self.num_elements,):
            raise ValueError(f"parameters are {w.dtype} {w.shape}, "
                             f"expected float32 ({self.num_elements},)")
        moved = self.displacement(generation, pair)
        return w + moved if sign > 0 else w - moved

    def estimate(self, generation, weights, factor):
        """g, float32 [num_elements]: the sum over the counted pairs, times the factor.

        weights: {pair: weight}, of the counted pairs only; weights are rounded to float32. Matrices
        of low rank take factor / sqrt(rank).
        """
        total = np.zeros(self.num_elements, np.float64)
        for _, run in itertools.groupby(sorted(weights), lambda pair: pair // _RUN):
            s = np.zeros(self.num_elements, F)
            for pair in run:
                w = F(weights[pair])
                for part, a, b in self._terms(generation, pair):
                    if b is None:
                        s[part] += w * a
                    else:
                        _add_products(s[part], w, a, b)
            total += s
        factors = np.full(self.num_elements, factor, np.float64)
        for begin, shape in self._tensors():
            if self._is_matrix(shape):
                factors[begin:begin + math.prod(shape)] = factor / math.sqrt(self.rank)
        return (total * factors).astype(F)


def _add_products(to, scale, a, b):
    """Adds (scale * a[k])[i] * b[k][j] to element [i, j] of `to`, for k = 0 .. r - 1 in turn."""
    to = to.reshape(a.shape[1], b.shape[1])
    for row, column in zip(a, b):
        to += (scale * row)[:, np.newaxis] * column


def _sum(values):
    """From 0, in order. Not sum(), which compensates since Python 3.12; not np.sum: in pairs."""
    total = 0.0
    for value in values:
        total += value
    return total


def weigh(losses, sigma, *, difference="CENTRAL", scale="GRADIENT", shaping="NONE",
          baseline="NONE", evaluated=None, maximize=False):
    """Losses of the counted pairs, in the order of the pairs -> (weights float32 [n], factor).

    losses: float64 [n, 2] (L+, L-) if CENTRAL; [n] if ONE_SIDED; [n] derivatives if DIRECTIONAL.
    scale: TUTORIAL or GRADIENT. shaping: NONE, CENTERED_RANKS or Z_SCORE (not if DIRECTIONAL).
    baseline, of ONE_SIDED without shaping: NONE, MEAN, or EVALUATED, the loss `evaluated`.
    """
    sigma = float(F(sigma))
    sign = -1.0 if maximize else 1.0
    losses = np.asarray(losses, np.float64) * sign
    n = len(losses)
    if n == 0 or losses.shape[1:] != ((2,) if difference == "CENTRAL" else ()):
        raise ValueError(f"losses of shape {losses.shape} do not fit {difference}")

    if (difference, scale) == ("DIRECTIONAL", "TUTORIAL"):
        factor = sigma * sigma / n
    elif (difference, scale) == ("DIRECTIONAL", "GRADIENT"):
        factor = 1.0 / n
    elif scale == "TUTORIAL":
        factor = sigma / n
    elif scale == "GRADIENT":
        factor = 1.0 / (n * sigma)
    else:
        raise ValueError(f"unknown scale {scale}")

    flat = losses.reshape(-1)
    count = len(flat)
    if difference == "DIRECTIONAL":
        if shaping != "NONE":
            raise ValueError("derivatives are not shaped")
        return losses.astype(F), factor
    if shaping == "CENTERED_RANKS":
        ordered = np.sort(flat)
        # Smaller losses twice, equal ones once without the loss itself.
        ranks = (np.searchsorted(ordered, flat, "left") + np.searchsorted(ordered, flat, "right")
                 - 1).reshape(losses.shape)
        if difference == "CENTRAL":
            return (ranks[:, 0] - ranks[:, 1]).astype(F), factor / (4.0 * (count - 1))
        if count == 1:
            return np.zeros(1, F), 0.0
        return (ranks - (count - 1)).astype(F), factor / (2.0 * (count - 1))
    mean = _sum(flat) / count
    if shaping == "Z_SCORE":
        variance = _sum((flat - mean) ** 2) / count
        # The mean is rounded, so that equal losses may have a variance above 0. That of others is 0 if
        # their squares are too small for float64.
        same = variance == 0 or (flat == flat[0]).all()
        factor = 0.0 if same else factor / math.sqrt(variance)
    elif shaping != "NONE":
        raise ValueError(f"unknown shaping {shaping}")
    if difference == "CENTRAL":
        return ((losses[:, 0] - losses[:, 1]) / 2).astype(F), factor
    if shaping == "NONE":
        mean = {"NONE": 0.0, "MEAN": mean,
                "EVALUATED": None if evaluated is None else sign * evaluated}[baseline]
    return (losses - mean).astype(F), factor


def better_pair(losses, evaluated, *, maximize=False):
    """Random search: losses float64 [n] of the counted pairs, and the loss of the unmoved point.

    Returns the position of the first of the best pairs if it is better: g is then minus its
    displacement. Otherwise returns None: g is 0.
    """
    losses = np.asarray(losses, np.float64) * (-1.0 if maximize else 1.0)
    best = int(np.argmin(losses))
    return best if losses[best] < (-evaluated if maximize else evaluated) else None
