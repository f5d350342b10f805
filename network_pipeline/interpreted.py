"""What the package's compiled modules need where they run interpreted.

Loops over frames, flows and texts are plain Python. Beside each such module lies a ``.pxd`` file
with C types for it. Where the package is built with Cython and a C compiler, ``setup.py`` makes
extension modules of them that hide the ``.py`` files. These import nothing of Cython and give the
same results without it.
"""

from __future__ import annotations

from contextlib import nullcontext

#: Compiled, ``with nogil`` lets other threads run; interpreted, it does nothing.
nogil = nullcontext()

#: Compiled, ``with boundscheck(False)`` checks no index: a C compiler does several rounds of a loop
#: at once only where none is checked. Interpreted, it does nothing.
boundscheck = nullcontext
