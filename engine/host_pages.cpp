#include "engine/host_pages.h"

#include <new>
#include <utility>

#include <sys/mman.h>

namespace condensed::engine {

HostPages::HostPages(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::bad_alloc();
  }
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: without it everything works, only slower
  bytes_ = {static_cast<std::byte*>(memory), bytes};
}

HostPages::~HostPages() {
  if (!bytes_.empty()) {
    ::munmap(bytes_.data(), bytes_.size());
  }
}

HostPages::HostPages(HostPages&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

HostPages& HostPages::operator=(HostPages&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace condensed::engine
