# SPDX-License-Identifier: Apache-2.0
# LockstepInstall - library, program, headers, and the package files that find them again.
include(CMakePackageConfigHelpers)

# The program finds the library from where it lies, as long as the two move together.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} OR IS_ABSOLUTE ${CMAKE_INSTALL_BINDIR})
    set(program_rpath ${CMAKE_INSTALL_FULL_LIBDIR})
else()
    set(lib_from_bin /prefix/${CMAKE_INSTALL_LIBDIR})
    cmake_path(RELATIVE_PATH lib_from_bin BASE_DIRECTORY /prefix/${CMAKE_INSTALL_BINDIR})
    set(program_rpath "$ORIGIN/${lib_from_bin}")
endif()
set_target_properties(lockstep_cli PROPERTIES INSTALL_RPATH ${program_rpath})
install(TARGETS lockstep_cli)
install(TARGETS lockstep EXPORT lockstep-targets)
foreach(leaf lockstep_mpi_openmpi lockstep_mpi_mpich) # the library opens them from where it lies
    if(TARGET ${leaf})
        install(TARGETS ${leaf} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    endif()
endforeach()
install(DIRECTORY include/lockstep ${CMAKE_CURRENT_BINARY_DIR}/include/lockstep
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/lockstep)
install(EXPORT lockstep-targets NAMESPACE lockstep:: DESTINATION ${package_dir})
configure_package_config_file(cmake/lockstep-config.cmake.in lockstep-config.cmake
    INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(lockstep-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lockstep-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/lockstep-config-version.cmake DESTINATION ${package_dir})

# The .pc file finds its prefix from where it lies, so that an installed tree may be moved; an absolute libdir
# says nothing about the prefix and pins it. APPEND takes an absolute folder as it is.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
    set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
    set(pc_up /prefix)
    cmake_path(RELATIVE_PATH pc_up BASE_DIRECTORY /prefix/${pc_dir})
    set(pc_prefix "\${pcfiledir}/${pc_up}")
endif()
set(pc_libdir "\${prefix}")
cmake_path(APPEND pc_libdir ${CMAKE_INSTALL_LIBDIR})
set(pc_includedir "\${prefix}")
cmake_path(APPEND pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
configure_file(cmake/lockstep.pc.in lockstep.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lockstep.pc DESTINATION ${pc_dir})
