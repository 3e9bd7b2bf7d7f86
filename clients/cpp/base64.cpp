#include "clients/cpp/base64.h"

#include <boost/archive/iterators/base64_from_binary.hpp>
#include <boost/archive/iterators/binary_from_base64.hpp>
#include <boost/archive/iterators/transform_width.hpp>

namespace condensed::client {

namespace iterators = boost::archive::iterators;

std::string to_base64(std::string_view bytes) {
  using Encoder = iterators::base64_from_binary<iterators::transform_width<const char*, 6, 8>>;
  std::string text(Encoder(bytes.data()), Encoder(bytes.data() + bytes.size()));
  return text.append((3 - bytes.size() % 3) % 3, '=');
}

std::optional<std::string> from_base64(std::string_view text) {
  using Decoder = iterators::transform_width<iterators::binary_from_base64<std::string_view::iterator>, 8, 6>;
  const std::string_view digits = text.substr(0, text.find('='));  // the iterators take = for a digit
  const std::string_view padding = text.substr(digits.size());
  if (text.size() % 4 != 0 || padding.size() > 2 || padding.find_first_not_of('=') != padding.npos) {
    return std::nullopt;
  }
  std::string bytes;
  bytes.reserve(digits.size() * 3 / 4);
  try {
    Decoder decoder(digits.begin());
    for (std::size_t n = digits.size() * 3 / 4; n > 0; --n) {
      bytes.push_back(*decoder++);
    }
  } catch (const iterators::dataflow_exception&) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace condensed::client
