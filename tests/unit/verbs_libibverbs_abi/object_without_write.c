// A shared object without an import of write, which cannot be a libibverbs.
__attribute__((visibility("default"))) int object_number(void);

int object_number(void) {
    return 1;
}
