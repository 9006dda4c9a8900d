// SPDX-License-Identifier: Apache-2.0
#include "core/noise/low_rank_sum.h"

#include <algorithm>
#include <vector>

#include "core/noise/stream.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/noise/low_rank_sum.cc"
#include "hwy/foreach_target.h"
// Below foreach_target.h, as Highway wants it.
#include "core/noise/philox-inl.h"
#include "core/noise/totals-inl.h"
#include "hwy/highway.h"

#ifndef TALWEG_CORE_NOISE_LOW_RANK_SUM_ONCE_
#define TALWEG_CORE_NOISE_LOW_RANK_SUM_ONCE_
namespace talweg::core {
namespace {

constexpr size_t kTerms = 64;  // that one pass over a tile adds: a run, if the rank is 1
constexpr size_t kTileRows = 160;
constexpr size_t kTileCols = 256;
// Rows of the factors lie an odd number of cache lines apart, so that they do not share few sets of
// the cache.
constexpr size_t kRowStride = kTileRows + 16;
constexpr size_t kColStride = kTileCols + 16;
// What a pass computes at once: 4 rows of two vectors.
constexpr size_t kRowsAtOnce = 4;
constexpr size_t kMaxColsAtOnce = 2 * 16;

struct OuterPass {
  size_t rows, cols;  // rounded up to whole steps; the surplus is computed and not used
  size_t terms;
  const float* a;  // [terms, kRowStride], times the weights
  const float* b;  // [terms, kColStride]
  float* sums;     // [rows, kTileCols]
  double* totals;  // [rows, kTileCols]
  bool first;      // of its run: sums start at 0
  bool last;       // of its run: sums are added to totals instead of being stored
};

}  // namespace
}  // namespace talweg::core
#endif

