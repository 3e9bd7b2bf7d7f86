#include "kernels/cuda/parameters.h"

#include <algorithm>
#include <cassert>

#include "kernels/cuda/checked.h"
#include "kernels/cuda/device_error.h"

namespace condensed::kernels::cuda {

namespace {
constexpr std::size_t kMostPieces = 4;  // outside a step: then the first is used anew
}

void Parameters::start_anew() {
  if (dirty_) {
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    dirty_ = false;
  }
  for (Piece& piece : pieces_) {
    piece.used = 0;
  }
  current_ = 0;
  ++generation_;
}

void Parameters::begin_step() {
  start_anew();
  in_step_ = true;
}

void Parameters::end_step() {
  in_step_ = false;
  start_anew();
}

Parameters::Piece& Parameters::piece_with(std::size_t bytes) {
  for (; current_ < pieces_.size(); ++current_) {
    if (pieces_[current_].bytes - pieces_[current_].used >= bytes) {
      return pieces_[current_];
    }
  }
  if (!in_step_ && pieces_.size() >= kMostPieces) {
    start_anew();
    const auto roomy = std::ranges::find_if(pieces_, [&](const Piece& p) { return p.bytes >= bytes; });
    if (roomy != pieces_.end()) {
      current_ = static_cast<std::size_t>(roomy - pieces_.begin());
      return *roomy;
    }
  }
  const std::size_t size = std::max(bytes, kPieceBytes);
  Piece piece{.host = allocate_pinned(size), .device = allocate_device(size), .bytes = size};
  if (!piece.device) {
    throw NoRoomError("the device has no room for " + bytes_in_words(size) +
                      " of parameters; allow fewer sessions, or end what else uses the device");
  }
  pieces_.push_back(std::move(piece));
  current_ = pieces_.size() - 1;
  return pieces_.back();
}

const std::byte* Parameters::place_bytes(std::span<const std::byte> values, std::size_t capacity) {
  assert(values.size() <= capacity);
  const std::size_t bytes = rounded(capacity);
  Piece& piece = piece_with(bytes);
  const std::size_t at = piece.used;
  piece.used += bytes;
  if (!values.empty()) {
    std::memcpy(piece.host.get() + at, values.data(), values.size());
    if (!in_step_) {
      dirty_ = true;
      check(cudaMemcpyAsync(piece.device.get() + at, piece.host.get() + at, values.size(),
                            cudaMemcpyHostToDevice, stream_),
            "cudaMemcpyAsync");
    }
  }
  return piece.device.get() + at;
}

std::vector<Parameters::Copy> Parameters::copies() const {
  std::vector<Copy> copies;
  for (const Piece& piece : pieces_) {
    if (piece.used > 0) {
      copies.push_back({.from = piece.host.get(), .to = piece.device.get(), .bytes = piece.used});
    }
  }
  return copies;
}

}  // namespace condensed::kernels::cuda
