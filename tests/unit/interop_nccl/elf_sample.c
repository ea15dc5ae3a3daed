/* A library with a local and a global symbol. */
static const char* volatile local_table[3] = {"ncclNetPlugin_v7", "b", "c"};

const char* exported_function(int index);
const char* exported_function(int index) {
    return local_table[index % 3];
}