HWY_BEFORE_NAMESPACE();
namespace talweg::core {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D, class V>
HWY_INLINE void Finish(D d, const OuterPass& pass, V sum, size_t at) {
  if (!pass.last) {
    hn::StoreU(sum, d, pass.sums + at);
    return;
  }
  AddToTotals(d, sum, pass.totals + at);
}

void AddOuterProducts(const OuterPass& pass) {
  const NumberTag d;
  const size_t lanes = hn::Lanes(d);
  for (size_t col = 0; col < pass.cols; col += 2 * lanes) {
    for (size_t row = 0; row < pass.rows; row += kRowsAtOnce) {
      const size_t at = row * kTileCols + col;
      const auto old = [&](size_t index, size_t vector) HWY_ATTR {
        if (pass.first) return hn::Zero(d);
        return hn::LoadU(d, pass.sums + at + index * kTileCols + vector * lanes);
      };
      auto s00 = old(0, 0), s01 = old(0, 1), s10 = old(1, 0), s11 = old(1, 1);
      auto s20 = old(2, 0), s21 = old(2, 1), s30 = old(3, 0), s31 = old(3, 1);
      const float* a = pass.a + row;
      const float* b = pass.b + col;
      for (size_t term = 0; term < pass.terms; ++term, a += kRowStride, b += kColStride) {
        const auto b0 = hn::LoadU(d, b), b1 = hn::LoadU(d, b + lanes);
        const auto a0 = hn::Set(d, a[0]), a1 = hn::Set(d, a[1]);
        const auto a2 = hn::Set(d, a[2]), a3 = hn::Set(d, a[3]);
        s00 = hn::Add(s00, hn::Mul(a0, b0));
        s01 = hn::Add(s01, hn::Mul(a0, b1));
        s10 = hn::Add(s10, hn::Mul(a1, b0));
        s11 = hn::Add(s11, hn::Mul(a1, b1));
        s20 = hn::Add(s20, hn::Mul(a2, b0));
        s21 = hn::Add(s21, hn::Mul(a2, b1));
        s30 = hn::Add(s30, hn::Mul(a3, b0));
        s31 = hn::Add(s31, hn::Mul(a3, b1));
      }
      Finish(d, pass, s00, at);
      Finish(d, pass, s01, at + lanes);
      Finish(d, pass, s10, at + kTileCols);
      Finish(d, pass, s11, at + kTileCols + lanes);
      Finish(d, pass, s20, at + 2 * kTileCols);
      Finish(d, pass, s21, at + 2 * kTileCols + lanes);
      Finish(d, pass, s30, at + 3 * kTileCols);
      Finish(d, pass, s31, at + 3 * kTileCols + lanes);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace talweg::core
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace talweg::core {
namespace {

HWY_EXPORT(AddOuterProducts);

constexpr size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The part of a matrix that is summed at once.
struct Tile {
  uint64_t row, col;
  size_t rows, cols;
};

// Sums tiles of one matrix, one after the other.
class Summer {
 public:
  Summer(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
         const LowRankMatrix& matrix, size_t tile_rows)
      : keys_(keys),
        stream_{domain, 0, generation},
        matrix_(matrix),
        a_(kTerms * kRowStride),
        b_(kTerms * kColStride),
        sums_(RoundUp(tile_rows, kRowsAtOnce) * kTileCols) {}

  // Leaves the sums of one run in totals().
  void AddRun(const Tile& tile, std::span<const PairWeight> run) { Add(tile, run, true); }
  // Leaves the sums of one run in sums().
  void SumRun(const Tile& tile, std::span<const PairWeight> run) { Add(tile, run, false); }

  void ClearTotals() { totals_.assign(sums_.size(), 0.0); }
  const float* sums(size_t row) const { return sums_.data() + row * kTileCols; }
  const double* totals(size_t row) const { return totals_.data() + row * kTileCols; }

 private:
  void Add(const Tile& tile, std::span<const PairWeight> run, bool to_totals) {
    OuterPass pass{.rows = RoundUp(tile.rows, kRowsAtOnce),
                   .cols = RoundUp(tile.cols, kMaxColsAtOnce),
                   .terms = 0,
                   .a = a_.data(),
                   .b = b_.data(),
                   .sums = sums_.data(),
                   .totals = totals_.data(),
                   .first = true,
                   .last = false};
    const uint64_t first_of_b = matrix_.first_number + matrix_.rank * matrix_.rows;
    for (size_t index = 0; index < run.size(); ++index) {
      stream_.pair = run[index].pair;
      for (uint32_t k = 0; k < matrix_.rank; ++k) {
        DrawNumbers(keys_, stream_, matrix_.first_number + k * matrix_.rows + tile.row,
                    run[index].weight, {a_.data() + pass.terms * kRowStride, tile.rows});
        DrawNumbers(keys_, stream_, first_of_b + k * matrix_.cols + tile.col, 1,
                    {b_.data() + pass.terms * kColStride, tile.cols});
        ++pass.terms;
        const bool end = index + 1 == run.size() && k + 1 == matrix_.rank;
        if (pass.terms < kTerms && !end) continue;
        pass.last = end && to_totals;
        HWY_DYNAMIC_DISPATCH(AddOuterProducts)(pass);
        pass.first = false;
        pass.terms = 0;
      }
    }
  }

  const PhiloxRoundKeys& keys_;
  NoiseStream stream_;
  const LowRankMatrix matrix_;
  std::vector<float> a_, b_, sums_;
  std::vector<double> totals_;
};

// Calls at(tile) for tiles that hold every element of [begin, end), and at most two others per row
// that they share with it.
template <class At>
void ForEachTile(const LowRankMatrix& matrix, uint64_t begin, uint64_t end, const At& at) {
  const uint64_t begin_row = begin / matrix.cols, begin_col = begin % matrix.cols;
  const uint64_t last_row = (end - 1) / matrix.cols, last_col = (end - 1) % matrix.cols;
  for (uint64_t col = 0; col < matrix.cols; col += kTileCols) {
    const size_t cols = std::min<uint64_t>(kTileCols, matrix.cols - col);
    // The first and the last row may end before these columns, or start behind them.
    const uint64_t from = begin_row + (col + cols <= begin_col ? 1 : 0);
    const uint64_t to = last_row + (col <= last_col ? 1 : 0);
    if (from >= to) continue;
    // Tiles of nearly equal heights.
    const uint64_t count = (to - from + kTileRows - 1) / kTileRows;
    const uint64_t height = (to - from + count - 1) / count;
    for (uint64_t row = from; row < to; row += height) {
      at(Tile{row, col, static_cast<size_t>(std::min(height, to - row)), cols});
    }
  }
}

// Calls at(row of the tile, first column of the tile, element, count) for the parts of the tile's
// rows that lie in [begin, end).
template <class At>
void ForEachRow(const LowRankMatrix& matrix, const Tile& tile, uint64_t begin, uint64_t end,
                const At& at) {
  for (size_t row = 0; row < tile.rows; ++row) {
    const uint64_t element = (tile.row + row) * matrix.cols + tile.col;
    const uint64_t from = std::max(element, begin);
    const uint64_t to = std::min(element + tile.cols, end);
    if (from < to) at(row, from - element, from, to - from);
  }
}

}  // namespace

void SumLowRank(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
                const LowRankMatrix& matrix, std::span<const PairWeight> weights, double factor,
                uint64_t begin, uint64_t end, const TakeValues& take) {
  if (begin >= end) return;
  Summer summer(keys, domain, generation, matrix, std::min<uint64_t>(kTileRows, matrix.rows));
  float values[kTileCols];
  ForEachTile(matrix, begin, end, [&](const Tile& tile) {
    summer.ClearTotals();
    ForEachRun(weights, [&](std::span<const PairWeight> run) { summer.AddRun(tile, run); });
    ForEachRow(matrix, tile, begin, end,
               [&](size_t row, size_t col, uint64_t element, size_t count) {
                 const double* const totals = summer.totals(row) + col;
                 for (size_t i = 0; i < count; ++i) {
                   values[i] = static_cast<float>(totals[i] * factor);
                 }
                 take(element, {values, count});
               });
  });
}

void ExpandLowRank(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
                   const LowRankMatrix& matrix, PairWeight scale, uint64_t begin, uint64_t end,
                   const TakeValues& take) {
  if (begin >= end) return;
  Summer summer(keys, domain, generation, matrix, std::min<uint64_t>(kTileRows, matrix.rows));
  ForEachTile(matrix, begin, end, [&](const Tile& tile) {
    summer.SumRun(tile, {&scale, 1});
    ForEachRow(matrix, tile, begin, end,
               [&](size_t row, size_t col, uint64_t element, size_t count) {
                 take(element, {summer.sums(row) + col, count});
               });
  });
}

}  // namespace talweg::core
#endif  // HWY_ONCE
