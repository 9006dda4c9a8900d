// SPDX-License-Identifier: Apache-2.0
package talweg.noise;

import java.util.Arrays;

/** What the losses of a generation weigh in its estimate. */
public final class Weights {
  /** Losses of a pair: L+ and L-, or L+ alone, or the derivative along eps. */
  public enum Difference { CENTRAL, ONE_SIDED, DIRECTIONAL }

  /** The unit of the estimate: that of a displacement, or that of a gradient. */
  public enum Scale { TUTORIAL, GRADIENT }

  /** Losses as they are, their ranks, or in units of their deviation. */
  public enum Shaping { NONE, CENTERED_RANKS, Z_SCORE }

  /** What is taken from one-sided losses without shaping. */
  public enum Baseline { NONE, MEAN, EVALUATED }

  /** The choices of a search. */
  public static final class Config {
    public Difference difference = Difference.CENTRAL;
    public Scale scale = Scale.GRADIENT;
    public Shaping shaping = Shaping.NONE;
    public Baseline baseline = Baseline.NONE;
    public boolean maximize;
    public float sigma;
    public double evaluated; // the loss of the unmoved point, for the baseline of that name
  }

  /** One per pair. */
  public final float[] weights;

  /** What the sum over the pairs is multiplied by. */
  public final double factor;

  private Weights(float[] weights, double factor) {
    this.weights = weights;
    this.factor = factor;
  }

  /**
   * @param losses of the counted pairs in the order of the pairs: CENTRAL L+ and L- of each pair in
   *     turn, else one per pair
   */
  public static Weights of(double[] losses, Config config) {
    boolean central = config.difference == Difference.CENTRAL;
    boolean directional = config.difference == Difference.DIRECTIONAL;
    int n = central ? losses.length / 2 : losses.length;
    Noise.check(n > 0 && (!central || losses.length % 2 == 0),
        losses.length + " losses do not fit " + config.difference);
    Noise.check(!directional || config.shaping == Shaping.NONE, "derivatives are not shaped");
    double[] values = losses.clone();
    if (config.maximize) {
      for (int i = 0; i < values.length; i++) values[i] = -values[i];
    }
    double factor = scaleFactor(config, directional, n);

    double[] ones = values;
    double centre = 0;
    double divisor = 2;
    switch (config.shaping) {
      case CENTERED_RANKS:
        ones = doubledRanks(values);
        centre = values.length - 1;
        divisor = 1;
        factor = values.length == 1 ? 0 : factor / ((central ? 4.0 : 2.0) * (values.length - 1));
        break;
      case Z_SCORE:
        centre = mean(values);
        double[] squares = new double[values.length];
        for (int i = 0; i < squares.length; i++) {
          squares[i] = (values[i] - centre) * (values[i] - centre);
        }
        double first = values[0];
        boolean equal = Arrays.stream(values).allMatch(value -> value == first);
        double variance = mean(squares);
        // The mean is rounded, so that equal losses may have a variance above 0.
        factor = variance == 0 || equal ? 0 : factor / Math.sqrt(variance);
        break;
      default:
        if (!directional && config.baseline == Baseline.MEAN) centre = mean(values);
        if (!directional && config.baseline == Baseline.EVALUATED) {
          centre = config.maximize ? -config.evaluated : config.evaluated;
        }
    }
    float[] weights = new float[n];
    for (int i = 0; i < n; i++) {
      double weight = central ? (ones[2 * i] - ones[2 * i + 1]) / divisor : ones[i] - centre;
      weights[i] = (float) weight;
    }
    return new Weights(weights, factor);
  }

  /**
   * Random search: the position of the first of the best pairs if it is better than the unmoved
   * point; g is then minus its displacement. Otherwise -1: g is 0.
   */
  public static int betterPair(double[] losses, double evaluated, boolean maximize) {
    int best = -1;
    double bound = evaluated;
    for (int i = 0; i < losses.length; i++) {
      if (maximize ? losses[i] > bound : losses[i] < bound) {
        best = i;
        bound = losses[i];
      }
    }
    return best;
  }

  private static double scaleFactor(Config config, boolean directional, double n) {
    double sigma = config.sigma;
    double factor;
    if (config.scale == Scale.TUTORIAL) {
      factor = (directional ? sigma * sigma : sigma) / n;
    } else {
      factor = directional ? 1 / n : 1 / (n * sigma);
    }
    return factor;
  }

  private static double mean(double[] values) {
    double sum = 0;
    for (double value : values) sum += value;
    return sum / values.length;
  }

  /** Twice the number of smaller losses, plus the number of equal ones without the loss itself. */
  private static double[] doubledRanks(double[] losses) {
    Integer[] order = new Integer[losses.length];
    for (int i = 0; i < order.length; i++) order[i] = i;
    Arrays.sort(order, (i, j) -> losses[i] < losses[j] ? -1 : losses[i] > losses[j] ? 1 : 0);
    double[] ranks = new double[losses.length];
    for (int first = 0, end = 0; first < order.length; first = end) {
      while (end < order.length && losses[order[end]] == losses[order[first]]) end++;
      for (int i = first; i < end; i++) ranks[order[i]] = 2.0 * first + (end - first - 1);
    }
    return ranks;
  }
}
