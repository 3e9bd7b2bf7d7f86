#pragma once

#include <cstdint>

#include "clients/cpp/client.h"

namespace condensed::client {

/// A request under way: the events that answer it are kept for it as long as this lives.
class Client::Pending {
 public:
  explicit Pending(Client& client) : client_(client), id_(client.next_id_++) { client_.pending_[id_]; }
  ~Pending() { client_.pending_.erase(id_); }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  std::int64_t id() const { return id_; }

 private:
  Client& client_;
  std::int64_t id_;
};

}  // namespace condensed::client
