# Makes of the installed tree what Debian expects, before it is packed.

set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY})

# The configuration is in /etc; what a plain installation puts below its prefix is not needed.
file(REMOVE_RECURSE ${root}/usr/etc)
file(REMOVE ${root}/usr/share/doc/condensed/LICENSE)  # the copyright file says it

# Manual pages and changelogs are compressed, other documentation when it is longer than 4 KiB.
file(GLOB_RECURSE compressed ${root}/usr/share/man/* ${root}/usr/share/doc/condensed/changelog)
file(GLOB_RECURSE documents ${root}/usr/share/doc/condensed/*.md)
foreach(document IN LISTS documents)
  file(SIZE ${document} size)
  if(size GREATER 4096)
    list(APPEND compressed ${document})
  endif()
endforeach()
foreach(file IN LISTS compressed)
  execute_process(COMMAND gzip -9n ${file} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
