# SPDX-License-Identifier: Apache-2.0
# LockstepOptions - the flags every target shares, and which optional backends this build has.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

add_library(lockstep_flags INTERFACE)
target_compile_features(lockstep_flags INTERFACE c_std_17)
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
target_compile_definitions(lockstep_flags INTERFACE _GNU_SOURCE)
# -ffp-contract=off: the same source gives the same bits whatever the compiler fuses; kernels that want a
# fused multiply-add ask for it in their own files.
target_compile_options(lockstep_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion
    "$<$<COMPILE_LANGUAGE:C>:-Wshadow;-Wstrict-prototypes;-Wmissing-prototypes>"
    -fvisibility=hidden -fno-semantic-interposition -fno-strict-aliasing -ffp-contract=off
    $<$<BOOL:${LOCKSTEP_WERROR}>:-Werror>)

if(LOCKSTEP_SANITIZE)
    # Sanitizers must end a test, not comment on it; frame pointers make their stacks readable.
    set(sanitize -fsanitize=${LOCKSTEP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(lockstep_flags INTERFACE ${sanitize})
    target_link_options(lockstep_flags INTERFACE ${sanitize})
endif()
if(LOCKSTEP_FUZZ) # loops that are watched are not vectorized, and clang would say so
    target_compile_options(lockstep_flags INTERFACE -Wno-pass-failed)
endif()
if(LOCKSTEP_COVERAGE)
    target_compile_options(lockstep_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(lockstep_flags INTERFACE --coverage)
endif()

# lockstep_backend(NAME PRESENT WHAT): resolves LOCKSTEP_<NAME> to LOCKSTEP_HAVE_<NAME>.
# AUTO takes what is there, ON insists.
function(lockstep_backend name present what)
    set(option ${LOCKSTEP_${name}})
    if(NOT option MATCHES "^(AUTO|ON|OFF)$")
        message(FATAL_ERROR "LOCKSTEP_${name} is '${option}'; it must be AUTO, ON or OFF")
    endif()
    if(option STREQUAL "ON" AND NOT present)
        message(FATAL_ERROR "LOCKSTEP_${name}=ON, but ${what}")
    endif()
    if(present AND NOT option STREQUAL "OFF")
        set(LOCKSTEP_HAVE_${name} TRUE PARENT_SCOPE)
        message(STATUS "lockstep: ${name} yes")
    else()
        set(LOCKSTEP_HAVE_${name} FALSE PARENT_SCOPE)
        message(STATUS "lockstep: ${name} no (LOCKSTEP_${name}=${option})")
    endif()
endfunction()

# The seams of the first two are in the device table and the communicator; their leaf libraries are not
# written yet, so no build can have them.
lockstep_backend(CUDA FALSE "this version has no CUDA backend yet")
lockstep_backend(NCCL FALSE "this version has no NCCL backend yet")
find_package(PkgConfig REQUIRED)
if(NOT LOCKSTEP_MPI STREQUAL "OFF")
    pkg_check_modules(OPENMPI IMPORTED_TARGET ompi-c)
    pkg_check_modules(MPICH IMPORTED_TARGET mpich)
endif()
if(OPENMPI_FOUND OR MPICH_FOUND)
    set(have_mpi TRUE)
else()
    set(have_mpi FALSE)
endif()
lockstep_backend(MPI ${have_mpi} "pkg-config knows neither ompi-c (Open MPI) nor mpich")
