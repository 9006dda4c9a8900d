# SPDX-License-Identifier: Apache-2.0
#
# What `cmake --install build/release --prefix DIR` puts where:
#   bin/            talweg-server, talweg
#   lib/            talweg::client; talweg::replay, with the rooms of core that it stands on; the
#                   messages; the leaf rooms that a client may link (talweg::core_base,
#                   talweg::core_noise); the package for find_package(talweg)
#   include/talweg/ their headers, included as in this repository: "client/cpp/talweg/client.h"
#   share/talweg/   the .proto files and their pages, for every other language; MNIST, for `talweg experiment`
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/talweg)
set(include_dir ${CMAKE_INSTALL_INCLUDEDIR}/talweg)

install(TARGETS talweg-server talweg RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

set_target_properties(talweg_client PROPERTIES EXPORT_NAME client)
set_target_properties(talweg_core_base PROPERTIES EXPORT_NAME core_base)
set_target_properties(talweg_core_noise PROPERTIES EXPORT_NAME core_noise)
set_target_properties(talweg_proto PROPERTIES EXPORT_NAME proto)
set_target_properties(talweg_proto_grpc PROPERTIES EXPORT_NAME proto_grpc)
set_target_properties(talweg_client_replay PROPERTIES EXPORT_NAME replay)
# What talweg::replay links. Their headers are not installed.
set(replay_rooms core_curvature core_kernels core_linalg core_members core_optimizers core_rounds core_schedules
  core_search core_session server_calls server_wire)
foreach(room IN LISTS replay_rooms)
  set_target_properties(talweg_${room} PROPERTIES EXPORT_NAME ${room})
endforeach()
list(TRANSFORM replay_rooms PREPEND talweg_)
install(TARGETS talweg_client talweg_client_replay ${replay_rooms} talweg_openblas talweg_core_base
    talweg_core_noise talweg_proto talweg_proto_grpc
  EXPORT talwegTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${include_dir})
install(EXPORT talwegTargets NAMESPACE talweg:: DESTINATION ${package_dir})

install(DIRECTORY client/cpp/talweg DESTINATION ${include_dir}/client/cpp
  FILES_MATCHING PATTERN "*.h" PATTERN "fake_*.h" EXCLUDE
  PATTERN "grpc_connection.h" EXCLUDE PATTERN "grpc_step_stream.h" EXCLUDE)
install(FILES client/replay/replay.h DESTINATION ${include_dir}/client/replay)
install(DIRECTORY core/base core/noise DESTINATION ${include_dir}/core
  FILES_MATCHING PATTERN "*.h" PATTERN "*_testing.h" EXCLUDE PATTERN "*-inl.h" EXCLUDE)
install(DIRECTORY ${PROJECT_BINARY_DIR}/proto/generated/ DESTINATION ${include_dir}
  FILES_MATCHING PATTERN "*.h")
install(DIRECTORY proto/talweg proto/google
  DESTINATION ${CMAKE_INSTALL_DATADIR}/talweg/proto
  FILES_MATCHING PATTERN "*.proto")
install(FILES proto/README.md proto/CLIENTS.md proto/NOISE.md DESTINATION ${CMAKE_INSTALL_DATADIR}/talweg/proto)
install(DIRECTORY proto/vectors DESTINATION ${CMAKE_INSTALL_DATADIR}/talweg/proto)

install(DIRECTORY client/data/mnist DESTINATION ${CMAKE_INSTALL_DATADIR}/talweg)

configure_package_config_file(deploy/talwegConfig.cmake.in
  ${PROJECT_BINARY_DIR}/talwegConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/talwegConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/talwegConfig.cmake
  ${PROJECT_BINARY_DIR}/talwegConfigVersion.cmake deploy/FindISAL.cmake DESTINATION ${package_dir})
