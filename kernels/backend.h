#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernels/dtype.h"
#include "kernels/token_choice.h"

namespace condensed::kernels {

class Backend;

struct MemoryRelease {
  Backend* backend = nullptr;
  void operator()(std::byte* data) const noexcept;
};

/// A block of the backend's memory. The backend must outlive it.
using Memory = std::unique_ptr<std::byte[], MemoryRelease>;

/// A weight matrix [rows, cols] as it lies in the checkpoint: one stored row after another.
struct MatrixView {
  DType dtype = DType::f32;
  const std::byte* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  const std::byte* row(std::int64_t r) const { return data + r * row_bytes(dtype, cols); }
};

/// A weight matrix [rows, cols] in whatever layout a backend computes with. Only that backend looks inside.
class Matrix {
 public:
  Matrix(std::int64_t rows, std::int64_t cols) : rows_(rows), cols_(cols) {}
  virtual ~Matrix() = default;
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  /// What one pass over the matrix reads.
  virtual std::size_t bytes() const = 0;

 private:
  std::int64_t rows_;
  std::int64_t cols_;
};

/// Which of a query's two rotations matches a run of keys: window keys are rotated by their place in the
/// stream, sink keys by their place in the cache (see docs/design.md, "Two frames").
enum class Frame : std::uint8_t { stream, sink };

/// Cached tokens evenly spaced in memory. Head h of token j is the stored row of head_dim numbers at
/// `h * head_stride_bytes + j * token_stride_bytes` of `keys` and of `values`, aligned to 4 bytes (f32) or 2.
struct KvRun {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  std::int32_t n_tokens = 0;
  std::int32_t token_stride_bytes = 0;
  std::int32_t head_stride_bytes = 0;
  DType dtype = DType::f32;
  Frame frame = Frame::stream;

  bool operator==(const KvRun&) const = default;
};

/// The place of one token in a cache: head h is the stored row at `h * head_stride_bytes`.
struct KvSlot {
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  std::int32_t head_stride_bytes = 0;
  std::int32_t row = 0;  // of the keys and values that are stored there
};

/// What rotates rows of heads: [rows, head_dim] each, head_dim/2 cosines, then as many sines.
struct Angles {
  std::span<const float> stream;
  std::span<const float> sink;  // empty where no sink frame is asked for
  int head_dim = 0;
};

/// A product as it is, or rotated: by Angles::stream, and once more by Angles::sink where there is an
/// out_sink.
struct Projection {
  const Matrix* weight = nullptr;
  std::span<float> out;  // [rows, weight.rows]
  std::span<float> out_sink;
  bool rotated = false;
};

struct AttentionShape {
  int n_heads = 0;
  int n_kv_heads = 0;  // divides n_heads
  int head_dim = 0;    // even

  bool operator==(const AttentionShape&) const = default;
};

/// The arithmetic of the model on one device. Activations are float32, but for two that are float64: the
/// residual stream, where the roundings of all layers would add up, and what enters the gated product, which
/// amplifies them and never leaves the backend. Spans are the backend's own memory (see allocate()). A row's
/// result depends on that row alone, never on the batch around it; on devices that holds for float32 weights,
/// while with others a product's precision and order of sums follow from the number of rows of the call
/// (docs/cuda.md, "Kernels"). One thread calls at a time. Sizes are the caller's duty; shapes are asserted.
class Backend {
 public:
  Backend() = default;
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  virtual std::string_view name() const = 0;

  /// Zeroed, aligned to 64 bytes. Throws std::bad_alloc.
  virtual Memory allocate(std::size_t bytes) = 0;
  /// Sees to it that `bytes` in all can be allocated in small blocks from now on, however often they come and
  /// go. Returns for how many of them there is room. Throws std::bad_alloc if there is none.
  virtual std::size_t reserve(std::size_t bytes) { return bytes; }
  virtual void upload(std::span<const std::byte> host, std::span<std::byte> device) = 0;
  virtual void download(std::span<const std::byte> device, std::span<std::byte> host) = 0;

  /// `view` must stay valid as long as the matrix: a backend may compute on it in place.
  virtual std::unique_ptr<Matrix> load_matrix(const MatrixView& view) = 0;

  /// out[r] = table[tokens[r]]; out: [tokens, table.cols].
  virtual void embed(const Matrix& table, std::span<const std::int32_t> tokens, std::span<double> out) = 0;

  /// out[r] = x[r] / sqrt(mean(x[r]²) + epsilon) · weight; x, out: [rows, weight.size()].
  virtual void rms_norm(std::span<const double> x, std::span<const float> weight, float epsilon,
                        std::span<float> out) = 0;

