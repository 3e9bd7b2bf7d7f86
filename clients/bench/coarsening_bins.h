#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace condensed::bench {

/// Bins of equal width along an axis whose length nobody knows beforehand. When more of them are in use than
/// may be, their width doubles and neighbours are merged: memory stays bounded however long a run is.
/// Contents are copies of `empty` to begin with and need merge(const Content&).
template <typename Content>
class CoarseningBins {
 public:
  /// width and max_bins ≥ 1.
  CoarseningBins(std::int64_t width, std::size_t max_bins, Content empty)
      : width_(width), max_bins_(max_bins), empty_(std::move(empty)) {}

  /// The content of the bin that a coordinate ≥ 0 lies in. Good until the next call.
  Content& at(std::int64_t coordinate) {
    if (latest_ == nullptr || coordinate < latest_from_ || coordinate - latest_from_ >= width_) {
      find(coordinate);
    }
    return *latest_;
  }

  std::int64_t width() const { return width_; }
  /// By index: bin i reaches from i * width() to below (i + 1) * width(). Those nobody asked for are absent.
  const std::map<std::int64_t, Content>& bins() const { return bins_; }

 private:
  void find(std::int64_t coordinate) {
    while (!bins_.contains(coordinate / width_) && bins_.size() >= max_bins_) {
      coarsen();
    }
    latest_from_ = coordinate / width_ * width_;
    latest_ = &bins_.try_emplace(coordinate / width_, empty_).first->second;
  }

  void coarsen() {
    std::map<std::int64_t, Content> wider;
    for (auto& [index, content] : bins_) {
      if (const auto [bin, is_new] = wider.try_emplace(index / 2, std::move(content)); !is_new) {
        bin->second.merge(content);
      }
    }
    bins_ = std::move(wider);
    width_ *= 2;
  }

  std::int64_t width_;
  std::size_t max_bins_;
  Content empty_;
  std::map<std::int64_t, Content> bins_;
  Content* latest_ = nullptr;
  std::int64_t latest_from_ = 0;
};

}  // namespace condensed::bench
