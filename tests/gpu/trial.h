#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <span>
#include <vector>

#include "kernels/reference/reference_backend.h"
#include "kernels/stored_row.h"
#include "tests/gpu/report.h"

namespace condensed::gpu_check {

inline constexpr double kRounding = 0x1p-24;
inline constexpr kernels::DType kWeightTypes[] = {
    kernels::DType::f32, kernels::DType::bf16, kernels::DType::f16, kernels::DType::q8, kernels::DType::q4};
inline constexpr kernels::DType kCacheTypes[] = {kernels::DType::f32, kernels::DType::bf16,
                                                 kernels::DType::f16, kernels::DType::q8};

/// Draws sizes and numbers, and keeps the largest error in units of what is allowed.
class Trial {
 public:
  Trial(kernels::Backend& device, std::int64_t seed)
      : backend(device), random_(static_cast<unsigned>(seed)) {}

  kernels::Backend& backend;
  kernels::ReferenceBackend reference;

  int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  std::vector<float> floats(std::int64_t n, float limit = 1.0F) {
    std::uniform_real_distribution<float> uniform(-limit, limit);
    std::vector<float> out(static_cast<std::size_t>(n));
    std::ranges::generate(out, [&] { return uniform(random_); });
    return out;
  }
  std::vector<double> doubles(std::int64_t n) {
    const std::vector<float> out = floats(n);
    return {out.begin(), out.end()};
  }

  void compare(double actual, double expected, double allowed) {
    const double ratio = std::abs(actual - expected) / allowed;
    worst_ = ratio > worst_ || std::isnan(ratio) ? ratio : worst_;
    ++n_compared_;
  }
  Finding finding(int n_cases) const {
    char text[120];
    std::snprintf(text, sizeof(text), "%d cases, %lld numbers; largest error %.3f of what is allowed",
                  n_cases, static_cast<long long>(n_compared_), worst_);
    return {.outcome = outcome_if(worst_ <= 1 && n_compared_ > 0),
            .detail = text,
            .figures = {{"cases", n_cases}, {"numbers", n_compared_}, {"largest_error_of_allowed", worst_}}};
  }

 private:
  std::mt19937 random_;
  double worst_ = 0;
  std::int64_t n_compared_ = 0;
};

/// Stored rows in host memory, as a checkpoint's.
struct StoredMatrix {
  StoredMatrix(kernels::DType format, const std::vector<float>& values, std::int64_t width)
      : dtype(format), cols(width), rows(std::ssize(values) / cols) {
    const std::int64_t bytes_of_row = kernels::row_bytes(dtype, cols);
    bytes.resize(static_cast<std::size_t>(rows * bytes_of_row));
    for (std::int64_t r = 0; r < rows; ++r) {
      kernels::store_row(dtype, std::span(values).subspan(r * cols, cols), bytes.data() + r * bytes_of_row);
    }
  }
  kernels::MatrixView view() const { return {dtype, bytes.data(), rows, cols}; }
  std::vector<float> row(std::int64_t r) const {
    std::vector<float> out(static_cast<std::size_t>(cols));
    kernels::load_row(dtype, view().row(r), out);
    return out;
  }

  kernels::DType dtype;
  std::int64_t cols;
  std::int64_t rows;
  std::vector<std::byte> bytes;
};

}  // namespace condensed::gpu_check
