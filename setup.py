"""The compiled kernels, a shared library that is neither torch's nor Python's: optional, for where a compiler is."""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("ulmkit/kernels/cpu")


class SharedLibrary(build_ext):
    """Builds a library that is loaded by address and has no Python module in it."""

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return ext.export_symbols


# On macOS a compiler that has OpenMP brings a second runtime beside torch's, which ends the process.
setup(
    ext_modules=[]
    if sys.platform == "darwin"
    else [
        Extension(
            "ulmkit.kernels.cpu._library",
            sources=sorted(map(str, KERNELS.glob("*.cpp"))),
            depends=sorted(map(str, KERNELS.parent.glob("**/*.h"))),
            extra_compile_args=["-std=c++17", "-O3", "-g0", "-fopenmp", "-fvisibility=hidden"],
            extra_link_args=["-fopenmp"],
            language="c++",
            optional=True,
        )
    ],
    cmdclass={"build_ext": SharedLibrary},
)
