#pragma once

#include <string>
#include <string_view>

namespace condensed::ctl {

/// A file that is there whole or not at all: written under a name of its own beside its place, which it takes
/// when it is complete. Readable for its owner only. Whatever goes wrong throws std::runtime_error with the
/// path, and leaves nothing behind.
class OutputFile {
 public:
  /// Refuses to take the place of anything but a file.
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view bytes);
  /// It is complete, and will be found after a power cut.
  void finish();

 private:
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
};

}  // namespace condensed::ctl
