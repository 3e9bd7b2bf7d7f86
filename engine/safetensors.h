#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/dtype.h"

namespace condensed::engine {

/// The format's number types that weights are made of. Bytes hold stored rows of quantised weights.
enum class ElementType : std::uint8_t { f32, bf16, f16, u8 };

/// A tensor in a mapped file. `data` is little-endian, row-major, aligned as the file has it.
struct TensorView {
  std::string name;
  ElementType type = ElementType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
  std::filesystem::path file;
};

/// "[32, 64]"
std::string shape_text(std::span<const std::int64_t> shape);

/// A memory-mapped safetensors file (format: 8-byte little-endian header length, JSON header, data).
/// Every offset, shape and dtype of the header is checked before anything is used.
class SafetensorsFile {
 public:
  /// Throws InputError naming the file and the tensor.
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  /// Tensors of number formats that no weight may have, with the format's name: "I64".
  const std::map<std::string, std::string>& other_dtypes() const { return other_dtypes_; }

 private:
  void read_header();
  void unmap() noexcept;

  std::filesystem::path path_;
  std::span<const std::byte> mapping_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> other_dtypes_;
};

/// Writes one file holding `tensors` in order; each `data` must match its shape and type.
/// Throws InputError when the file cannot be written.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors);

}  // namespace condensed::engine
