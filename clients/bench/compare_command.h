#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace condensed::bench {

/// `condensectl bench compare`: needs no daemon.
class CompareCommand {
 public:
  /// Adds it to `bench`; `chosen` runs when it was given.
  void add_to(CLI::App& bench, const std::function<void()>& chosen);

  /// Compares the files. Returns the exit code; throws std::runtime_error for files that cannot be read,
  /// compared or written.
  int run(bool as_json) const;

 private:
  std::vector<std::string> files_;
  std::string json_path_;
  std::string html_path_;
};

}  // namespace condensed::bench
