// What of the client sends and receives sessions as files.

#include <optional>

#include "clients/cpp/base64.h"
#include "clients/cpp/pending.h"

namespace condensed::client {

namespace json = boost::json;

Client::Event Client::export_session(const std::string& session, const OnPart& on_part) {
  const Pending pending(*this);
  write({{"op", "export"}, {"session", session}}, pending.id());
  while (true) {
    Event event = next_answer(pending.id(), std::nullopt);
    if (event.at("event") != "chunk") {
      return event;
    }
    const std::optional<std::string> part = from_base64(std::string_view(event.at("data").as_string()));
    if (!part) {
      throw ConnectionLost("the daemon sent a part of a file that is not base64");
    }
    on_part(*part);
  }
}

Client::Event Client::import_session(const std::string& session, const NextPart& next_part) {
  json::object request{{"op", "import"}};
  if (!session.empty()) {
    request["session"] = session;
  }
  std::string part = next_part();
  while (true) {
    request["data"] = to_base64(part);
    part = part.empty() ? part : next_part();
    request["more"] = !part.empty();
    Event event = call(request);
    if (part.empty()) {
      return event;
    }
  }
}

}  // namespace condensed::client
