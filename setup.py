"""Builds the package; what is known about it stands in pyproject.toml.

Loops over frames are compiled if Cython and a C compiler are there. They are plain Python,
and where they cannot be compiled, or not all of them, the package runs them interpreted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

_COMPILED = (
    "network_pipeline/capture/bpf",
    "network_pipeline/capture/records",
    "network_pipeline/capture/ring_frames",
    "network_pipeline/dataset/csv_cells",
    "network_pipeline/decode/dns_reader",
    "network_pipeline/decode/gather",
    "network_pipeline/decode/layers",
    "network_pipeline/decode/options",
    "network_pipeline/decode/written",
    "network_pipeline/flows/ended",
    "network_pipeline/flows/fanout",
    "network_pipeline/flows/features",
    "network_pipeline/flows/fragments",
    "network_pipeline/flows/kept",
    "network_pipeline/flows/keys",
    "network_pipeline/flows/meter",
    "network_pipeline/flows/packets",
    "network_pipeline/flows/store",
    "network_pipeline/flows/texts",
    "network_pipeline/text_forms",
)
_DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # C types stand in the .pxd files
    "boundscheck": True,
    "cdivision": True,
    "infer_types": True,
    "initializedcheck": False,
    "wraparound": False,
}


class BuildOptional(build_ext):
    """Compiles all the extension modules, or leaves all of them out."""

    def run(self) -> None:
        """Translate to C, which is kept out of the source tree, and compile, on all cores."""
        inplace = self.inplace
        self.parallel = self.parallel or os.cpu_count()
        try:
            from Cython.Build import cythonize
            from Cython.Compiler.Errors import CompileError
        except ImportError as error:
            self._leave_out(error, inplace)
            return
        try:
            translated = cythonize(
                self.extensions, build_dir=self.build_temp, compiler_directives=_DIRECTIVES
            )
            for extension, in_c in zip(self.extensions, translated, strict=True):
                extension.sources = in_c.sources
            super().run()
        except (BaseError, CCompilerError, CompileError, OSError) as error:
            self._leave_out(error, inplace)

    def _leave_out(self, error: Exception, inplace: bool) -> None:
        """Remove what was compiled, now or before: it would hide the source it was not made of."""
        self.inplace = inplace
        sys.stderr.write(f"network_pipeline is not compiled and will run interpreted: {error}\n")
        for extension in self.extensions:
            Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
        self.extensions = []


setup(
    cmdclass={"build_ext": BuildOptional},
    ext_modules=[
        Extension(
            path.replace("/", "."),
            [f"{path}.py"],
            depends=[f"{path}.pxd"],
            # A product and a sum rounded once would differ from what is interpreted.
            extra_compile_args=["-ffp-contract=off"],
        )
        for path in _COMPILED
    ],
)
