// SPDX-License-Identifier: Apache-2.0
//
//   node noise_test.mjs VECTORS     client/node/noise.mjs gives what proto/vectors/noise.json says

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';

import {betterPair, dataSeed, Noise, normals, numbers, philox, weigh} from
    '../../client/node/noise.mjs';

const vectors = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const bitsOf = (array) => {
  const view = new DataView(new ArrayBuffer(8));
  const digits = array instanceof Uint32Array ? 'setUint32' :
      array instanceof Float32Array ? 'setFloat32' : 'setFloat64';
  const size = array.BYTES_PER_ELEMENT;
  return Array.from(array, (number) => {
    view[digits](0, number);
    return Buffer.from(view.buffer, 0, size).toString('hex');
  }).join('');
};
const read = (Type, text) => {
  const bytes = Buffer.from(text, 'hex'), size = Type.BYTES_PER_ELEMENT;
  const get = {Uint32Array: 'readUInt32BE', Float32Array: 'readFloatBE',
               Float64Array: 'readDoubleBE'}[Type.name];
  return Type.from({length: bytes.length / size}, (_, i) => bytes[get](i * size));
};
const one = (Type, text) => read(Type, text)[0];
const noiseOf = (row) => new Noise({...row, shapes: vectors.layout,
                                    sigma: one(Float32Array, row.sigma)});

const tests = {
  philox(row) {
    const words = read(Uint32Array, row.counter);
    philox(words, ...read(Uint32Array, row.key));
    assert.equal(bitsOf(words), row.words);
  },
  normals([words, bits]) {
    assert.equal(bitsOf(normals(read(Uint32Array, words))), bits);
  },
  streams({seed, domain, pair, generation, begin, numbers: bits, signs}) {
    const made = numbers(seed, domain, pair, generation, Number(begin),
        bits ? bits.length / 8 : signs.length);
    if (bits) assert.equal(bitsOf(made), bits);
    else assert.deepEqual([...made], [...signs].map((sign) => sign === '+' ? 1 : -1));
  },
  data_seeds(row) {
    assert.equal(String(dataSeed(row.seed, row.generation)), row.data_seed);
  },
  displacements(row) {
    const noise = noiseOf(row), {generation, pair} = row;
    assert.equal(bitsOf(noise.displacement(generation, pair)), row.displacement);
    if (!row.plus) return;
    const w = read(Float32Array, vectors.parameters);
    assert.equal(bitsOf(noise.perturb(w, generation, pair, +1)), row.plus);
    assert.equal(bitsOf(noise.perturb(w, generation, pair, -1)), row.minus);
  },
  estimates(row) {
    const weights = read(Float32Array, row.weights);
    const counted = row.pairs.map((pair, i) => [pair, weights[i]]).reverse();
    const g = noiseOf(row).estimate(row.generation, counted, one(Float64Array, row.factor));
    assert.equal(bitsOf(g), row.gradient);
  },
  weights(row) {
    const both = read(Float64Array, vectors.weights.losses[row.losses]);
    const losses = row.difference === 'CENTRAL' ? both : both.filter((_, i) => i % 2 === 0);
    const {weights, factor} = weigh(losses, {...row, sigma: one(Float32Array, row.sigma),
                                             evaluated: one(Float64Array, row.evaluated)});
    assert.equal(bitsOf(weights), row.weights);
    assert.equal(bitsOf(Float64Array.of(factor)), row.factor);
  },
  if_better(row) {
    const position = betterPair(read(Float64Array, row.losses), one(Float64Array, row.evaluated),
        row.maximize);
    assert.equal(position, row.position);
  },
};

let made = 0;
for (const [name, test] of Object.entries(tests)) {
  const rows = name === 'weights' ? vectors.weights.rows : vectors[name];
  assert.ok(rows.length > 0, name);
  for (const row of rows) {
    try {
      test(row);
      made += 1;
    } catch (error) {
      console.error(`${name} ${JSON.stringify(row).slice(0, 300)}`);
      throw error;
    }
  }
}
assert.ok(4 * vectors.normals.length >= 4096);
assert.throws(() => weigh([1, 2, 3], {sigma: 1}), RangeError);
assert.throws(() => weigh([1], {difference: 'DIRECTIONAL', shaping: 'Z_SCORE', sigma: 1}),
    RangeError);
assert.throws(() => numbers(0, 0, -1, 0, 0, 4), RangeError);
console.log(`node: ${made} rows have the published bits`);
