#include "clients/condensectl/output_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace condensed::ctl {

OutputFile::OutputFile(const std::string& path) : path_(path), temporary_(path + ".XXXXXX") {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw std::runtime_error(path + " is not a file; - is standard output");
  }
  descriptor_ = ::mkstemp(temporary_.data());
  if (descriptor_ < 0) {
    fail("cannot create");
  }
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    ::unlink(temporary_.c_str());
  }
}

void OutputFile::fail(const std::string& what) const {
  throw std::system_error(errno, std::generic_category(), what + " " + path_);
}

void OutputFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) {
      fail("cannot write");
    }
    bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  }
}

void OutputFile::finish() {
  if (::fsync(descriptor_) != 0) {
    fail("cannot write");
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    fail("cannot write");
  }
  ::close(std::exchange(descriptor_, -1));
}

}  // namespace condensed::ctl
