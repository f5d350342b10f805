"""What the package's compiled modules need where they run interpreted.

Loops over frames are plain Python: :mod:`.written`, :mod:`.options`, :mod:`.dns_reader`,
:mod:`.layers` and :mod:`.gather` here, others in :mod:`network_pipeline.capture` and
:mod:`network_pipeline.dataset`. Beside each lies a ``.pxd`` file with C types for it. Where
the package is built with Cython and a C compiler, ``setup.py`` makes extension modules of them that
hide the ``.py`` files. These import nothing of Cython and give the same results without it.
"""

from __future__ import annotations

from contextlib import nullcontext

#: Compiled, ``with nogil`` lets other threads run; interpreted, it does nothing.
nogil = nullcontext()
