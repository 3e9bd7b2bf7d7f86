#include "engine/random_weights.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "kernels/stored_row.h"

namespace condensed::engine {

namespace {
// Drawn once for each matrix; every row is one of these, since drawing all numbers of a large model would
// take longer than measuring it.
constexpr std::int64_t kDistinctRows = 61;
}  // namespace

RandomWeights::RandomWeights(ModelConfig config, const WeightFormat& format)
    : config_(std::move(config)), format_(format) {}

kernels::MatrixView RandomWeights::matrix(const std::string& name, std::int64_t rows, std::int64_t cols) {
  const kernels::DType dtype = is_of_layer(name) ? format_.layers : format_.embedding;
  const std::int64_t row_bytes = kernels::row_bytes(dtype, cols);
  std::minstd_rand random(static_cast<unsigned>(1 + pages_.size()));
  std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(cols)));
  std::vector<float> row(static_cast<std::size_t>(cols));
  std::vector<std::byte> distinct(static_cast<std::size_t>(kDistinctRows * row_bytes));
  for (std::int64_t r = 0; r < kDistinctRows; ++r) {
    std::ranges::generate(row, [&] { return normal(random); });
    kernels::store_row(dtype, row, distinct.data() + r * row_bytes);
  }
  const std::span<std::byte> bytes = pages_.emplace_back(static_cast<std::size_t>(rows * row_bytes)).bytes();
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto chosen = static_cast<std::int64_t>(random()) % kDistinctRows;
    std::copy_n(distinct.data() + chosen * row_bytes, row_bytes, bytes.data() + r * row_bytes);
  }
  return {.dtype = dtype, .data = bytes.data(), .rows = rows, .cols = cols};
}

std::vector<float> RandomWeights::vector(const std::string& /*name*/, std::int64_t size) {
  return std::vector<float>(static_cast<std::size_t>(size), 1.0F);
}

}  // namespace condensed::engine
