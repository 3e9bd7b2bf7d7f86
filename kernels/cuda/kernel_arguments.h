#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/token_mass.h"

/// What the device's kernels take: each one structure, by value. Their bytes are compared to see whether a
/// captured step may run again, so none has padding.
namespace condensed::kernels::cuda {

constexpr int kWarp = 32;

/// How many rows (or elements) there are: in the device's memory for a step that is captured, so that one
/// graph serves every number up to its grid; known at the launch otherwise.
struct Count {
  const std::int64_t* at = nullptr;
  std::int64_t known = 0;
};

/// A weight matrix [rows, cols] as the device reads it: the parts of its stored rows (kernels/dtype.h) each
/// in a plane of their own, rows of numbers padded with zeros to whole 16-byte vectors.
struct Planes {
  const std::byte* numbers = nullptr;
  const std::byte* factors = nullptr;  // q4: a byte for 32 numbers, rows padded to 4 bytes
  const std::byte* scales = nullptr;   // q8, q4: f16
  std::int64_t number_stride = 0;      // bytes from row to row
  std::int32_t factor_stride = 0;
  std::int32_t scale_stride = 0;
  std::int32_t rows = 0;
  std::int32_t cols = 0;
};

/// What becomes of a product.
enum class Epilogue : std::int32_t {
  store,         // out: float
  store_double,  // out: double
  add,           // out: double, added to
  swiglu,        // out: float; a is the gate, b what it gates
};

/// out[r, o] = x[r] · a[o]; x: [count, a.cols], out: [count, a.rows].
struct SmallProductArguments {
  Planes a;
  Planes b;  // swiglu only
  const float* x = nullptr;
  void* out = nullptr;
  Count count;
  Epilogue epilogue = Epilogue::store;
  std::int32_t row_blocks = 1;  // how many blocks share the same weights
};

/// One of the matrices of a launch.
struct ProjectedMatrix {
  Planes weight;
  float* out = nullptr;                     // [count, weight.rows]
  float* out_sink = nullptr;                // as out, rotated by angles_sink; null: not asked for
  std::uint32_t first_block = 0xffffffffU;  // of those that compute it; as it is, there is no such matrix
  std::int32_t rotated = 0;                 // out by angles_stream
};

/// out[r, o] = x[r] · weight[o] for each matrix; x: [count, cols], angles: [count, head_dim].
struct ProjectArguments {
  static constexpr int kMost = 3;
  ProjectedMatrix matrices[kMost];
  const float* x = nullptr;
  const float* angles_stream = nullptr;
  const float* angles_sink = nullptr;
  Count count;
  std::int32_t head_dim = 0;
  std::int32_t row_blocks = 1;  // how many blocks share the same weights
};

/// Rows of x as 16-bit numbers, padded with zeros to padded_cols and to the grid's rows.
struct ActivationsArguments {
  const float* x = nullptr;
  std::uint16_t* out = nullptr;  // [grid, padded_cols]
  std::uint16_t* low = nullptr;  // [grid, padded_cols]: what out lost by rounding; null: that is lost
  float* factors = nullptr;      // [grid]: what the products of a row are to be multiplied by
  Count count;
  std::int32_t cols = 0;
  std::int32_t padded_cols = 0;
};

/// Rows first … first + grid of a quantised matrix as f16, padded with zeros to padded_cols.
struct DequantiseArguments {
  Planes matrix;
  std::uint16_t* out = nullptr;
  std::int32_t first = 0;
  std::int32_t padded_cols = 0;
};

/// What a product of large matrices left in `a` (and `b`), [rows, n_outputs], goes to columns first_output …
/// of out, [count, out_cols]. Products of what rounding lost stand low_offset numbers further; 0: there are
/// none.
struct FinishArguments {
  const float* a = nullptr;
  const float* b = nullptr;
  const float* factors = nullptr;
  void* out = nullptr;
  Count count;
  std::int64_t low_offset = 0;
  std::int32_t n_outputs = 0;
  std::int32_t first_output = 0;
  std::int32_t out_cols = 0;
  Epilogue epilogue = Epilogue::store;
};

/// out = g · sigmoid(g) · u
struct GateArguments {
  const double* gate = nullptr;
  const double* up = nullptr;
  float* out = nullptr;
  Count count;  // elements
};

struct RmsNormArguments {
  const double* x = nullptr;
  const float* weight = nullptr;
  float* out = nullptr;
  Count count;
  std::int32_t cols = 0;
  float epsilon = 0;
};

struct RotateArguments {
  const float* x = nullptr;
  const float* angles = nullptr;
  float* out = nullptr;
  Count count;
  std::int32_t row_size = 0;
  std::int32_t head_dim = 0;
};

struct EmbedArguments {
  Planes table;
  const std::int32_t* tokens = nullptr;
  double* out = nullptr;
  Count count;
  DType dtype = DType::f32;
  std::uint8_t unused[7] = {};
};

/// Words of 4 bytes.
struct CopyArguments {
  const std::uint32_t* from = nullptr;
  std::uint32_t* to = nullptr;
  Count count;
};

struct FillZeroArguments {
  float* to = nullptr;
  Count count;
};

/// *largest = max(*largest, max |a - b|) as the bits of a float, NaN as infinity.
struct DifferenceArguments {
  const float* a = nullptr;
  const float* b = nullptr;
  unsigned* largest = nullptr;
  Count count;
};

/// A place of a token in a cache.
struct StoredSlot {
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  std::int32_t head_stride_bytes = 0;
  std::int32_t row = 0;  // of the keys and values that are stored there
};

struct StoreKvArguments {
  const float* keys = nullptr;
  const float* values = nullptr;
  const StoredSlot* slots = nullptr;
  Count count;
  std::int32_t n_kv_heads = 0;
  std::int32_t head_dim = 0;
  DType dtype = DType::f32;
  std::uint8_t unused[7] = {};
};

/// A piece of a run of cached tokens (KvRun) that belongs to one item of work.
struct Segment {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  std::int32_t n_tokens = 0;
  std::int32_t token_stride_bytes = 0;
  std::int32_t head_stride_bytes = 0;
  DType dtype = DType::f32;
  std::uint8_t of_sinks = 0;  // the query's frame
  std::uint8_t vectors = 0;   // eight numbers may be read at once, wherever they begin
  std::uint8_t unused = 0;
};

/// A row's chunk of tokens: what one block reads for one head of keys.
struct AttentionItem {
  std::int32_t row = 0;
  std::int32_t first_segment = 0;
  std::int32_t n_segments = 0;
  std::int32_t n_tokens = 0;
};

struct AttendArguments {
  const float* queries_stream = nullptr;
  const float* queries_sink = nullptr;
  const AttentionItem* items = nullptr;
  const Segment* segments = nullptr;
  const std::int32_t* item_begin = nullptr;  // [rows + 1]
  float* out = nullptr;                      // [rows, n_heads, head_dim]
  unsigned* arrived = nullptr;  // [rows, n_kv_heads, groups of query heads]: zeros, before and after
  float* sums = nullptr;        // [items, n_heads, head_dim]: sum of exp(score - highest) · value
  float* shares = nullptr;      // [items, n_heads, 2]: the highest score, the sum of exp(score - highest)
  Count count;                  // items
  std::int32_t n_heads = 0;
  std::int32_t n_kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t max_tokens = 0;  // of an item: what shared memory is laid out for
};

/// How the token of a row is chosen (TokenChoice).
struct ChoiceRow {
  double inverse_temperature = 0;  // 0: the likeliest
  double top_p = 1;
  std::uint64_t least_mass = 0;
  std::uint64_t random = 0;
  Penalties penalties;
  std::int32_t top_k = 0;
  std::int32_t first_adjustment = 0;
  std::int32_t n_adjustments = 0;
};

/// out[r] = the token that rows[r] chooses from row r of logits, which is changed where it has adjustments.
struct ChooseArguments {
  float* logits = nullptr;
  const ChoiceRow* rows = nullptr;
  const LogitAdjustment* adjustments = nullptr;
  std::int32_t* out = nullptr;
  Count count;
  std::int64_t cols = 0;
};

}  // namespace condensed::kernels::cuda
