// SPDX-License-Identifier: Apache-2.0
//
// proto/NOISE.md in JavaScript, with the same bits as in every other language. No dependencies.
//
// JavaScript computes in float64. A sum, difference, product, quotient or square root of float32
// numbers that is computed in float64 and then rounded by Math.fround (or by a store into a
// Float32Array) is what float32 arithmetic gives: float64 has more than twice its digits. That
// holds for one operation at a time, so each one is rounded.
//
// Parameters, displacements and estimates are Float32Array [numElements], losses Float64Array or
// plain arrays. Seeds are numbers, decimal strings or BigInts. Bad arguments throw RangeError.

export const Domain = Object.freeze({
  DENSE_NORMAL: 0, INITIAL_VALUES: 1, LOW_RANK_NORMAL: 2, DENSE_RADEMACHER: 3,
  LOW_RANK_RADEMACHER: 4, DATA_SEED: 5,
});

const f = Math.fround;
const floats = new Float32Array(1);
const bitsOfFloats = new Uint32Array(floats.buffer);

// The upper half of the 64-bit product, in parts that float64 holds.
function multiplyHigh(a, b) {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + (Math.imul(a0, b0) >>> 16);
  return a1 * b1 + (middle >>> 16) + ((a0 * b1 + (middle & 0xffff)) >>> 16);
}

// Philox4x32-10: replaces the four words of `counter` (Uint32Array) under the key of two words.
export function philox(counter, key0, key1) {
  let [c0, c1, c2, c3] = counter;
  for (let round = 0; round < 10; ++round) {
    const high0 = multiplyHigh(0xd2511f53, c0), low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2), low1 = Math.imul(0xcd9e8d57, c2);
    c0 = (high1 ^ c1 ^ key0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ key1) >>> 0;
    c3 = low0 >>> 0;
    key0 = (key0 + 0x9e3779b9) >>> 0;
    key1 = (key1 + 0xbb67ae85) >>> 0;
  }
  counter[0] = c0;
  counter[1] = c1;
  counter[2] = c2;
  counter[3] = c3;
}

// Nine digits name a float32.
const LOG = Float32Array.of(0.0703768358, -0.115146101, 0.116769984, -0.12420141, 0.142493233,
    -0.166680574, 0.200007141, -0.24999994, 0.333333313);
const SINE = Float32Array.of(-0.000195152956, 0.00833216123, -0.166666552);
const COSINE = Float32Array.of(2.44331568e-05, -0.00138873165, 0.0416666456, -0.5, 1);
const LOG2_LOW = f(0.000212194442), LOG2_HIGH = 0.693359375;
const ANGLE = f(1.57079637) / 2 ** 32;

function polynomial(x, coefficients) {
  let value = coefficients[0];
  for (let i = 1; i < coefficients.length; ++i) value = f(f(value * x) + coefficients[i]);
  return value;
}

// log(k / 2^31) of a whole number k from 1 to 2^31 that float32 holds.
function logOfShare(k) {
  floats[0] = k;
  const bits = bitsOfFloats[0] + (0x3f800000 - 0x3f3504f3);
  bitsOfFloats[0] = (bits & 0x007fffff) + 0x3f3504f3;
  const x = f(floats[0] - 1), e = (bits >>> 23) - 158;
  const square = f(x * x);
  let rest = f(f(polynomial(x, LOG) * x) * square);
  rest = f(rest - f(e * LOG2_LOW));
  rest = f(rest - f(0.5 * square));
  return f(f(x + rest) + f(e * LOG2_HIGH));
}

// Puts the two normals of words a and b at `at`.
function boxMuller(a, b, to, at) {
  const radius = f(Math.sqrt(f(-2 * logOfShare(f(a >>> 1 | 1)))));
  const y = f(f(b << 2 | 2) * ANGLE);
  const square = f(y * y);
  const sine = f(f(f(polynomial(square, SINE) * square) * y) + y);
  const cosine = polynomial(square, COSINE);
  // The nearest multiple of a quarter turn.
  switch ((b + 0x20000000 >>> 0) >>> 30) {
    case 0: to[at] = radius * cosine; to[at + 1] = radius * sine; break;
    case 1: to[at] = radius * -sine; to[at + 1] = radius * cosine; break;
    case 2: to[at] = radius * -cosine; to[at + 1] = radius * -sine; break;
    default: to[at] = radius * sine; to[at + 1] = radius * -cosine;
  }
}

// The four normals of four words.
export function normals(words) {
  const four = new Float32Array(4);
  boxMuller(words[0], words[1], four, 0);
  boxMuller(words[2], words[3], four, 2);
  return four;
}

// Words of one block of a stream (block < 2^48, so that a number holds it exactly).
function wordsOf(seed, domain, pair, generation, block, words) {
  words[0] = block % 2 ** 32;
  words[1] = domain * 65536 + Math.floor(block / 2 ** 32);
  words[2] = pair;
  words[3] = generation;
  philox(words, seed.low, seed.high);
}

