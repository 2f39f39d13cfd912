"""Facial expression recognition as coursework that reproduces itself."""

import os
import sys
import warnings

__version__ = "0.1.0"

# Keras and TensorFlow read these once, when they are first imported; so they are set before anything imports
# them, whatever the shell says: what decides numbers is the same for everybody.
SETTINGS = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": os.path.join(os.devnull, "keras"),  # no keras.json: there is no such folder
    # TensorFlow's default allocator returns every activation (67 MB each in basic_model) to the system after
    # use and pays for the page faults again at the next step; the pooled one keeps them: half the CPU time.
    "TF_CPU_ALLOCATOR_USE_BFC": "true",
    # oneDNN's kernels are the faster ones on every x86-64 processor; TensorFlow switches them on by itself
    # only for those with AVX512-VNNI.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",  # same seed, same bytes is promised for the CPU
}
# All others of these families are taken away, a limit on epochs or another instruction set among them. How
# many threads there are may vary, and is recorded by runs.
_FAMILIES = ("KERAS_", "TF_", "TF2_", "XLA_", "ONEDNN_", "DNNL_")
_FREE = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

_found = {name: value for name, value in os.environ.items() if name.startswith((*_FAMILIES, *SETTINGS))}
for _name in set(_found) - set(_FREE):
    del os.environ[_name]
os.environ.update(SETTINGS)
# Imported before, they have read what was there: what differs from the settings; see `fer_tools.run.stage`.
MISSED = sorted({name for name, _ in _found.items() ^ SETTINGS.items()} - set(_FREE))
MISSED = MISSED if {"keras", "tensorflow"} & set(sys.modules) else []
if MISSED:
    warnings.warn("import fer_lib before keras and tensorflow: they missed its settings", stacklevel=2)
