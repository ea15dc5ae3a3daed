#!/bin/sh
# exchange.cpp and vma.cpp run while pages of the process are withheld: they may need no symbol but
# their own (driver/memory/exchange.cpp says why). Usage: exchange_calls_nothing.sh NM ARCHIVE
set -eu
nm=$1
archive=$2
symbols=$("$nm" -C "$archive" | awk '
    /\.o:$/ { ours = ($0 ~ /^(exchange|vma)\.cpp\.o:$/); seen += ours; next }
    ours && $1 == "U" && $0 !~ /vrdma::tenant_memory::VmaReader::/ { print }
    END { if (seen != 2) print "found " seen + 0 " of the two object files" }')
if [ -n "$symbols" ]; then
    echo "not allowed in exchange.cpp and vma.cpp:" >&2
    echo "$symbols" >&2
    exit 1
fi
