// SPDX-License-Identifier: Apache-2.0
//
//   java NoiseTest VECTORS     client/java/talweg/noise gives what proto/vectors/noise.json says

import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import talweg.noise.Noise;
import talweg.noise.Weights;

public final class NoiseTest {
  private static Map<?, ?> vectors;
  private static int made;

  public static void main(String[] args) throws Exception {
    vectors = (Map<?, ?>) new Json(Files.readString(Paths.get(args[0]))).value();
    for (Object row : rows("philox")) philox(row);
    for (Object row : rows("normals")) normals((List<?>) row);
    for (Object row : rows("streams")) streams(row);
    for (Object row : rows("data_seeds")) dataSeeds(row);
    for (Object row : rows("displacements")) displacements(row);
    for (Object row : rows("estimates")) estimates(row);
    for (Object row : (List<?>) get(vectors.get("weights"), "rows")) weights(row);
    for (Object row : rows("if_better")) ifBetter(row);
    if (4 * rows("normals").size() < 4096) throw new AssertionError("too few normals");
    refusals();
    System.out.println("java: " + made + " numbers have the published bits");
  }

  private static void philox(Object row) {
    int[] counter = ints(text(row, "counter"));
    int[] key = ints(text(row, "key"));
    Noise.philox(counter, key[0], key[1]);
    want(row, hex(counter), text(row, "words"));
  }

  private static void normals(List<?> row) {
    float[] four = new float[4];
    Noise.normals(ints((String) row.get(0)), four);
    want(row, hex(four), (String) row.get(1));
  }

  private static void streams(Object row) {
    String signs = text(row, "signs");
    String bits = text(row, "numbers");
    float[] numbers = Noise.numbers(Long.parseUnsignedLong(text(row, "seed")),
        (int) whole(row, "domain"), whole(row, "pair"), whole(row, "generation"),
        Long.parseLong(text(row, "begin")), signs == null ? bits.length() / 8 : signs.length());
    want(row, hex(numbers),
        signs == null ? bits : signs.replace("+", "3f800000").replace("-", "bf800000"));
  }

  private static void dataSeeds(Object row) {
    long made = Noise.dataSeed(Long.parseUnsignedLong(text(row, "seed")), whole(row, "generation"));
    want(row, Long.toString(made), text(row, "data_seed"));
  }

  private static void displacements(Object row) {
    Noise noise = noise(row);
    long generation = whole(row, "generation");
    long pair = whole(row, "pair");
    want(row, hex(noise.displacement(generation, pair)), text(row, "displacement"));
    if (get(row, "plus") == null) return;
    float[] w = floats((String) vectors.get("parameters"));
    want(row, hex(noise.perturb(w, generation, pair, 1)), text(row, "plus"));
    want(row, hex(noise.perturb(w, generation, pair, -1)), text(row, "minus"));
  }

  private static void estimates(Object row) {
    float[] weights = floats(text(row, "weights"));
    TreeMap<Long, Float> counted = new TreeMap<>();
    for (Object pair : (List<?>) get(row, "pairs")) {
      counted.put(((Double) pair).longValue(), weights[counted.size()]);
    }
    float[] g = noise(row).estimate(whole(row, "generation"), counted,
        doubles(text(row, "factor"))[0]);
    want(row, hex(g), text(row, "gradient"));
  }

  private static void weights(Object row) {
    Weights.Config config = new Weights.Config();
    config.difference = Weights.Difference.valueOf(text(row, "difference"));
    config.scale = Weights.Scale.valueOf(text(row, "scale"));
    config.shaping = Weights.Shaping.valueOf(text(row, "shaping"));
    config.baseline = Weights.Baseline.valueOf(text(row, "baseline"));
    config.maximize = (Boolean) get(row, "maximize");
    config.sigma = floats(text(row, "sigma"))[0];
    config.evaluated = doubles(text(row, "evaluated"))[0];
    List<?> sets = (List<?>) get(vectors.get("weights"), "losses");
    double[] losses = doubles((String) sets.get((int) whole(row, "losses")));
    if (config.difference != Weights.Difference.CENTRAL) {
      for (int i = 0; i < losses.length / 2; i++) losses[i] = losses[2 * i];
      losses = Arrays.copyOf(losses, losses.length / 2);
    }
    Weights weights = Weights.of(losses, config);
    want(row, hex(weights.weights), text(row, "weights"));
    want(row, hexOfDouble(weights.factor), text(row, "factor"));
  }

