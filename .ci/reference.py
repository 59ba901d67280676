"""Build the API reference of every module with pdoc; whatever it cannot resolve is an error.

python .ci/reference.py FOLDER
"""

import sys
import warnings
from pathlib import Path

import pdoc
import pdoc.extract

import ulmkit

package = Path(ulmkit.__file__).parent
paths = [path.relative_to(package.parent).with_suffix("") for path in sorted(package.rglob("*.py"))]
modules = [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]

warnings.simplefilter("error", UserWarning)  # the category of pdoc's own warnings
specs: list[str] = []
covered: set[str] = set()
for module in sorted(modules):
    if module not in covered:  # pdoc finds the modules of a package itself, unless its __all__ leaves them out
        specs.append(module)
        covered.update(pdoc.extract.walk_specs([module]))

folder = Path(sys.argv[1])
pdoc.render.configure(docformat="google")
pdoc.pdoc(*specs, r"!.*\._", output_directory=folder)  # without the compiled library
missing = [module for module in modules if not (folder / f"{module.replace('.', '/')}.html").is_file()]
if missing:
    raise SystemExit(f"reference: no page for {', '.join(missing)}")
print(f"reference: {len(modules)} modules")