function splitSeed(seed) {
  const whole = BigInt(seed);
  if (BigInt.asUintN(64, whole) !== whole) throw new RangeError(`seed ${seed}`);
  return {low: Number(whole & 0xffffffffn), high: Number(whole >> 32n)};
}

function checkWord(name, value) {
  if (value >>> 0 !== value) throw new RangeError(`${name} ${value} is not in [0, 2^32)`);
}

// Numbers begin to begin + count - 1 of a stream, Float32Array [count].
export function numbers(seed, domain, pair, generation, begin, count) {
  checkWord('pair', pair);
  checkWord('generation', generation);
  const key = splitSeed(seed);
  const rademacher = domain === Domain.DENSE_RADEMACHER || domain === Domain.LOW_RANK_RADEMACHER;
  const perBlock = rademacher ? 128 : 4;
  const first = Math.floor(begin / perBlock), skipped = begin - first * perBlock;
  const blocks = Math.ceil((skipped + count) / perBlock);
  if (!(begin >= 0 && count >= 0 && first + blocks <= 2 ** 48)) {
    throw new RangeError(`no stream has ${count} numbers from ${begin} on`);
  }
  const made = new Float32Array(blocks * perBlock), words = new Uint32Array(4);
  for (let i = 0; i < blocks; ++i) {
    wordsOf(key, domain, pair, generation, first + i, words);
    if (rademacher) {
      for (let bit = 0; bit < 128; ++bit) {
        made[128 * i + bit] = 1 - 2 * (words[bit >>> 5] >>> (bit & 31) & 1);
      }
    } else {
      boxMuller(words[0], words[1], made, 4 * i);
      boxMuller(words[2], words[3], made, 4 * i + 2);
    }
  }
  return made.subarray(skipped, skipped + count);
}

// What draws the data of a generation, the same for all of its pairs: a number below 2^53.
export function dataSeed(seed, generation) {
  checkWord('generation', generation);
  const words = new Uint32Array(4);
  wordsOf(splitSeed(seed), Domain.DATA_SEED, 0, generation, 0, words);
  return words[1] * 2 ** 21 + (words[0] >>> 11);
}

// The perturbations of one session. shapes: of all tensors, in layout order, [] for a scalar; rank:
// 0 for DENSE, r >= 1 for LOW_RANK(r); rademacher: +1 and -1 instead of normals.
export class Noise {
  constructor({shapes, seed, sigma, rank = 0, rademacher = false}) {
    Object.assign(this, {seed, sigma: f(sigma), rank, rademacher});
    this.domain = rank > 0 ?
        (rademacher ? Domain.LOW_RANK_RADEMACHER : Domain.LOW_RANK_NORMAL) :
        (rademacher ? Domain.DENSE_RADEMACHER : Domain.DENSE_NORMAL);
    this.matrixSigma = f(this.sigma / Math.sqrt(Math.max(rank, 1)));
    this.numElements = 0;
    // Which numbers of the stream belong to which elements.
    this.parts = [];
    let number = 0;
    for (const shape of shapes) {
      const size = shape.reduce((product, n) => product * n, 1);
      const matrix = rank > 0 && shape.length >= 2;
      const rows = shape[0], cols = size / rows;
      this.parts.push({element: this.numElements, size, number, matrix, rows, cols});
      number += matrix ? rank * (rows + cols) : size;
      this.numElements += size;
    }
  }

  // Adds matrixScale * (A^T B), and otherScale * number for what is no matrix, to each element.
  accumulate(to, generation, pair, matrixScale, otherScale) {
    const take = (begin, count) => numbers(this.seed, this.domain, pair, generation, begin, count);
    for (const {element, size, number, matrix, rows, cols} of this.parts) {
      if (!matrix) {
        const eps = take(number, size);
        for (let i = 0; i < size; ++i) to[element + i] += f(otherScale * eps[i]);
        continue;
      }
      const a = take(number, this.rank * rows);
      const b = take(number + this.rank * rows, this.rank * cols);
      for (let k = 0; k < this.rank; ++k) {
        for (let i = 0; i < rows; ++i) {
          const scaled = f(matrixScale * a[k * rows + i]);
          const row = element + i * cols;
          for (let j = 0; j < cols; ++j) to[row + j] += f(scaled * b[k * cols + j]);
        }
      }
    }
  }

  // dW.
  displacement(generation, pair) {
    const moved = new Float32Array(this.numElements);
    // What is no matrix is a product and no sum: -0 + x keeps even the sign of a zero.
    for (const {element, size, matrix} of this.parts) {
      if (!matrix) moved.fill(-0, element, element + size);
    }
    this.accumulate(moved, generation, pair, this.matrixSigma, this.sigma);
    return moved;
  }

  // The points w + dW (sign > 0) or w - dW.
  perturb(w, generation, pair, sign) {
    if (!(w instanceof Float32Array) || w.length !== this.numElements) {
      throw new RangeError(`parameters must be a Float32Array of ${this.numElements}`);
    }
    const moved = this.displacement(generation, pair);
    return moved.map(sign > 0 ? (d, i) => w[i] + d : (d, i) => w[i] - d);
  }