  private static void ifBetter(Object row) {
    int position = Weights.betterPair(doubles(text(row, "losses")),
        doubles(text(row, "evaluated"))[0], (Boolean) get(row, "maximize"));
    want(row, Integer.toString(position), Long.toString(whole(row, "position")));
  }

  private static void refusals() {
    Weights.Config shaped = new Weights.Config();
    shaped.difference = Weights.Difference.DIRECTIONAL;
    shaped.shaping = Weights.Shaping.Z_SCORE;
    Runnable[] wrong = {
      () -> Weights.of(new double[3], new Weights.Config()),
      () -> Weights.of(new double[1], shaped),
      () -> Noise.numbers(0, 0, 1L << 32, 0, 0, 1),
    };
    for (Runnable call : wrong) {
      try {
        call.run();
      } catch (IllegalArgumentException expected) {
        continue;
      }
      throw new AssertionError("took what does not fit");
    }
  }

  private static Noise noise(Object row) {
    List<?> layout = (List<?>) vectors.get("layout");
    int[][] shapes = new int[layout.size()][];
    for (int i = 0; i < shapes.length; i++) {
      shapes[i] = ((List<?>) layout.get(i)).stream().mapToInt(n -> ((Double) n).intValue())
          .toArray();
    }
    return new Noise(shapes, Long.parseUnsignedLong(text(row, "seed")),
        floats(text(row, "sigma"))[0], (int) whole(row, "rank"), (Boolean) get(row, "rademacher"));
  }

  private static void want(Object row, String got, String expected) {
    if (!got.equals(expected)) {
      throw new AssertionError(row + "\n  got " + got + "\n  expected " + expected);
    }
    made++;
  }

  private static List<?> rows(String name) {
    return (List<?>) vectors.get(name);
  }

  private static Object get(Object row, String name) {
    return ((Map<?, ?>) row).get(name);
  }

  private static String text(Object row, String name) {
    return (String) get(row, name);
  }

  private static long whole(Object row, String name) {
    return ((Double) get(row, name)).longValue();
  }

  private static int[] ints(String digits) {
    int[] words = new int[digits.length() / 8];
    for (int i = 0; i < words.length; i++) {
      words[i] = Integer.parseUnsignedInt(digits.substring(8 * i, 8 * i + 8), 16);
    }
    return words;
  }

  private static float[] floats(String digits) {
    int[] words = ints(digits);
    float[] values = new float[words.length];
    for (int i = 0; i < words.length; i++) values[i] = Float.intBitsToFloat(words[i]);
    return values;
  }

  private static double[] doubles(String digits) {
    double[] values = new double[digits.length() / 16];
    for (int i = 0; i < values.length; i++) {
      values[i] = Double.longBitsToDouble(
          Long.parseUnsignedLong(digits.substring(16 * i, 16 * i + 16), 16));
    }
    return values;
  }

  private static String hex(int... words) {
    StringBuilder digits = new StringBuilder();
    for (int word : words) digits.append(String.format("%08x", word));
    return digits.toString();
  }

  private static String hex(float... values) {
    int[] words = new int[values.length];
    for (int i = 0; i < words.length; i++) words[i] = Float.floatToRawIntBits(values[i]);
    return hex(words);
  }

  private static String hexOfDouble(double value) {
    return String.format("%016x", Double.doubleToRawLongBits(value));
  }

  /** As much of JSON as the vectors need: no escapes, numbers are doubles. */
  private static final class Json {
    private final String text;
    private int at;

    Json(String text) {
      this.text = text;
    }

    Object value() {
      char first = next();
      if (first == '{') {
        Map<String, Object> map = new LinkedHashMap<>();
        at++;
        while (next() != '}') {
          if (next() == ',') at++;
          String name = (String) value();
          next();
          at++; // the colon
          map.put(name, value());
        }
        at++;
        return map;
      }
      if (first == '[') {
        List<Object> list = new ArrayList<>();
        at++;
        while (next() != ']') {
          if (next() == ',') at++;
          list.add(value());
        }
        at++;
        return list;
      }
      int begin = at;
      if (first == '"') {
        at = text.indexOf('"', begin + 1) + 1;
        return text.substring(begin + 1, at - 1);
      }
      while ("{}[],: \n".indexOf(text.charAt(at)) < 0) at++;
      String word = text.substring(begin, at);
      return word.equals("true") || word.equals("false") ? Boolean.valueOf(word)
          : (Object) Double.valueOf(word);
    }

    /** The next character that is not white. */
    private char next() {
      while (Character.isWhitespace(text.charAt(at))) at++;
      return text.charAt(at);
    }
  }
}
