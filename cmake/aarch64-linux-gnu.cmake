# Compiles for AArch64 on another machine with Debian's g++-aarch64-linux-gnu, and runs what it compiled in qemu-user,
# which emulates the processor that the variable QEMU_CPU of the environment names, else one that has everything.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)  # GoogleTest wants one
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

find_program(QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${QEMU_AARCH64} -L /usr/aarch64-linux-gnu)
endif()

# The nvcc that may be found compiles for this machine.
set(CONDENSED_CUDA OFF CACHE STRING "AUTO, ON or OFF: the CUDA backend")
# The libraries of an AArch64 Debian are rarely here: tests compile GoogleTest themselves (Debian's "googletest").
set(CONDENSED_GTEST_SOURCE /usr/src/googletest CACHE PATH "GoogleTest's source")