  // g: the sum over the counted pairs, times `factor`; for matrices of low rank, times factor /
  // sqrt(rank). counted: [[pair, weight], ...], no pair twice.
  estimate(generation, counted, factor) {
    const runs = new Map();  // each has 64 pairs, some of which may not count
    for (const [pair, weight] of [...counted].sort(([p], [q]) => p - q)) {
      const run = Math.floor(pair / 64);
      if (!runs.has(run)) runs.set(run, []);
      runs.get(run).push([pair, f(weight)]);
    }
    const total = new Float64Array(this.numElements);
    const factors = new Float64Array(this.numElements).fill(factor);
    for (const {element, size, matrix} of this.parts) {
      if (matrix) factors.fill(factor / Math.sqrt(this.rank), element, element + size);
    }
    for (const run of runs.values()) {
      const sum = new Float32Array(this.numElements);
      for (const [pair, weight] of run) this.accumulate(sum, generation, pair, weight, weight);
      for (let i = 0; i < total.length; ++i) total[i] += sum[i];
    }
    return Float32Array.from(total, (value, i) => value * factors[i]);
  }
}

const sumOf = (values) => values.reduce((total, value) => total + value, 0);

// Twice the number of smaller losses, plus the number of equal ones without the loss itself.
function doubledRanks(losses) {
  const ordered = Float64Array.from(losses).sort();
  const countWhile = (holds) => {
    let low = 0, high = ordered.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (holds(ordered[middle])) low = middle + 1; else high = middle;
    }
    return low;
  };
  return losses.map((loss) => countWhile((x) => x < loss) + countWhile((x) => x <= loss) - 1);
}

// Losses of the counted pairs, in the order of the pairs -> {weights: Float32Array [n], factor}.
//
// losses: for CENTRAL [L+, L-] of each pair, flat [2 n]; ONE_SIDED [n]; DIRECTIONAL [n] derivatives.
// scale: TUTORIAL, GRADIENT. shaping: NONE, CENTERED_RANKS, Z_SCORE (not DIRECTIONAL). baseline, of
// ONE_SIDED without shaping: NONE, MEAN, or EVALUATED (the loss `evaluated`).
export function weigh(losses, {difference = 'CENTRAL', scale = 'GRADIENT', shaping = 'NONE',
                               baseline = 'NONE', maximize = false, sigma, evaluated}) {
  const central = difference === 'CENTRAL', directional = difference === 'DIRECTIONAL';
  const sign = maximize ? -1 : 1, count = losses.length, n = central ? count / 2 : count;
  if (count === 0 || !Number.isInteger(n)) throw new RangeError(`${count} losses, ${difference}`);
  if (directional && shaping !== 'NONE') throw new RangeError('derivatives are not shaped');
  let values = Array.from(losses, (loss) => sign * loss);
  sigma = f(sigma);

  let factor;
  if (scale === 'TUTORIAL') factor = (directional ? sigma * sigma : sigma) / n;
  else if (scale === 'GRADIENT') factor = directional ? 1 / n : 1 / (n * sigma);
  else throw new RangeError(`scale ${scale}`);

  let subtracted = 0, halved = 2;
  if (shaping === 'CENTERED_RANKS') {
    values = doubledRanks(values);
    subtracted = count - 1;
    halved = 1;
    factor = count === 1 ? 0 : factor / ((central ? 4 : 2) * (count - 1));
  } else if (shaping === 'Z_SCORE') {
    subtracted = sumOf(values) / count;
    const variance = sumOf(values.map((v) => (v - subtracted) * (v - subtracted))) / count;
    // The mean is rounded, so that equal losses may have a variance above 0.
    const same = variance === 0 || values.every((v) => v === values[0]);
    factor = same ? 0 : factor / Math.sqrt(variance);
  } else if (shaping !== 'NONE') {
    throw new RangeError(`shaping ${shaping}`);
  } else if (!directional && baseline === 'MEAN') {
    subtracted = sumOf(values) / count;
  } else if (!directional && baseline === 'EVALUATED') {
    subtracted = sign * evaluated;
  }

  const weights = new Float32Array(n);
  for (let i = 0; i < n; ++i) {
    weights[i] = central ? (values[2 * i] - values[2 * i + 1]) / halved : values[i] - subtracted;
  }
  return {weights, factor};
}

// Random search: losses [n] of the counted pairs, and the loss of the unmoved point. Returns the
// position of the first of the best pairs if it is better: g is then minus its displacement. Otherwise
// returns -1: g is 0.
export function betterPair(losses, evaluated, maximize = false) {
  const sign = maximize ? -1 : 1;
  let best = -1, bound = sign * evaluated;
  for (const [i, loss] of losses.entries()) {
    if (sign * loss < bound) {
      best = i;
      bound = sign * loss;
    }
  }
  return best;
}
