# The Debian package: cpack --config build/release/CPackConfig.cmake -G DEB -B FOLDER. Needs dpkg-dev and file.

set(packaging ${CMAKE_CURRENT_LIST_DIR})

# What only the package has, because it holds for /usr alone. Absolute: not below the prefix.
install(FILES ${PROJECT_SOURCE_DIR}/etc/systemd/condensed.service ${PROJECT_SOURCE_DIR}/etc/systemd/condensed.socket
  ${PROJECT_SOURCE_DIR}/etc/systemd/condensed-metrics.socket
  DESTINATION /lib/systemd/system COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES ${PROJECT_SOURCE_DIR}/etc/systemd/condensed.sysusers.conf
  DESTINATION /usr/lib/sysusers.d RENAME condensed.conf COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES ${PROJECT_SOURCE_DIR}/etc/systemd/condensed.tmpfiles.conf
  DESTINATION /usr/lib/tmpfiles.d RENAME condensed.conf COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES ${PROJECT_SOURCE_DIR}/etc/condensed.toml
  DESTINATION /etc/condensed COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES ${packaging}/copyright ${packaging}/changelog
  DESTINATION /usr/share/doc/condensed COMPONENT debian EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME condensed)
set(CPACK_PACKAGE_VENDOR "condensed")
set(CPACK_PACKAGE_CONTACT "The condensed developers <condensed@example.org>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "daemon that runs language models on streams without end")
set(CPACK_PACKAGE_DESCRIPTION
"Serves Llama-family models, layer-condensed ones (LCKV) among them, on sessions
whose memory and speed do not depend on how long their streams have run: of the
past it keeps attention sinks and a rolling window. Contains the daemon as a
systemd service, the client condensectl, tools to evaluate and to quantise
models, and a small model to try it with.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_CMAKE_PROJECTS
  "${PROJECT_BINARY_DIR};condensed;Unspecified;/" "${PROJECT_BINARY_DIR};condensed;debian;/")
set(CPACK_PRE_BUILD_SCRIPTS ${packaging}/stage.cmake)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION misc)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS systemd)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${packaging}/conffiles ${packaging}/postinst ${packaging}/prerm ${packaging}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
