#include "engine/safetensors.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <unistd.h>
#include <utility>

#include <sys/mman.h>
#include <sys/stat.h>

#include "engine/input_error.h"
#include "engine/json_value.h"

namespace condensed::engine {

namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& message) {
  throw InputError(file.string() + ": " + message);
}

std::span<const std::byte> map_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    fail(path, std::string("cannot be opened: ") + std::strerror(errno));
  }
  struct stat status {};
  const bool known = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = known ? static_cast<std::size_t>(status.st_size) : 0;
  void* mapping = size > 0 ? ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0) : nullptr;
  const int error = errno;
  ::close(descriptor);
  if (!known) {
    fail(path, "is not a regular file");
  }
  if (mapping == MAP_FAILED) {
    fail(path, std::string("cannot be mapped: ") + std::strerror(error));
  }
  return {static_cast<const std::byte*>(mapping), size};
}

struct ElementTypeInfo {
  std::string_view name;
  ElementType type;
  std::int64_t bytes;
};
constexpr ElementTypeInfo kElementTypes[] = {{"F32", ElementType::f32, 4},
                                             {"BF16", ElementType::bf16, 2},
                                             {"F16", ElementType::f16, 2},
                                             {"U8", ElementType::u8, 1}};

std::optional<ElementTypeInfo> element_type_named(std::string_view name) {
  for (const ElementTypeInfo& info : kElementTypes) {
    if (info.name == name) {
      return info;
    }
  }
  return std::nullopt;
}

std::string_view name_of(ElementType type) {
  return kElementTypes[static_cast<std::size_t>(type)].name;
}

/// The header's entry for one tensor, as far as it concerns that tensor alone.
class HeaderEntry {
 public:
  HeaderEntry(const std::filesystem::path& file, std::string_view tensor, const JsonValue& value)
      : file_(file), tensor_(tensor) {
    if (value.if_object() == nullptr) {
      fail("its header entry is not an object");
    }
    entry_ = value.if_object();
  }

  [[noreturn]] void fail(const std::string& message) const {
    engine::fail(file_, "tensor " + std::string(tensor_) + ": " + message);
  }

  std::string_view dtype() const {
    const JsonValue* value = entry_->find("dtype");
    if (value == nullptr || value->if_string() == nullptr) {
      fail("has no dtype string");
    }
    return *value->if_string();
  }

  std::vector<std::int64_t> numbers(std::string_view key) const {
    const JsonValue* value = entry_->find(key);
    if (value == nullptr || value->if_array() == nullptr) {
      fail("has no list " + std::string(key));
    }
    std::vector<std::int64_t> out;
    for (const JsonValue& item : *value->if_array()) {
      const std::int64_t* number = item.if_integer();
      if (number == nullptr || *number < 0) {
        fail(std::string(key) + " holds " + item.text() + ", expected whole numbers from 0");
      }
      out.push_back(*number);
    }
    return out;
  }

 private:
  const std::filesystem::path& file_;
  std::string_view tensor_;
  const JsonObject* entry_ = nullptr;
};

/// Bytes of a tensor; nullopt when that does not fit 63 bits.
std::optional<std::int64_t> byte_size(std::span<const std::int64_t> shape, std::int64_t element_bytes) {
  std::int64_t size = element_bytes;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(size, dim, &size)) {
      return std::nullopt;
    }
  }
  return size;
}

JsonObject parse_header(const std::filesystem::path& path, std::span<const std::byte> file) {
  if (file.size() < kLengthBytes) {
    fail(path, "is truncated: " + std::to_string(file.size()) +
                   " bytes, expected a safetensors file of at least 8; copy it again");
  }
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    fail(path, "header length " + std::to_string(header_bytes) + " exceeds " +
                   std::to_string(kMaxHeaderBytes) + ": this is not a safetensors file");
  }
  if (header_bytes > file.size() - kLengthBytes) {
    fail(path, "is truncated: the header takes " + std::to_string(header_bytes) + " bytes, the file holds " +
                   std::to_string(file.size() - kLengthBytes) + " after its length; copy it again");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, header_bytes);
  try {
    const JsonValue header = parse_json(text);
    if (const JsonObject* object = header.if_object()) {
      return *object;
    }
  } catch (const JsonError& error) {
    fail(path, std::string("the header is not valid JSON: ") + error.what());
  }
  fail(path, "the header is not a JSON object");
}

