"""Import of models that fastai saved: weights and vocabularies, read without running anything in their files."""

from ulmkit.hub.fastai.importer import import_parts
