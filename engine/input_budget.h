#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace condensed::engine {

/// How many bytes of input may wait in the whole engine, wherever they wait: in its queue of commands or on a
/// session. Any thread may use it. The budget must outlive its shares.
class InputBudget {
 public:
  /// Bytes taken out of the budget, until release() or the end of this.
  class Share {
   public:
    Share(InputBudget& budget, std::size_t bytes) : budget_(budget), bytes_(bytes) {}
    ~Share() { release(); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    void release() { budget_.used_bytes_ -= std::exchange(bytes_, 0); }

   private:
    InputBudget& budget_;
    std::size_t bytes_;
  };

  explicit InputBudget(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// Null when that much is not left.
  std::shared_ptr<Share> take(std::size_t bytes) {
    std::size_t used = used_bytes_.load();
    do {
      if (bytes > limit_bytes_ || used > limit_bytes_ - bytes) {
        return nullptr;
      }
    } while (!used_bytes_.compare_exchange_weak(used, used + bytes));
    return std::make_shared<Share>(*this, bytes);
  }

  std::size_t limit_bytes() const { return limit_bytes_; }
  std::size_t used_bytes() const { return used_bytes_; }

 private:
  std::size_t limit_bytes_;
  std::atomic<std::size_t> used_bytes_ = 0;
};

}  // namespace condensed::engine
