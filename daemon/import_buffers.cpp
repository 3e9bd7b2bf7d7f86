#include "daemon/import_buffers.h"

#include <utility>

namespace condensed::daemon {

bool ImportBuffers::add(std::int64_t connection, std::span<const std::byte> part) {
  if (bytes_ + part.size() > limit_bytes_) {
    forget(connection);
    return false;
  }
  std::vector<std::byte>& parts = parts_[connection];
  parts.insert(parts.end(), part.begin(), part.end());
  bytes_ += part.size();
  return true;
}

std::size_t ImportBuffers::size(std::int64_t connection) const {
  const auto found = parts_.find(connection);
  return found == parts_.end() ? 0 : found->second.size();
}

std::vector<std::byte> ImportBuffers::take(std::int64_t connection) {
  const auto found = parts_.find(connection);
  if (found == parts_.end()) {
    return {};
  }
  std::vector<std::byte> bytes = std::move(found->second);
  bytes_ -= bytes.size();
  parts_.erase(found);
  return bytes;
}

}  // namespace condensed::daemon
