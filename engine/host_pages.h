#pragma once

#include <cstddef>
#include <span>

namespace condensed::engine {

/// Zeroed host memory in huge pages where the system gives them: weights are read from end to end for every
/// token, and with small pages much of that time goes into looking up addresses.
class HostPages {
 public:
  /// Throws std::bad_alloc.
  explicit HostPages(std::size_t bytes);
  ~HostPages();
  HostPages(HostPages&& other) noexcept;
  HostPages& operator=(HostPages&& other) noexcept;
  HostPages(const HostPages&) = delete;
  HostPages& operator=(const HostPages&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace condensed::engine
