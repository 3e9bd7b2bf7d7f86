#include "engine/sentencepiece_file.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "engine/input_error.h"

namespace condensed::engine {

namespace {

// Field numbers of sentencepiece_model.proto.
constexpr std::uint64_t kNormalizerSpec = 3;    // of ModelProto
constexpr std::uint64_t kDenormalizerSpec = 5;  // of ModelProto
constexpr std::uint64_t kCharacterMap = 2;      // of NormalizerSpec: precompiled_charsmap
constexpr std::uint64_t kAddDummyPrefix = 3;
constexpr std::uint64_t kRemoveExtraWhitespaces = 4;

/// Walks the fields of one protocol-buffer message.
class Fields {
 public:
  struct Field {
    std::uint64_t number = 0;
    std::uint64_t value = 0;  // of a varint
    std::string_view bytes;   // of a length-delimited field
  };

  Fields(const std::string& file, std::string_view message) : file_(file), rest_(message) {}

  std::optional<Field> next() {
    if (rest_.empty()) {
      return std::nullopt;
    }
    const std::uint64_t key = varint();
    Field field{.number = key >> 3};
    switch (key & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        fail();
    }
    return field;
  }

 private:
  [[noreturn]] void fail() const {
    throw InputError(file_ + ": is not a sentencepiece model, or is damaged " + std::to_string(rest_.size()) +
                     " bytes before the end of a message");
  }

  std::string_view take(std::uint64_t n) {
    if (n > rest_.size()) {
      fail();
    }
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) {
        return value;
      }
    }
    fail();
  }

  const std::string& file_;
  std::string_view rest_;
};

/// The units of a darts-clone double array, as far as a search follows them.
struct TrieUnit {
  std::uint32_t bits = 0;

  bool has_leaf() const { return (bits >> 8 & 1U) != 0; }
  std::uint32_t value() const { return bits & 0x7FFFFFFFU; }
  std::uint32_t label() const { return bits & 0x800000FFU; }
  std::uint32_t offset() const { return (bits >> 10) << ((bits & 0x200U) >> 6); }
};

/// Whether no text whatever leads a search out of the trie, or to a replacement outside of its table.
bool is_closed_trie(std::string_view trie, std::size_t n_replacement_bytes) {
  const std::size_t n_units = trie.size() / sizeof(TrieUnit);
  const auto unit = [&](std::size_t at) {
    TrieUnit out;
    std::memcpy(&out, trie.data() + at * sizeof(TrieUnit), sizeof(TrieUnit));  // unaligned in the file
    return out;
  };
  if (n_units == 0) {
    return false;
  }
  std::vector<bool> seen(n_units);
  std::vector<std::size_t> open{unit(0).offset()};  // where a node's 256 possible children are, by label
  while (!open.empty()) {
    const std::size_t children = open.back();
    open.pop_back();
    if ((children | 0xFFU) >= n_units) {
      return false;
    }
    if (seen[children]) {
      continue;
    }
    seen[children] = true;
    for (std::size_t label = 0; label < 256; ++label) {
      const TrieUnit child = unit(children ^ label);
      if (child.label() != label) {
        continue;
      }
      const std::size_t grandchildren = children ^ label ^ child.offset();
      if (grandchildren >= n_units ||
          (child.has_leaf() && unit(grandchildren).value() >= n_replacement_bytes)) {
        return false;
      }
      open.push_back(grandchildren);
    }
  }
  return true;
}

/// A character map: the trie's size in bytes (32 bits), the trie, the replacements, each ended by a zero.
void check_character_map(const std::string& file, std::string_view map) {
  std::uint32_t trie_bytes = 0;
  if (map.empty()) {
    return;
  }
  if (map.size() > sizeof(trie_bytes)) {
    std::memcpy(&trie_bytes, map.data(), sizeof(trie_bytes));
    map.remove_prefix(sizeof(trie_bytes));
    if (trie_bytes < map.size() && map.back() == '\0' &&
        is_closed_trie(map.substr(0, trie_bytes), map.size() - trie_bytes)) {
      return;
    }
  }
  throw InputError(file + ": its character map (precompiled_charsmap) is damaged; fetch the file again");
}

}  // namespace

SpaceRules check_sentencepiece_model(const std::string& file, std::string_view serialised) {
  SpaceRules rules;
  Fields model(file, serialised);
  while (const auto message = model.next()) {
    if (message->number != kNormalizerSpec && message->number != kDenormalizerSpec) {
      continue;
    }
    Fields spec(file, message->bytes);
    while (const auto field = spec.next()) {
      if (field->number == kCharacterMap) {
        check_character_map(file, field->bytes);
      } else if (message->number == kNormalizerSpec && field->number == kAddDummyPrefix) {
        rules.add_dummy_prefix = field->value != 0;
      } else if (message->number == kNormalizerSpec && field->number == kRemoveExtraWhitespaces) {
        rules.remove_extra_whitespaces = field->value != 0;
      }
    }
  }
  return rules;
}

}  // namespace condensed::engine
