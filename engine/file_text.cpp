#include "engine/file_text.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "engine/input_error.h"

namespace condensed::engine {

std::string file_text(const std::filesystem::path& path, std::string_view remedy) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file && !std::filesystem::is_directory(path)) {
    text.assign(std::istreambuf_iterator<char>(file), {});
  } else {
    errno = file ? EISDIR : errno;
    file.setstate(std::ios::badbit);
  }
  if (file.bad()) {
    const std::string reason = errno != 0 ? std::strerror(errno) : "reading it failed";
    throw InputError(path.string() + ": cannot be read: " + reason + std::string(remedy));
  }
  return text;
}

}  // namespace condensed::engine
