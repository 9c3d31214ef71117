#!/bin/sh
# names.sh ROOT: compares our constants with cuDNN's header; 77 (skipped) where there is none.
for folder in /usr/local/cuda/include /usr/local/cuda-*/include /usr/include /usr/local/include /usr/include/x86_64-linux-gnu; do
    cuda=
    for other in "$folder" /usr/local/cuda/include /usr/local/cuda-*/include; do
        [ -f "$other/cuda_runtime.h" ] && cuda=$other && break
    done
    if [ -f "$folder/cudnn_graph.h" ] && [ -n "$cuda" ]; then
        exec "${CC:-cc}" -std=c11 -fsyntax-only -I"$1" -isystem "$folder" -isystem "$cuda" "$1/tests/cudnn/names.c"
    fi
done
echo "skipped: no cudnn_graph.h here"
exit 77
