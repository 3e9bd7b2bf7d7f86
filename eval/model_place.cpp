#include "eval/model_place.h"

#include <iostream>
#include <new>

#include "kernels/device_error.h"

namespace condensed::eval {

std::shared_ptr<engine::Model> make_model_on(const std::string& device, const std::string& kernels,
                                             const kernels::CudaSurvey& survey, const MakeModel& make) {
  const kernels::DeviceSetting setting = condensed::kernels::parse_device(device).value();
  if (setting.may_fall_back && kernels != "auto") {
    return make(kernels);
  }
  const kernels::DeviceChoice choice = condensed::kernels::choose_device(setting, survey);
  std::string why;
  try {
    return make(choice.backend_kind(kernels));
  } catch (const condensed::kernels::DeviceError& error) {
    why = error.what();
    if (!choice.device || !setting.may_fall_back) {
      throw;
    }
  } catch (const std::bad_alloc& error) {
    why = error.what();
    if (!choice.device || !setting.may_fall_back) {
      throw;
    }
  }
  std::cerr << "computing on the processor, not " << choice.reason << ": " << why << std::endl;
  return make(kernels);
}

}  // namespace condensed::eval
