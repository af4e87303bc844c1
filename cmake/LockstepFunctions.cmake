# SPDX-License-Identifier: Apache-2.0
# LockstepFunctions - how a folder adds its sources.

# lockstep_sources(FILE ...): C files of this folder that become part of liblockstep.
function(lockstep_sources)
    list(TRANSFORM ARGV PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    target_sources(lockstep_objects PRIVATE ${ARGV})
endfunction()

# lockstep_isa_sources(FILE FLAG ...): one file of hot kernels compiled for more than baseline x86-64; it is
# called only after the processor was asked.
function(lockstep_isa_sources file)
    lockstep_sources(${file})
    set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/${file}
        TARGET_DIRECTORY lockstep_objects PROPERTIES COMPILE_OPTIONS "${ARGN}")
endfunction()
