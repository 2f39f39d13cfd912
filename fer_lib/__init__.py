"""Facial expression recognition as coursework that reproduces itself."""

import os

__version__ = "0.1.0"

# TensorFlow reads these once, when it is first imported, so they are set before anything imports it.
# Its default allocator returns every activation (67 MB each in basic_model) to the system after use and
# pays for the page faults again at the next step; the pooled one keeps them: about half the CPU time.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
# oneDNN's kernels are the faster ones on every x86-64 processor; TensorFlow switches them on by itself only
# for those with AVX512-VNNI.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # same seed, same bytes is promised for the CPU
