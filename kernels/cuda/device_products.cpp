#include "kernels/cuda/device_products.h"

#include <algorithm>
#include <cassert>

#include "kernels/cuda/capacities.h"
#include "kernels/cuda/launches.h"

namespace condensed::kernels::cuda {

namespace {

// Of the library's products at most at once: what they leave in scratch memory is bounded by these, and a
// dequantised tile of 8-bit weights stays in the second-level cache until it is read.
constexpr std::int64_t kTileRows = 512;
constexpr std::int64_t kTileOutputs = 8192;
// Up to here reading the weights takes longer than computing with them twice: once with the activations in 16
// bits, once with what that rounding lost.
constexpr std::int64_t kTwoPartRows = 128;
constexpr std::int64_t kQuantisedTileBytes = std::int64_t{16} << 20;

std::int64_t padded_cols(const DeviceMatrix& matrix) {
  return (matrix.cols() + 7) / 8 * 8;
}

std::int64_t tile_outputs(const DeviceMatrix& matrix) {
  if (!is_quantised(matrix.dtype())) {
    return kTileOutputs;
  }
  return std::clamp<std::int64_t>(kQuantisedTileBytes / (2 * padded_cols(matrix)) / 64 * 64, 64,
                                  kTileOutputs);
}

/// All tiles of a call are laid out for as many rows, the last one, too: the library chooses how to sum by
/// their number, and a row's place is not to matter.
std::int64_t tile_rows(std::int64_t grid) {
  if (grid <= kTileRows) {
    return grid;
  }
  const std::int64_t n_tiles = (grid + kTileRows - 1) / kTileRows;
  return row_bucket((grid + n_tiles - 1) / n_tiles);
}

std::size_t out_bytes(Epilogue epilogue) {
  return epilogue == Epilogue::store || epilogue == Epilogue::swiglu ? sizeof(float) : sizeof(double);
}

}  // namespace

const DeviceMatrix& DeviceMatrix::of(const Matrix& matrix) {
  assert(dynamic_cast<const DeviceMatrix*>(&matrix) != nullptr);
  return static_cast<const DeviceMatrix&>(matrix);
}

std::int64_t DeviceProducts::grid_rows(std::int64_t rows) const {
  return std::max(queue_.grid_rows(rows), kept_rows_);
}

/// Float32 is the format for exactness: its sums are float64, and a row's do not depend on the batch.
bool DeviceProducts::small(DType dtype, std::int64_t rows) const {
  return dtype == DType::f32 || grid_rows(rows) <= kMostSmallRows;
}

void DeviceProducts::product(const DeviceMatrix& weight, std::span<const float> x, Epilogue epilogue,
                             void* out) {
  multiply({.a = weight}, x, epilogue, out);
}

std::size_t DeviceProducts::project(std::span<const Projection> projections, std::span<const float> x,
                                    const Angles& angles) {
  const DeviceMatrix& first = DeviceMatrix::of(*projections.front().weight);
  const std::int64_t rows = std::ssize(x) / first.cols();
  if (rows == 0 || !small(first.dtype(), rows)) {
    return 0;
  }
  ProjectArguments arguments{.x = x.data(),
                             .angles_stream = angles.stream.data(),
                             .angles_sink = angles.sink.data(),
                             .count = queue_.count(rows),
                             .head_dim = angles.head_dim};
  std::size_t n = 0;
  for (ProjectedMatrix& matrix : arguments.matrices) {
    if (n == projections.size() || DeviceMatrix::of(*projections[n].weight).dtype() != first.dtype()) {
      break;
    }
    const Projection& projection = projections[n++];
    matrix.weight = DeviceMatrix::of(*projection.weight).planes();
    matrix.out = projection.out.data();
    matrix.out_sink = projection.out_sink.empty() ? nullptr : projection.out_sink.data();
    matrix.rotated = projection.rotated ? 1 : 0;
  }
  queue_.issue(project_command(first.dtype(), queue_.grid_rows(rows), arguments));
  return n;
}

void DeviceProducts::swiglu(const DeviceMatrix& gate, const DeviceMatrix& up, std::span<const float> x,
                            float* out) {
  if (gate.dtype() == up.dtype()) {
    multiply({.a = gate, .b = &up}, x, Epilogue::swiglu, out);
    return;
  }
  const std::int64_t n = static_cast<std::int64_t>(x.size()) / gate.cols() * gate.rows();
  const std::int64_t room = n / gate.rows() == 0 ? 0 : queue_.grid_rows(n / gate.rows()) * gate.rows();
  auto* gates = gated_.reserve<double>(queue_, 2 * room);
  double* ups = gates + room;
  multiply({.a = gate}, x, Epilogue::store_double, gates);
  multiply({.a = up}, x, Epilogue::store_double, ups);
  queue_.issue(gate_command(queue_.grid_elements(n),
                            {.gate = gates, .up = ups, .out = out, .count = queue_.count(n)}));
}

void DeviceProducts::multiply(const Pair& weights, std::span<const float> x, Epilogue epilogue, void* out) {
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / weights.a.cols();
  assert(static_cast<std::int64_t>(x.size()) == rows * weights.a.cols());
  if (rows == 0) {
    return;
  }
  if (small(weights.a.dtype(), rows)) {
    small_product(weights, x.data(), rows, epilogue, out);
    return;
  }
  // A bucket outside a step, too: a bucket's rows are to come out alike.
  const std::int64_t grid = row_bucket(grid_rows(rows));
  const std::int64_t tile = tile_rows(grid);
  auto* to = static_cast<std::byte*>(out);
  for (std::int64_t first = 0; first < rows; first += tile) {
    large_product(weights, x.data() + first * weights.a.cols(),
                  {.n = std::min(tile, rows - first), .grid = tile, .two_parts = grid <= kTwoPartRows},
                  epilogue, to + static_cast<std::size_t>(first * weights.a.rows()) * out_bytes(epilogue));
  }
}

void DeviceProducts::small_product(const Pair& weights, const float* x, std::int64_t rows, Epilogue epilogue,
                                   void* out) {
  const SmallProductArguments arguments{.a = weights.a.planes(),
                                        .b = weights.b ? weights.b->planes() : Planes{},
                                        .x = x,
                                        .out = out,
                                        .count = queue_.count(rows),
                                        .epilogue = epilogue};
  queue_.issue(small_product_command(weights.a.dtype(), queue_.grid_rows(rows), arguments));
}

/// Up to kTileRows rows.
void DeviceProducts::large_product(const Pair& weights, const float* x, const TileRows& rows,
                                   Epilogue epilogue, std::byte* out) {
  const DeviceMatrix& a = weights.a;
  const std::int64_t grid = rows.grid;
  const std::int64_t depth = padded_cols(a);
  const std::int64_t gemm_rows = rows.two_parts ? 2 * grid : grid;
  auto* activations = activations_.reserve<std::uint16_t>(queue_, gemm_rows * depth);
  auto* factors = factors_.reserve<float>(queue_, grid);
  const Count count = queue_.count(rows.n);
  queue_.issue(activations_command(a.dtype() == DType::bf16, grid,
                                   {.x = x,
                                    .out = activations,
                                    .low = rows.two_parts ? activations + grid * depth : nullptr,
                                    .factors = factors,
                                    .count = count,
                                    .cols = static_cast<std::int32_t>(a.cols()),
                                    .padded_cols = static_cast<std::int32_t>(depth)}));
  const std::int64_t tile = std::min(tile_outputs(a), a.rows());
  auto* products = products_.reserve<float>(queue_, 2 * gemm_rows * tile);
  for (std::int64_t first = 0; first < a.rows(); first += tile) {
    const std::int64_t n = std::min(tile, a.rows() - first);
    tile_product(a, first, n, gemm_rows, activations, products);
    if (weights.b != nullptr) {
      tile_product(*weights.b, first, n, gemm_rows, activations, products + gemm_rows * tile);
    }
    queue_.issue(finish_command(grid, {.a = products,
                                       .b = products + gemm_rows * tile,
                                       .factors = factors,
                                       .out = out,
                                       .count = count,
                                       .low_offset = rows.two_parts ? grid * n : 0,
                                       .n_outputs = static_cast<std::int32_t>(n),
                                       .first_output = static_cast<std::int32_t>(first),
                                       .out_cols = static_cast<std::int32_t>(a.rows()),
                                       .epilogue = epilogue}));
  }
}

void DeviceProducts::tile_product(const DeviceMatrix& weight, std::int64_t first_output,
                                  std::int64_t n_outputs, std::int64_t rows, const std::uint16_t* x,
                                  float* out) {
  const std::int64_t depth = padded_cols(weight);
  const auto* numbers = reinterpret_cast<const std::uint16_t*>(weight.planes().numbers +
                                                               first_output * weight.planes().number_stride);
  if (is_quantised(weight.dtype())) {
    // As f16: a product of an 8-bit integer and its scale loses less there than in bf16.
    auto* dequantised = dequantised_.reserve<std::uint16_t>(queue_, tile_outputs(weight) * depth);
    queue_.issue(dequantise_command(weight.dtype(), n_outputs,
                                    {.matrix = weight.planes(),
                                     .out = dequantised,
                                     .first = static_cast<std::int32_t>(first_output),
                                     .padded_cols = static_cast<std::int32_t>(depth)}));
    numbers = dequantised;
  }
  queue_.issue(gemm_command({.weights = numbers,
                             .x = x,
                             .out = out,
                             .outputs = static_cast<std::int32_t>(n_outputs),
                             .rows = static_cast<std::int32_t>(rows),
                             .depth = static_cast<std::int32_t>(depth),
                             .bf16 = weight.dtype() == DType::bf16 ? 1 : 0}));
}

}  // namespace condensed::kernels::cuda
