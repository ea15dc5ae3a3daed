// Nothing on purpose: see vrdma_link_libibverbs_by_name in CMakeLists.txt.
typedef int vrdma_libibverbs_by_name;
