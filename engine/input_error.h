#pragma once

#include <stdexcept>

namespace condensed::engine {

/// Something given from outside (a checkpoint, a text, a setting) cannot be used. The message says what was
/// wrong, where, and what to do.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace condensed::engine
