"""Compiled loops over the UTF-8 buffers of Arrow arrays, one idea a file."""

from stages.kernels import cache

cache.use()
