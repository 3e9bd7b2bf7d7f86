#include "daemon/base64.h"

#include <boost/archive/iterators/base64_from_binary.hpp>
#include <boost/archive/iterators/binary_from_base64.hpp>
#include <boost/archive/iterators/transform_width.hpp>

namespace condensed::daemon {

namespace iterators = boost::archive::iterators;

std::string to_base64(std::span<const std::byte> bytes) {
  using Encoder = iterators::base64_from_binary<iterators::transform_width<const char*, 6, 8>>;
  const char* data = reinterpret_cast<const char*>(bytes.data());
  std::string text(Encoder(data), Encoder(data + bytes.size()));
  return text.append((3 - bytes.size() % 3) % 3, '=');
}

std::optional<std::vector<std::byte>> from_base64(std::string_view text) {
  using Decoder = iterators::transform_width<iterators::binary_from_base64<std::string_view::iterator>, 8, 6>;
  const std::string_view digits = text.substr(0, text.find('='));  // the iterators take = for a digit
  const std::string_view padding = text.substr(digits.size());
  if (text.size() % 4 != 0 || padding.size() > 2 || padding.find_first_not_of('=') != padding.npos) {
    return std::nullopt;
  }
  std::vector<std::byte> bytes;
  bytes.reserve(digits.size() * 3 / 4);
  try {
    Decoder decoder(digits.begin());
    for (std::size_t n = digits.size() * 3 / 4; n > 0; --n) {
      bytes.push_back(static_cast<std::byte>(*decoder++));
    }
  } catch (const iterators::dataflow_exception&) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace condensed::daemon
