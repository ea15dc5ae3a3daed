# Files whose text or place depends on the prefix, which may be chosen at installation:
#   cmake --install DIR [--prefix PREFIX]
#
#   vrdma_install_for_prefix(INPUT DIRECTORY)   configures INPUT (NAME or NAME.in, @ONLY) when it is
#                                               installed, and puts it into DIRECTORY under the prefix
#   vrdma_install_for_prefix(INPUT etc/...)     the same, into the system's configuration
#
# The default prefix is /usr, because the distribution's libibverbs looks for providers there and for
# their list in /etc; for it, etc is /etc. For any other prefix, everything is below the prefix, so that
# an ordinary user can install into a directory and use it with vrdma-run.
if(CMAKE_INSTALL_PREFIX_INITIALIZED_TO_DEFAULT)
  set(CMAKE_INSTALL_PREFIX /usr CACHE PATH "Where to install" FORCE)
endif()

function(vrdma_install_for_prefix input directory)
  get_filename_component(name ${input} NAME)
  string(REGEX REPLACE "\\.in$" "" name ${name})
  install(CODE "
    set(CMAKE_INSTALL_FULL_SBINDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SBINDIR}\")
    set(CMAKE_INSTALL_FULL_LIBDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}\")
    set(CMAKE_INSTALL_FULL_SYSCONFDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SYSCONFDIR}\")
    if(CMAKE_INSTALL_PREFIX STREQUAL \"${CMAKE_INSTALL_PREFIX}\")
      set(CMAKE_INSTALL_FULL_SYSCONFDIR \"${CMAKE_INSTALL_FULL_SYSCONFDIR}\")
    endif()
    string(REGEX REPLACE \"^etc(/|$)\" \"\${CMAKE_INSTALL_FULL_SYSCONFDIR}\\\\1\" directory
           \"${directory}\")
    if(NOT IS_ABSOLUTE \"\${directory}\")
      set(directory \"\${CMAKE_INSTALL_PREFIX}/\${directory}\")
    endif()
    configure_file(\"${CMAKE_CURRENT_SOURCE_DIR}/${input}\"
                   \"${CMAKE_CURRENT_BINARY_DIR}/for_prefix/${name}\" @ONLY)
    file(INSTALL DESTINATION \"\${directory}\" TYPE FILE
         FILES \"${CMAKE_CURRENT_BINARY_DIR}/for_prefix/${name}\")")
endfunction()
