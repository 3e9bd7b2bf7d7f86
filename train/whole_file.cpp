#include "train/whole_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <unistd.h>

#include "engine/input_error.h"

namespace condensed::train {

namespace fs = std::filesystem;

namespace {

void synchronise(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) {
    ::close(descriptor);
  }
  if (!done) {
    throw engine::InputError(path.string() + ": cannot be written to disk: " + std::strerror(error));
  }
}

}  // namespace

void replace_file(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  const fs::path beside = path.string() + ".part";
  std::ofstream file(beside, std::ios::binary | std::ios::trunc);
  write(file);
  file.close();
  if (!file) {
    const int error = errno;
    std::error_code ignored;
    fs::remove(beside, ignored);
    throw engine::InputError(path.string() + ": cannot be written: " + std::strerror(error));
  }
  move_into_place(beside, path);
}

void replace_file(const fs::path& path, std::string_view content) {
  replace_file(path, [content](std::ostream& file) { file << content; });
}

void move_into_place(const fs::path& written, const fs::path& path) {
  synchronise(written);
  std::error_code error;
  fs::rename(written, path, error);
  if (error) {
    throw engine::InputError(path.string() + ": cannot be replaced: " + error.message());
  }
  synchronise(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

}  // namespace condensed::train