/// No two tensors may share bytes.
void check_overlaps(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors) {
  std::vector<const TensorView*> by_offset;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.data.empty()) {
      by_offset.push_back(&tensor);
    }
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const TensorView* a, const TensorView* b) { return a->data.data() < b->data.data(); });
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    if (by_offset[i - 1]->data.data() + by_offset[i - 1]->data.size() > by_offset[i]->data.data()) {
      fail(path, "tensor " + by_offset[i]->name + ": its data overlaps that of " + by_offset[i - 1]->name);
    }
  }
}

}  // namespace

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return out + "]";
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), mapping_(map_file(path)) {
  try {
    read_header();
  } catch (...) {
    unmap();
    throw;
  }
}

void SafetensorsFile::read_header() {
  const JsonObject header = parse_header(path_, mapping_);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, mapping_.data(), kLengthBytes);
  const std::span<const std::byte> data = mapping_.subspan(kLengthBytes + header_bytes);

  for (const auto& [key, value] : header.members()) {
    if (key == "__metadata__") {
      continue;
    }
    const HeaderEntry entry(path_, key, value);
    const std::string_view dtype_name = entry.dtype();
    const std::vector<std::int64_t> shape = entry.numbers("shape");
    const std::vector<std::int64_t> offsets = entry.numbers("data_offsets");
    if (offsets.size() != 2 || offsets[0] > offsets[1]) {
      entry.fail("data_offsets must be [begin, end] with begin at most end");
    }
    if (static_cast<std::uint64_t>(offsets[1]) > data.size()) {
      entry.fail("its data ends at byte " + std::to_string(offsets[1]) + ", but the file holds " +
                 std::to_string(data.size()) + " bytes of data: it is truncated; copy it again");
    }
    const std::optional<ElementTypeInfo> type = element_type_named(dtype_name);
    if (!type) {
      other_dtypes_.emplace(key, std::string(dtype_name));
      continue;
    }
    const std::optional<std::int64_t> size = byte_size(shape, type->bytes);
    if (size != offsets[1] - offsets[0]) {
      entry.fail(std::string(dtype_name) + " " + shape_text(shape) + " needs " +
                 (size ? std::to_string(*size) : std::string("far too many")) + " bytes, data_offsets give " +
                 std::to_string(offsets[1] - offsets[0]));
    }
    tensors_.emplace(key, TensorView{.name = key,
                                     .type = type->type,
                                     .shape = shape,
                                     .data = data.subspan(static_cast<std::size_t>(offsets[0]),
                                                          static_cast<std::size_t>(offsets[1] - offsets[0])),
                                     .file = path_});
  }
  check_overlaps(path_, tensors_);
}

void SafetensorsFile::unmap() noexcept {
  if (!mapping_.empty()) {
    ::munmap(const_cast<std::byte*>(mapping_.data()), mapping_.size());
    mapping_ = {};
  }
}

SafetensorsFile::~SafetensorsFile() {
  unmap();
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      mapping_(std::exchange(other.mapping_, {})),
      tensors_(std::move(other.tensors_)),
      other_dtypes_(std::move(other.other_dtypes_)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  if (this != &other) {
    unmap();
    path_ = std::move(other.path_);
    mapping_ = std::exchange(other.mapping_, {});
    tensors_ = std::move(other.tensors_);
    other_dtypes_ = std::move(other.other_dtypes_);
  }
  return *this;
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors) {
  JsonObject header;
  std::size_t end = 0;
  for (const TensorView& tensor : tensors) {
    const std::size_t begin = end;
    end += tensor.data.size();
    header.set(tensor.name, JsonObject{{"dtype", name_of(tensor.type)},
                                       {"shape", JsonArray(tensor.shape.begin(), tensor.shape.end())},
                                       {"data_offsets", JsonArray{begin, end}}});
  }
  std::string text = JsonValue(header).text();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins aligned
  const std::uint64_t header_bytes = text.size();

  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes));
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const TensorView& tensor : tensors) {
    file.write(reinterpret_cast<const char*>(tensor.data.data()),
               static_cast<std::streamsize>(tensor.data.size()));
  }
  file.close();
  if (!file) {
    fail(path, std::string("cannot be written: ") + std::strerror(errno));
  }
}

}  // namespace condensed::engine
