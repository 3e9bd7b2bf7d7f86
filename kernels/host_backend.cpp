#include "kernels/host_backend.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "kernels/stored_row.h"

namespace condensed::kernels {

namespace {
constexpr std::align_val_t kAlignment{64};
}

std::size_t HostMatrix::bytes() const {
  return static_cast<std::size_t>(rows() * row_bytes(view_.dtype, cols()));
}

const MatrixView& HostMatrix::view_of(const Matrix& matrix) {
  assert(dynamic_cast<const HostMatrix*>(&matrix) != nullptr);
  return static_cast<const HostMatrix&>(matrix).view();
}

Memory HostBackend::allocate(std::size_t bytes) {
  auto* data = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  std::memset(data, 0, bytes);
  return {data, MemoryRelease{this}};
}

void HostBackend::release(std::byte* data) noexcept {
  ::operator delete(data, kAlignment);
}

void HostBackend::upload(std::span<const std::byte> host, std::span<std::byte> device) {
  assert(host.size() == device.size());
  std::copy(host.begin(), host.end(), device.begin());
}

void HostBackend::download(std::span<const std::byte> device, std::span<std::byte> host) {
  upload(device, host);
}

std::unique_ptr<Matrix> HostBackend::load_matrix(const MatrixView& view) {
  assert(view.data != nullptr && view.rows > 0 && view.cols > 0);
  return std::make_unique<HostMatrix>(view);
}

void HostBackend::copy(std::span<const float> from, std::span<float> to) {
  assert(from.size() == to.size());
  std::ranges::copy(from, to.begin());
}

void HostBackend::copy(std::span<const double> from, std::span<double> to) {
  assert(from.size() == to.size());
  std::ranges::copy(from, to.begin());
}

void HostBackend::fill_zero(std::span<float> x) {
  std::ranges::fill(x, 0.0F);
}

void HostBackend::store_kv(std::span<const float> keys, std::span<const float> values, int n_kv_heads,
                           int head_dim, DType dtype, std::span<const KvSlot> slots) {
  assert(keys.size() == values.size());
  const auto size = static_cast<std::size_t>(head_dim);
  for (const KvSlot& slot : slots) {
    for (std::int64_t head = 0; head < n_kv_heads; ++head) {
      const auto from = static_cast<std::size_t>(slot.row * std::int64_t{n_kv_heads} + head) * size;
      const std::int64_t at = head * slot.head_stride_bytes;
      store_row(dtype, keys.subspan(from, size), slot.keys + at);
      store_row(dtype, values.subspan(from, size), slot.values + at);
    }
  }
}

void HostBackend::raise_to_difference(std::span<const float> a, std::span<const float> b,
                                      std::span<float> largest) {
  assert(largest.size() == 1);
  largest[0] = std::max(largest[0], max_abs_difference(a, b));
}

void HostBackend::choose_tokens(std::span<float> logits, std::span<const TokenChoice> choices,
                                std::span<std::int32_t> tokens) {
  assert(choices.size() == tokens.size() && (tokens.empty() || logits.size() % tokens.size() == 0));
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    const std::size_t vocab = logits.size() / tokens.size();
    tokens[r] = choose_token(logits.subspan(r * vocab, vocab), choices[r], choice_space_);
  }
}

float HostBackend::max_abs_difference(std::span<const float> a, std::span<const float> b) {
  assert(a.size() == b.size());
  float largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float difference = std::abs(a[i] - b[i]);
    largest = std::isnan(difference) ? std::numeric_limits<float>::infinity() : std::max(largest, difference);
  }
  return largest;
}

}  // namespace condensed::kernels
