// Whether libraries cut off int8 products on this processor: an x86 without VNNI (docs/embedding.md).
#pragma once

inline bool saturates() {
#if defined(__x86_64__) || defined(__i386__)
    // With AVX-512 the libraries use its kernels, whatever else there is.
    if (__builtin_cpu_supports("avx512f")) return !__builtin_cpu_supports("avx512vnni");
    return !__builtin_cpu_supports("avxvnni");
#else
    return false;
#endif
}