  /// out = x · weightᵀ; x: [rows, weight.cols], out: [rows, weight.rows]. Float32 weights are summed in
  /// float64.
  virtual void matmul(const Matrix& weight, std::span<const float> x, std::span<float> out) = 0;

  /// out += x · weightᵀ
  virtual void matmul_add(const Matrix& weight, std::span<const float> x, std::span<double> out) = 0;

  /// Rotary embedding, rotate-half layout; x, out: [rows, n_heads, head_dim], may be the same memory.
  /// angles: [rows, head_dim]: head_dim/2 cosines, then as many sines.
  virtual void rotate(std::span<const float> x, std::span<const float> angles, int head_dim,
                      std::span<float> out) = 0;

  /// Products of the same x, [rows, weight.cols], rotated or as they are: what matmul() and rotate() give, at
  /// once where the backend can.
  virtual void project(std::span<const Projection> projections, std::span<const float> x,
                       const Angles& angles) {
    for (const Projection& projection : projections) {
      matmul(*projection.weight, x, projection.out);
      if (!projection.out_sink.empty()) {
        rotate(projection.out, angles.sink, angles.head_dim, projection.out_sink);
      }
      if (projection.rotated) {
        rotate(projection.out, angles.stream, angles.head_dim, projection.out);
      }
    }
  }

  /// Softmax attention, scaled by head_dim^-1/2, of each row over its own runs (none: a zero row).
  /// queries_stream, queries_sink, out: [rows, n_heads, head_dim]. Row r sees
  /// runs[run_begin[r] … run_begin[r + 1]); run_begin: [rows + 1].
  virtual void attend(const AttentionShape& shape, std::span<const float> queries_stream,
                      std::span<const float> queries_sink, std::span<const KvRun> runs,
                      std::span<const std::int32_t> run_begin, std::span<float> out) = 0;

  /// out = g · sigmoid(g) · u, element by element, with g = x · gateᵀ and u = x · upᵀ (SwiGLU,
  /// arXiv 2002.05202); if both matrices are quantised, in the same format. x: [rows, gate.cols], out: [rows,
  /// gate.rows].
  virtual void swiglu(const Matrix& gate, const Matrix& up, std::span<const float> x,
                      std::span<float> out) = 0;

  /// Writes each slot's row of keys and values, [rows, n_kv_heads, head_dim] both, there, converted to dtype.
  virtual void store_kv(std::span<const float> keys, std::span<const float> values, int n_kv_heads,
                        int head_dim, DType dtype, std::span<const KvSlot> slots) = 0;

  virtual void copy(std::span<const float> from, std::span<float> to) = 0;
  virtual void copy(std::span<const double> from, std::span<double> to) = 0;
  virtual void fill_zero(std::span<float> x) = 0;

  /// From here to end_step() the device may put off what it is asked for and do it at once. For steps that
  /// are alike but for numbers in memory, and run often: `rows` new tokens, one of each stream.
  virtual void begin_step(std::int64_t /*rows*/) {}
  /// All of it is done.
  virtual void end_step() {}
  /// Instead of end_step(), where an operation has thrown: what was put off is forgotten.
  virtual void abandon_step() noexcept {}
  /// Of a step in which something has thrown, until the next one begins: whether none of it was done.
  virtual bool step_untouched() const noexcept { return false; }

  /// Until keep_layout(0), products of fewer rows are computed as those of `rows` are, where the way depends
  /// on their number: for passes over rows that get fewer, and that are compared with each other.
  virtual void keep_layout(std::int64_t /*rows*/) noexcept {}

  /// How many steps that are alike run before one that shows what all later ones cost.
  virtual int warm_up_steps() const { return 0; }

  /// largest[0] = max(largest[0], max |a - b|); a NaN anywhere counts as infinity. Does not wait.
  virtual void raise_to_difference(std::span<const float> a, std::span<const float> b,
                                   std::span<float> largest) = 0;
  /// tokens[r] = what choose_token() gives for row r and choices[r], to the bit. logits: [rows, vocab], vocab
  /// at most 2^23; rows with another than a default choice may be overwritten. choices: the host's memory.
  virtual void choose_tokens(std::span<float> logits, std::span<const TokenChoice> choices,
                             std::span<std::int32_t> tokens) = 0;

  /// max |a - b|, 0 for empty spans; a NaN anywhere counts as infinity. Waits for the device.
  virtual float max_abs_difference(std::span<const float> a, std::span<const float> b) = 0;

 private:
  friend struct MemoryRelease;
  virtual void release(std::byte* data) noexcept = 0;
};

inline void MemoryRelease::operator()(std::byte* data) const noexcept {
  backend->release(data);
}

}  // namespace condensed::kernels
