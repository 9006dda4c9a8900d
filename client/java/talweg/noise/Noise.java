// SPDX-License-Identifier: Apache-2.0
package talweg.noise;

import java.util.Map;
import java.util.SortedMap;

/**
 * proto/NOISE.md in Java: the perturbations of one session, with the same bits as in every other
 * language. Immutable, so any number of threads may use one object.
 *
 * <p>Every operation on floats is one float operation. Since Java 17 that is the language; older
 * ones keep it on every machine that has SSE2 or is not x86. {@code Math.fma} is not used, and
 * nothing else fuses. {@code (float) Math.sqrt(x)} of a float is the square root rounded once.
 *
 * <p>Pairs and generations are longs below 2^32, seeds are the 64 bits of an unsigned number. Bad
 * arguments throw IllegalArgumentException.
 */
public final class Noise {
  /** What a stream is for. */
  public static final int DENSE_NORMAL = 0, INITIAL_VALUES = 1, LOW_RANK_NORMAL = 2,
      DENSE_RADEMACHER = 3, LOW_RANK_RADEMACHER = 4, DATA_SEED = 5;

  private final int[][] shapes;
  private final long seed;
  private final float sigma;
  private final int rank;
  private final boolean rademacher;

  /**
   * @param shapes of all tensors, in layout order; a scalar has no dimension
   * @param rank 0 for DENSE, r >= 1 for LOW_RANK(r)
   * @param rademacher +1 and -1 instead of normals
   */
  public Noise(int[][] shapes, long seed, float sigma, int rank, boolean rademacher) {
    check(rank >= 0, "rank " + rank);
    this.shapes = shapes;
    this.seed = seed;
    this.sigma = sigma;
    this.rank = rank;
    this.rademacher = rademacher;
  }

  /** The length of the flat vector of all parameters. */
  public int numElements() {
    int sum = 0;
    for (int[] shape : shapes) sum += product(shape);
    return sum;
  }

  /** dW, [numElements]. */
  public float[] displacement(long generation, long pair) {
    float[] moved = new float[numElements()];
    // A product, and no sum, where there is no matrix: -0 + x keeps even the sign of a zero.
    int begin = 0;
    for (int[] shape : shapes) {
      int end = begin + product(shape);
      if (!isMatrix(shape)) java.util.Arrays.fill(moved, begin, end, -0.0f);
      begin = end;
    }
    add(moved, generation, pair, matrixSigma(), sigma);
    return moved;
  }

  /** The point w + dW (sign > 0) or w - dW, [numElements]. */
  public float[] perturb(float[] w, long generation, long pair, int sign) {
    float[] moved = displacement(generation, pair);
    check(w.length == moved.length, w.length + " parameters, expected " + moved.length);
    for (int i = 0; i < w.length; i++) moved[i] = sign > 0 ? w[i] + moved[i] : w[i] - moved[i];
    return moved;
  }

  /**
   * g, [numElements]: the sum over the counted pairs with their weights, times the factor; for
   * matrices of low rank, times factor / sqrt(rank).
   */
  public float[] estimate(long generation, SortedMap<Long, Float> counted, double factor) {
    double[] total = new double[numElements()];
    float[] sum = new float[total.length];
    long run = -1;
    for (Map.Entry<Long, Float> entry : counted.entrySet()) {
      if (entry.getKey() / 64 != run) {
        flush(sum, total);
        run = entry.getKey() / 64;
      }
      add(sum, generation, entry.getKey(), entry.getValue(), entry.getValue());
    }
    flush(sum, total);
    int i = 0;
    for (int[] shape : shapes) {
      double times = isMatrix(shape) ? factor / Math.sqrt(rank) : factor;
      for (int end = i + product(shape); i < end; i++) sum[i] = (float) (total[i] * times);
    }
    return sum;
  }

  private static void flush(float[] sum, double[] total) {
    for (int i = 0; i < sum.length; i++) {
      total[i] += sum[i];
      sum[i] = 0;
    }
  }

