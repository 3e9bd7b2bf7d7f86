#include "train/token_file.h"

#include <cstring>

#include "engine/input_error.h"

namespace condensed::train {

namespace {

constexpr const char* kTensor = "tokens";
constexpr int kShortIds = 1 << 16;

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path, int vocab_size) : file_(path) {
  const auto& tensors = file_.tensors();
  const auto found = tensors.find(kTensor);
  const auto fits = [](const engine::TensorView& tensor) {
    return tensor.type == engine::ElementType::u8 && tensor.shape.size() == 2 && tensor.shape[0] > 0 &&
           (tensor.shape[1] == 2 || tensor.shape[1] == 4);
  };
  if (found == tensors.end() || !fits(found->second)) {
    throw engine::InputError(
        path.string() +
        ": expected a U8 tensor \"tokens\" of shape [n, 2] or [n, 4]; make such a file with "
        "condensed-train prepare");
  }
  data_ = found->second.data;
  size_ = found->second.shape[0];
  bytes_per_token_ = found->second.shape[1];
  for (std::int64_t i = 0; i < size_; ++i) {
    if (const std::int64_t token = (*this)[i]; token < 0 || token >= vocab_size) {
      throw engine::InputError(path.string() + ": token " + std::to_string(i) + " is " +
                               std::to_string(token) + ", and the model's vocabulary has " +
                               std::to_string(vocab_size) +
                               "; prepare the text with the model's own tokenizer");
    }
  }
}

std::int64_t TokenFile::operator[](std::int64_t index) const {
  const std::byte* const at = data_.data() + index * bytes_per_token_;
  if (bytes_per_token_ == 2) {
    std::uint16_t token = 0;
    std::memcpy(&token, at, sizeof(token));
    return token;
  }
  std::int32_t token = 0;
  std::memcpy(&token, at, sizeof(token));
  return token;
}

void write_token_file(const std::filesystem::path& path, std::span<const std::int32_t> tokens,
                      int vocab_size) {
  std::vector<std::uint16_t> short_ids;
  std::span<const std::byte> data = std::as_bytes(tokens);
  if (vocab_size <= kShortIds) {
    short_ids.assign(tokens.begin(), tokens.end());
    data = std::as_bytes(std::span(short_ids));
  }
  const auto n = static_cast<std::int64_t>(tokens.size());
  const engine::TensorView tensor{.name = kTensor,
                                  .type = engine::ElementType::u8,
                                  .shape = {n, static_cast<std::int64_t>(data.size()) / n},
                                  .data = data,
                                  .file = {}};
  engine::write_safetensors(path, std::span(&tensor, 1));
}

}  // namespace condensed::train
