#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace condensed::emulation {

/// A function that can stop in the middle, on a stack of its own. Nothing may be thrown out of it.
class Fiber {
 public:
  /// number: among many, so that their stacks do not begin at the same place of the processor's caches.
  explicit Fiber(std::size_t number);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Takes the function up; resume() begins it.
  void start(std::function<void()> run);
  /// Runs it until it pauses or ends.
  void resume();
  /// Called by the function itself.
  void pause();

 private:
  static constexpr std::size_t kStackBytes = 128 * 1024;

  static void enter();

  std::function<void()> run_;
  std::unique_ptr<std::byte[]> stack_;
  std::size_t usable_bytes_;
#if defined(__x86_64__)
  void* own_ = nullptr;
  void* caller_ = nullptr;
#else
  ucontext_t own_{};
  ucontext_t caller_{};
#endif
};

}  // namespace condensed::emulation