  /** Adds the noise of a pair: scale times the number, matrixScale times the products A B. */
  private void add(float[] to, long generation, long pair, float matrixScale, float scale) {
    int domain = rank > 0
        ? (rademacher ? LOW_RANK_RADEMACHER : LOW_RANK_NORMAL)
        : (rademacher ? DENSE_RADEMACHER : DENSE_NORMAL);
    int element = 0;
    long taken = 0;
    for (int[] shape : shapes) {
      int size = product(shape);
      if (!isMatrix(shape)) {
        for (float number : numbers(seed, domain, pair, generation, taken, size)) {
          to[element++] += scale * number;
        }
        taken += size;
        continue;
      }
      int rows = shape[0];
      int cols = size / rows;
      float[] a = numbers(seed, domain, pair, generation, taken, rank * rows);
      float[] b = numbers(seed, domain, pair, generation, taken + a.length, rank * cols);
      taken += a.length + b.length;
      for (int i = 0; i < a.length; i++) a[i] *= matrixScale;
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < cols; j++, element++) {
          float value = to[element];
          for (int k = 0; k < rank; k++) value += a[k * rows + i] * b[k * cols + j];
          to[element] = value;
        }
      }
    }
  }

  private boolean isMatrix(int[] shape) {
    return rank > 0 && shape.length >= 2;
  }

  private float matrixSigma() {
    return (float) (sigma / Math.sqrt(Math.max(rank, 1)));
  }

  private static int product(int[] shape) {
    int size = 1;
    for (int n : shape) size = Math.multiplyExact(size, n);
    return size;
  }

  /** Numbers begin to begin + count - 1 of a stream. */
  public static float[] numbers(long seed, int domain, long pair, long generation, long begin,
      int count) {
    boolean signs = domain == DENSE_RADEMACHER || domain == LOW_RANK_RADEMACHER;
    int perBlock = signs ? 128 : 4;
    check(begin >= 0 && count >= 0 && begin + count <= (long) perBlock << 48,
        "no stream has " + count + " numbers from " + begin + " on");
    float[] made = new float[count];
    float[] four = new float[4];
    int[] words = null;
    for (int i = 0; i < count; i++) {
      int place = (int) ((begin + i) % perBlock);
      if (place == 0 || i == 0) {
        words = wordsOf(seed, domain, pair, generation, (begin + i) / perBlock);
        if (!signs) normals(words, four);
      }
      made[i] = signs ? 1 - 2 * (words[place / 32] >>> place % 32 & 1) : four[place];
    }
    return made;
  }

  /** What draws the data of a generation, the same for all of its pairs: below 2^53. */
  public static long dataSeed(long seed, long generation) {
    int[] words = wordsOf(seed, DATA_SEED, 0, generation, 0);
    return ((long) words[1] << 32 | words[0] & 0xFFFFFFFFL) >>> 11;
  }

  private static int[] wordsOf(long seed, int domain, long pair, long generation, long block) {
    check(pair >>> 32 == 0 && generation >>> 32 == 0,
        "pair " + pair + ", generation " + generation + ": both must be in [0, 2^32)");
    int[] counter = {(int) block, domain << 16 | (int) (block >>> 32), (int) pair,
      (int) generation};
    philox(counter, (int) seed, (int) (seed >>> 32));
    return counter;
  }

  /** Philox4x32-10: replaces the four words of the counter. */
  public static void philox(int[] counter, int key0, int key1) {
    for (int round = 0; round < 10; round++) {
      long p0 = 0xD2511F53L * (counter[0] & 0xFFFFFFFFL);
      long p1 = 0xCD9E8D57L * (counter[2] & 0xFFFFFFFFL);
      counter[0] = (int) (p1 >>> 32) ^ counter[1] ^ key0;
      counter[1] = (int) p1;
      counter[2] = (int) (p0 >>> 32) ^ counter[3] ^ key1;
      counter[3] = (int) p0;
      key0 += 0x9E3779B9;
      key1 += 0xBB67AE85;
    }
  }

  /** Writes the four standard normals of four words. */
  public static void normals(int[] words, float[] to) {
    for (int i = 0; i < 4; i += 2) {
      float radius = (float) Math.sqrt(-2 * logOfShare((float) (words[i] >>> 1 | 1)));
      int angle = words[i + 1];
      float y = (float) (angle << 2 | 2) * 0x1.921fb6p-32f;
      float square = y * y;
      float sine = -0x1.9943f2p-13f * square + 0x1.11073cp-7f;
      sine = sine * square - 0x1.555546p-3f;
      sine = sine * square * y + y;
      float cosine = 0x1.99eb9cp-16f * square - 0x1.6c0c34p-10f;
      cosine = cosine * square + 0x1.55554ap-5f;
      cosine = cosine * square - 0.5f;
      cosine = cosine * square + 1;
      // Quarter turns to the nearest multiple: each takes (x, y) to (-y, x).
      for (int turns = angle + 0x20000000 >>> 30; turns > 0; turns--) {
        float turned = -sine;
        sine = cosine;
        cosine = turned;
      }
      to[i] = radius * cosine;
      to[i + 1] = radius * sine;
    }
  }

  /** log(k / 2^31) of a whole number from 1 to 2^31. */
  private static float logOfShare(float k) {
    int bits = Float.floatToRawIntBits(k) + (0x3F800000 - 0x3F3504F3);
    float f = Float.intBitsToFloat((bits & 0x007FFFFF) + 0x3F3504F3) - 1;
    float e = (bits >>> 23) - 158;
    float square = f * f;
    float p = 0x1.204376p-4f;
    p = p * f - 0x1.d7a37p-4f;
    p = p * f + 0x1.de4a34p-4f;
    p = p * f - 0x1.fcba9ep-4f;
    p = p * f + 0x1.23d37ep-3f;
    p = p * f - 0x1.555cap-3f;
    p = p * f + 0x1.999d58p-3f;
    p = p * f - 0x1.fffff8p-3f;
    p = p * f + 0x1.555554p-2f;
    float rest = p * f * square;
    rest = rest - e * 0x1.bd0106p-13f;
    rest = rest - 0.5f * square;
    return (f + rest) + e * 0.693359375f;
  }

  static void check(boolean holds, String otherwise) {
    if (!holds) throw new IllegalArgumentException(otherwise);
  }
}
