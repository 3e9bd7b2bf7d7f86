#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace condensed::daemon {

/// The listening sockets that a service manager passed to this process (sd_listen_fds(3)), by the names of
/// their units. Closes at the end what nobody has taken.
class InheritedSockets {
 public:
  /// The socket that speaks the protocol; also a single one without a name.
  static constexpr std::string_view kProtocol = "condensed.socket";
  /// The one that answers HTTP's GET /metrics.
  static constexpr std::string_view kMetrics = "condensed-metrics.socket";

  /// Nothing inherited.
  InheritedSockets() = default;
  /// Descriptors that are listening Unix stream sockets, with their names. Closes them and throws InputError,
  /// naming the first that is something else, when any is or two have the same name.
  explicit InheritedSockets(std::vector<std::pair<int, std::string>> descriptors);
  ~InheritedSockets();
  InheritedSockets(InheritedSockets&& other) noexcept;
  InheritedSockets& operator=(InheritedSockets&&) = delete;
  InheritedSockets(const InheritedSockets&) = delete;
  InheritedSockets& operator=(const InheritedSockets&) = delete;

  /// What this process was started with; forgets it, so that no child takes it for its own. Changes the
  /// environment: call it before there are other threads. Throws as the constructor does.
  static InheritedSockets from_environment();

  /// The descriptor of that name; the caller owns it from now on.
  std::optional<int> take(std::string_view name);
  /// Those that nobody has taken.
  std::vector<std::string> names() const;

 private:
  std::map<std::string, int, std::less<>> sockets_;
};

}  // namespace condensed::daemon
