#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace condensed::daemon {

/// The parts of exported sessions that connections have sent so far, bounded over all of them. Used on the
/// socket thread only.
class ImportBuffers {
 public:
  explicit ImportBuffers(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// The next part from a connection; false, and everything of that connection is dropped, if it is too much.
  bool add(std::int64_t connection, std::span<const std::byte> part);
  /// Bytes from the connection so far.
  std::size_t size(std::int64_t connection) const;
  /// All that the connection has sent.
  std::vector<std::byte> take(std::int64_t connection);
  void forget(std::int64_t connection) { take(connection); }

 private:
  std::size_t limit_bytes_;
  std::size_t bytes_ = 0;
  std::map<std::int64_t, std::vector<std::byte>> parts_;
};

}  // namespace condensed::daemon
