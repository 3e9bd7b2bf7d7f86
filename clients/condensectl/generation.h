#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "clients/condensectl/commands.h"

namespace condensed::ctl {

/// The session a command uses: found, or opened. One that was opened without a name is closed at the end,
/// whichever way the command ends, unless it is to be kept.
class SessionUse {
 public:
  SessionUse(client::Client& client, const SessionFlags& flags);
  ~SessionUse();
  SessionUse(const SessionUse&) = delete;
  SessionUse& operator=(const SessionUse&) = delete;

  const std::string& name() const { return name_; }

 private:
  client::Client& client_;
  std::string name_;
  bool temporary_;
};

/// The `generate` request for a session. Throws std::invalid_argument for a logit bias that is no ID=X.
boost::json::object generate_request(const std::string& session, const GenerateFlags& flags);

/// Adds text to a session, in as many appends as its length needs. Returns the stream's position.
std::int64_t append_text(client::Client& client, const std::string& session, std::string_view text);
/// The same with standard input, which may be longer than memory.
std::int64_t append_input(Context& context, const std::string& session);

struct Generated {
  client::Client::Event done;
  bool interrupted = false;
};

/// Runs one generation and prints its text as it comes. A signal cancels it and leaves the session; so does
/// output that nobody reads.
Generated print_generation(Context& context, const std::string& session, const GenerateFlags& flags);

}  // namespace condensed::ctl
