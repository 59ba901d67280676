"""An HTTP server around a classifier; needs the extra `serve`."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.serve.app import create_app
    from ulmkit.serve.options import ServeOptions
    from ulmkit.serve.server import serve
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
