#include "clients/bench/stalls.h"

#include <algorithm>
#include <utility>

namespace condensed::bench {

namespace {
bool longer(const Stall& a, const Stall& b) {
  return a.latency > b.latency;
}
}  // namespace

void Stalls::add(Stall stall) {
  ++count_;
  if (longest_.size() == kMaxListed) {
    if (!longer(stall, longest_.front())) {
      return;
    }
    std::pop_heap(longest_.begin(), longest_.end(), longer);
    longest_.pop_back();
  }
  longest_.push_back(std::move(stall));
  std::push_heap(longest_.begin(), longest_.end(), longer);
}

std::vector<Stall> Stalls::listed() const {
  std::vector<Stall> out = longest_;
  std::stable_sort(out.begin(), out.end(),
                   [](const Stall& a, const Stall& b) { return a.after_start < b.after_start; });
  return out;
}

}  // namespace condensed::bench
